"""How many rows may fail before a run does: said in the pipeline, checked once the version is there."""

from collections import Counter
from pathlib import Path

import pytest
from conftest import Asked, ReadPipeline, WriteLines
from test_cli import call

from synth import run
from synth.errors import BadRequest, TooManyFailed, UserError
from synth.journal import Account
from synth.models.base import Reply, Request
from synth.project import Project
from synth.run import Watch
from synth.store.version import versions

TEXT = """
name: part
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: prompts}
  - respond: {model: m}
dataset: {views: [sft]}
"""


def two_of_ten_fail(request: Request) -> str | Reply | Exception:
    last = request.messages[-1].content
    return BadRequest("it is too long") if last in ("number 3", "number 5") else "Fine."


@pytest.fixture
def failing(write_lines: WriteLines, asked: Asked) -> None:
    """Ten prompts, of which two have no answer."""
    write_lines("prompts.jsonl", *({"prompt": f"number {number}"} for number in range(10)))
    asked.answers = two_of_ten_fail


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("limit", ["0", "1", "0.0", "0.1", "0.19"])
async def test_more_failures_than_allowed_end_the_run_after_the_version_is_committed(
    pipeline: ReadPipeline, project: Path, limit: str
) -> None:
    watch = Watch()
    with pytest.raises(TooManyFailed, match=f"`fail_on: {limit}` allows: 2 of 10 rows in respond") as caught:
        await run.run(pipeline(f"{TEXT}fail_on: {limit}\n"), Project(project), watch)
    assert caught.value.exit_code == 1
    assert watch.version
    [kept] = versions(project / "datasets" / "part")
    assert kept.id == watch.version.id
    assert [step["failed"] for step in kept.manifest["steps"]] == [{}, {"BadRequest": 2}]


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize("limit", ["", "fail_on: 2", "fail_on: 9", "fail_on: 0.2", "fail_on: 0.9"])
async def test_as_many_failures_as_are_allowed_end_nothing(
    pipeline: ReadPipeline, project: Path, limit: str
) -> None:
    assert (await run.run(pipeline(f"{TEXT}{limit}\n"), Project(project), Watch())).version.is_new


def test_a_share_is_taken_as_the_file_says_it() -> None:
    account = Account(continued=71, failed=Counter({"BadRequest": 29}))
    run.check_failures({"respond": account}, 0.29)
    with pytest.raises(TooManyFailed):
        run.check_failures({"respond": account}, 0.28)


@pytest.mark.parametrize("limit", ["-1", "1.0", "-0.1", "many", "true", "[1]"])
@pytest.mark.usefixtures("failing")
def test_a_limit_that_is_none_is_said_with_its_line(pipeline: ReadPipeline, limit: str) -> None:
    with pytest.raises(UserError, match=r"pipeline.yaml:8:\d+  fail_on: expected a share"):
        pipeline(f"{TEXT}fail_on: {limit}\n")


def test_the_command_shows_the_version_leaves_with_1_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "script.jsonl").write_text('{"when": "number 2", "reply": "Fine."}\n', encoding="utf-8")
    prompts = "".join(f'{{"prompt": "number {number}"}}\n' for number in (1, 2))
    (tmp_path / "prompts.jsonl").write_text(prompts, encoding="utf-8")
    scripted = TEXT.replace("provider: scripted", "provider: scripted, script: script.jsonl")
    (tmp_path / "p.yaml").write_text(f"{scripted}fail_on: 0.2\n", encoding="utf-8")
    done = call(tmp_path, "run", "p.yaml")
    assert done.returncode == 1
    assert "datasets/part/v1-" in done.stdout
    assert "1 of 2 rows in respond" in done.stderr
    assert "Go on with: python -m synth run p.yaml" in done.stderr
