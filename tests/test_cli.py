"""The command line, as a person uses it: a process of its own, in a project folder of its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each is a process or two of its own

ROOT = Path(__file__).parents[1]
PIPELINE = """
name: small
seed: 3
models:
  writer: {provider: scripted}
steps:
  - self_instruct: {model: writer, count: 6, max_similarity: 0.95}
  - respond: {model: writer, count: 2}
  - critique_revise: {model: writer, constitution: mine, rounds: 1}
  - judge_pairs: {model: writer, constitution: mine}
  - judge_likelihood: {model: writer}
dataset: {views: [instructions, sft, preference, critiques], test_fraction: 0.2}
"""
MINE = "# Mine\n\n## be-kind\nA reply should be kind.\n\n## be-brief\nA reply should be brief.\n"

Synth = Callable[..., "subprocess.CompletedProcess[str]"]


def call(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """``python -m synth`` with `arguments`, in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    environment.pop("OPENAI_API_KEY", None)
    return subprocess.run(
        [sys.executable, "-m", "synth", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fill(folder: Path) -> None:
    (folder / "small.yaml").write_text(PIPELINE, encoding="utf-8")
    (folder / "constitutions").mkdir()
    (folder / "constitutions" / "mine.md").write_text(MINE, encoding="utf-8")


@pytest.fixture
def synth(tmp_path: Path) -> Synth:
    """The command line, in a project with a pipeline that has not run."""
    fill(tmp_path)
    return partial(call, tmp_path)


@pytest.fixture(scope="module")
def project_that_ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ran")
    fill(folder)
    assert call(folder, "run", "small.yaml").returncode == 0
    return folder


@pytest.fixture
def after_a_run(project_that_ran: Path, tmp_path: Path) -> Synth:
    """The command line, in a project with a pipeline that has run."""
    shutil.copytree(project_that_ran, tmp_path, dirs_exist_ok=True)
    return partial(call, tmp_path)


def test_a_run_says_where_the_dataset_is_and_a_rerun_finds_every_call(synth: Synth, tmp_path: Path) -> None:
    first = synth("run", "small.yaml")
    assert first.returncode == 0, first.stderr
    assert "first row:" in first.stdout
    [made] = (tmp_path / "datasets" / "small").glob("v1-*")
    assert f"datasets/small/{made.name}  (new" in first.stdout
    assert "named the same answer in" in first.stdout
    assert "does not apply" in first.stdout
    bought = int(re.findall(r"(\d+) bought", first.stdout)[-1])

    again = synth("run", "small.yaml")
    assert "was there already" in again.stdout
    assert f"calls: {bought} found in the ledger, 0 bought" in again.stdout


def test_an_edited_principle_is_all_that_is_bought_again(after_a_run: Synth, tmp_path: Path) -> None:
    path = tmp_path / "constitutions" / "mine.md"
    path.write_text(MINE.replace("should be brief", "should be short"), encoding="utf-8")
    said = after_a_run("run", "small.yaml").stdout
    found, bought = map(int, re.findall(r"calls: (\d+) found in the ledger, (\d+) bought", said)[0])
    assert found > 0
    assert bought > 0
    assert "small/v2-" in said


def test_a_plan_buys_nothing_and_says_what_a_run_would(synth: Synth, tmp_path: Path) -> None:
    before = synth("plan", "small.yaml")
    assert before.returncode == 0, before.stderr
    assert "Nothing was bought" in before.stdout
    assert not re.search(r"about 0 calls", before.stdout)
    synth("run", "small.yaml")
    assert "to buy: about 0 calls" in synth("plan", "small.yaml").stdout


def test_check_names_every_mistake_at_once_with_its_place_and_leaves_with_2(
    synth: Synth, tmp_path: Path
) -> None:
    wrong = PIPELINE.replace("rounds: 1", "rounds: four").replace("- respond", "- respnd")
    (tmp_path / "wrong.yaml").write_text(wrong, encoding="utf-8")
    done = synth("check", "wrong.yaml")
    assert done.returncode == 2
    assert "wrong.yaml:8:5  unknown step 'respnd'. Did you mean 'respond'?" in done.stderr
    assert re.search(
        r"wrong\.yaml:9:\d+  steps\[2\]\.critique_revise\.rounds: expected a whole number", done.stderr
    )
    assert "Traceback" not in done.stderr


def test_a_missing_key_is_said_before_any_call(synth: Synth, tmp_path: Path) -> None:
    hosted = PIPELINE.replace("{provider: scripted}", "{provider: openai, model: gpt-4.1}")
    (tmp_path / "hosted.yaml").write_text(hosted, encoding="utf-8")
    done = synth("run", "hosted.yaml")
    assert done.returncode == 2
    assert "OPENAI_API_KEY" in done.stderr
    assert not (tmp_path / ".synth").exists()


def test_a_folder_that_cannot_be_written_is_said_before_any_call(synth: Synth, tmp_path: Path) -> None:
    (tmp_path / "datasets").write_text("in the way", encoding="utf-8")
    done = synth("run", "small.yaml")
    assert done.returncode == 2
    assert "datasets is not a folder" in done.stderr


def test_a_pipeline_that_is_not_there_is_said_with_the_ones_that_are(synth: Synth) -> None:
    done = synth("run", "quikstart")
    assert done.returncode == 2
    assert "Did you mean 'quickstart'?" in done.stderr


def test_an_unknown_verb_or_option_is_a_mistake_of_the_command_line(synth: Synth) -> None:
    for arguments in (["rnu", "small.yaml"], ["run", "small.yaml", "--limt", "3"], ["run"]):
        done = synth(*arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_limit_begins_fewer_rows(synth: Synth, tmp_path: Path) -> None:
    synth("run", "small.yaml", "--limit", "2")
    assert "view instructions" in (shown := synth("show", "small").stdout)
    assert "2 made" in shown


def test_show_and_list_find_a_version_by_a_short_name(after_a_run: Synth) -> None:
    for name in ("small", "small/v1"):
        assert "what became of every row" in after_a_run("show", name).stdout
    assert "small/v1-" in after_a_run("list").stdout
    missing = after_a_run("show", "smal")
    assert missing.returncode == 2
    assert "unknown dataset version 'smal'" in missing.stderr


def test_init_makes_a_project_that_checks_and_overwrites_nothing(synth: Synth, tmp_path: Path) -> None:
    assert synth("init", "new").returncode == 0
    mine = tmp_path / "new" / "constitutions" / "harmless.md"
    mine.write_text("# Mine\n\n## be-kind\nBe kind.\n", encoding="utf-8")
    assert "left as it is" in synth("init", "new").stdout
    assert "be-kind" in mine.read_text(encoding="utf-8")


def test_a_training_refuses_a_setting_that_it_does_not_have(after_a_run: Synth) -> None:
    done = after_a_run("train", "sft", "small", "--base", "smollm2-135m", "--set", "stepz=2")
    assert done.returncode == 2
    assert "unknown key 'stepz'. Did you mean 'steps'?" in done.stderr
    assert after_a_run("train", "sfd", "small", "--base", "smollm2-135m").returncode == 2


def test_a_dry_publish_lists_the_files_and_sends_nothing(after_a_run: Synth) -> None:
    done = after_a_run("publish", "small", "--to", "me/small", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "README.md" in done.stdout
    assert "data/sft/train-00000-of-00001.parquet" in done.stdout
    assert "nothing sent" in done.stdout


def test_what_a_model_writes_never_reaches_the_terminal_as_a_command(synth: Synth, tmp_path: Path) -> None:
    script = '{"when": "", "reply": "1. Say \\u001b[2Jhello \\u202eto every friend of yours today\\n"}\n'
    (tmp_path / "script.jsonl").write_text(script, encoding="utf-8")
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "one.jsonl").write_text('{"prompt": "Say \\u001b[31mred"}\n', encoding="utf-8")
    (tmp_path / "escape.yaml").write_text(
        "name: escape\nmodels: {writer: {provider: scripted, script: script.jsonl}}\n"
        "steps:\n  - jsonl: {path: one}\n  - respond: {model: writer}\ndataset: {views: [sft]}\n",
        encoding="utf-8",
    )
    done = synth("run", "escape.yaml")
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


# These need the embedded model, the network, or the id of a row: test_quickstart.py, test_weights.py and
# test_explain.py run them.
ELSEWHERE = ("train ", "model fetch ", "audit ", "explain ")
VERBS = {
    *("run", "check", "plan", "retry", "list", "show", "init", "train", "publish", "model"),
    *("constitution", "audit", "ledger", "explain"),
}


def test_the_commands_in_the_readme_run_one_after_the_other(synth: Synth, tmp_path: Path) -> None:
    """With the scripted provider in place of the embedded model, so that it takes seconds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python -m synth (.*?)\s*(?:#.*)?$", readme, flags=re.MULTILINE)
    verbs = {command.split()[0] for command in commands}
    assert verbs == VERBS

    (tmp_path / "pipelines").mkdir()
    quickstart = PIPELINE.replace("name: small", "name: quickstart")
    (tmp_path / "pipelines" / "quickstart.yaml").write_text(quickstart, encoding="utf-8")
    for command in commands:
        if not command.startswith(ELSEWHERE):
            done = synth(*command.split())
            assert done.returncode == 0, f"{command}: {done.stderr}"


def test_the_pipeline_in_the_readme_is_read_without_a_mistake_but_the_missing_key(
    synth: Synth, tmp_path: Path
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pipeline = readme.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "readme.yaml").write_text(pipeline, encoding="utf-8")
    mistakes = synth("check", "readme.yaml").stderr.splitlines()
    others = [line for line in mistakes if "OPENAI_API_KEY" not in line and "synth model fetch" not in line]
    assert others == []


def test_the_constitution_in_the_readme_is_read(tmp_path: Path) -> None:
    from synth import constitution

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    path = tmp_path / "house.md"
    path.write_text(readme.split("```markdown\n")[1].split("```")[0], encoding="utf-8")
    [principle] = constitution.read(path).principles
    assert (principle.id, principle.weight) == ("no-promises", 2)
    assert principle.judge == "Which reply promises less?"


def test_an_interrupted_run_leaves_with_130_and_says_how_to_go_on(tmp_path: Path) -> None:
    slow = PIPELINE.replace("{provider: scripted}", "{provider: scripted, latency_s: 30}")
    (tmp_path / "slow.yaml").write_text(
        slow.replace("constitution: mine", "constitution: harmless"), encoding="utf-8"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "synth", "run", "slow.yaml", "--grace", "0.2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    assert "making rows" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Go on with: python -m synth run slow.yaml" in said
    assert "Traceback" not in said


def test_why_rows_failed_is_on_the_screen_with_what_can_be_done(synth: Synth, tmp_path: Path) -> None:
    (tmp_path / "script.jsonl").write_text('{"when": "number 2", "reply": "Fine."}\n', encoding="utf-8")
    prompts = "".join(f'{{"prompt": "number {number}"}}\n' for number in (1, 2))
    (tmp_path / "prompts.jsonl").write_text(prompts, encoding="utf-8")
    (tmp_path / "half.yaml").write_text(
        "name: half\nmodels: {writer: {provider: scripted, script: script.jsonl}}\n"
        "steps:\n  - jsonl: {path: prompts}\n  - respond: {model: writer}\ndataset: {views: [sft]}\n",
        encoding="utf-8",
    )
    done = synth("run", "half.yaml")
    assert done.returncode == 0, done.stderr
    assert "respond: BadRequest: no line of script.jsonl fits this request" in done.stdout
    assert "fits every request" in done.stdout
    assert "1 of them failed" in done.stdout


def test_what_was_made_is_shown_even_if_the_training_then_fails(synth: Synth, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"no weights")
    script = '{"when": "", "reply": ""}\n'
    (tmp_path / "script.jsonl").write_text(script, encoding="utf-8")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi"}\n', encoding="utf-8")
    (tmp_path / "empty.yaml").write_text(
        "name: empty\nmodels: {writer: {provider: scripted, script: script.jsonl}}\n"
        "steps:\n  - jsonl: {path: prompts}\n  - respond: {model: writer}\n"
        "dataset: {views: [instructions, sft]}\ntrain:\n  - sft: {base: base}\n",
        encoding="utf-8",
    )
    done = synth("run", "empty.yaml")
    assert done.returncode == 2
    assert "datasets/empty/v1-" in done.stdout
    assert "empty_answer 1" in done.stdout
    assert "the train split of the sft view" in done.stderr
