"""A pipeline file: every mistake is told with its place, all at once, before any call."""

import re
from pathlib import Path

import pytest
from conftest import Asked, ReadPipeline

from synth import pipeline as pipelines
from synth.errors import UserError

GOOD = """\
name: good
models:
  m: {provider: scripted}
steps:
  - self_instruct: {model: m, count: 5}
  - respond: {model: m, count: 2}
  - critique_revise: {model: m, constitution: harmless}
  - judge_pairs: {model: m}
dataset: {views: [sft, preference], test_fraction: 0.1, license: cc-by-4.0}
"""
PLACED = re.compile(r"(?P<file>.+\.yaml):(?P<line>\d+):(?P<column>\d+)  (?P<message>.+)", re.DOTALL)


def mistakes(pipeline: ReadPipeline, text: str) -> list[tuple[int, int, str]]:
    """Line, column and message of every mistake in `text`."""
    with pytest.raises(UserError) as caught:
        pipeline(text)
    assert caught.value.exit_code == 2
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def only(pipeline: ReadPipeline, text: str) -> tuple[int, int, str]:
    found = mistakes(pipeline, text)
    assert len(found) == 1, found
    return found[0]


def edited(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_file_is_read_and_its_steps_know_what_they_read(pipeline: ReadPipeline) -> None:
    good = pipeline(GOOD)
    assert good.name == "good"
    assert [(step.id, step.from_) for step in good.steps] == [
        ("self_instruct", []),
        ("respond", ["self_instruct"]),
        ("critique_revise", ["respond"]),
        ("judge_pairs", ["critique_revise"]),
    ]
    assert good.leaves() == ["judge_pairs"]
    assert list(good.dataset.views) == ["sft", "preference"]
    assert {path.name for path in good.assets} == {"general.jsonl", "harmless.md"}


def test_reading_a_file_calls_no_model(pipeline: ReadPipeline, asked: Asked) -> None:
    pipeline(GOOD)
    assert asked.requests == []


# Names that nothing answers to


def test_an_unknown_step_is_told_with_the_closest_known_one(pipeline: ReadPipeline) -> None:
    line, column, message = only(pipeline, edited("critique_revise", "critque_revise"))
    assert (line, column) == (7, 5)
    assert message == "unknown step 'critque_revise'. Did you mean 'critique_revise'?"


def test_an_unknown_key_of_a_step_is_told_with_the_closest_known_one(pipeline: ReadPipeline) -> None:
    line, column, message = only(pipeline, edited("count: 2", "cuont: 2"))
    assert (line, column) == (6, 25)
    assert message == "unknown key 'cuont'. Did you mean 'count'?"


def test_an_unknown_key_at_the_top_is_told_with_the_closest_known_one(pipeline: ReadPipeline) -> None:
    line, column, message = only(pipeline, f"{GOOD}pubish: {{}}\n")
    assert (line, column) == (10, 1)
    assert message == "unknown key 'pubish'. Did you mean 'publish'?"


def test_an_unknown_model_is_told_with_the_closest_known_one(pipeline: ReadPipeline) -> None:
    text = edited("m: {provider", "writer: {provider").replace("model: m", "model: writer")
    line, column, message = only(pipeline, text.replace("respond: {model: writer", "respond: {model: wirter"))
    assert (line, column) == (6, 22)
    assert message.endswith("unknown model 'wirter'. Did you mean 'writer'?")


def test_an_unknown_provider_is_told_with_the_known_ones(pipeline: ReadPipeline) -> None:
    line, _, message = only(pipeline, edited("provider: scripted", "provider: sripted"))
    assert line == 3
    assert message == "unknown provider 'sripted'. Did you mean 'scripted'?"


def test_an_unknown_constitution_is_told_with_the_closest_known_one(pipeline: ReadPipeline) -> None:
    line, column, message = only(pipeline, edited("constitution: harmless", "constitution: harmles"))
    assert (line, column) == (7, 47)
    assert message.endswith("unknown file in constitutions/ 'harmles'. Did you mean 'harmless'?")


def test_an_unknown_constitution_is_told_where_a_step_can_do_without_one(pipeline: ReadPipeline) -> None:
    line, _, message = only(
        pipeline, edited("judge_pairs: {model: m}", "judge_pairs: {model: m, constitution: no}")
    )
    assert line == 8
    assert "unknown file in constitutions/ 'no'" in message
    judged = pipeline(edited("judge_pairs: {model: m}", "judge_pairs: {model: m, constitution: honest}"))
    assert "honest.md" in {path.name for path in judged.assets}


def test_an_unknown_seed_file_is_told_with_the_closest_known_one(pipeline: ReadPipeline) -> None:
    line, column, message = only(pipeline, edited("count: 5", "seeds: generl"))
    assert (line, column) == (5, 38)
    assert message.endswith("unknown file in seeds/ 'generl'. Did you mean 'general'?")


def test_an_unknown_view_and_an_unknown_judge_of_a_view_are_told(pipeline: ReadPipeline) -> None:
    _, _, message = only(pipeline, edited("views: [sft,", "views: [stf,"))
    assert message == "unknown view 'stf'. Did you mean 'sft'?"
    _, _, message = only(pipeline, edited("preference]", "preference: {judge: judge_pears}]"))
    assert message.endswith("unknown step 'judge_pears'. Did you mean 'judge_pairs'?")


def test_an_unknown_step_to_read_from_is_told(pipeline: ReadPipeline) -> None:
    line, _, message = only(pipeline, edited("respond: {model: m", "respond: {from: self_instrct, model: m"))
    assert line == 6
    assert message.endswith("unknown step 'self_instrct'. Did you mean 'self_instruct'?")


# Values that are not what they should be


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("count: 2", "count: four", (6, 32), "steps[1].respond.count: expected a whole number, found 'four'"),
        ("count: 2", "count: 1.5", (6, 32), "steps[1].respond.count: expected a whole number, found 1.5"),
        ("count: 2", "count: 0", (6, 32), "steps[1].respond.count: expected a number of at least 1, found 0"),
        ("count: 2", "count: [2]", (6, 32), "steps[1].respond.count: expected a whole number, found [2]"),
        ("count: 2", "count: null", (6, 32), "steps[1].respond.count: expected a whole number, found None"),
        (
            "count: 2",
            "top_p: 2",
            (6, 32),
            "steps[1].respond.top_p: expected a number of at most 1.0, found 2",
        ),
        (
            "respond: {model: m",
            "respond: {model: 3",
            (6, 22),
            "steps[1].respond.model: expected a text, found 3",
        ),
        ("name: good", "name: Good News", (1, 7), "name: expected lower-case letters, digits, - and _"),
        ("name: good", "name: ../up", (1, 7), "name: expected lower-case letters, digits, - and _"),
        ("name: good", "name: [good]", (1, 7), "name: expected lower-case letters, digits, - and _"),
        ("name: good", "name: good\nseed: many", (2, 7), "seed: expected a whole number, found 'many'"),
        ("name: good", "name: good\nseed: true", (2, 7), "seed: expected a whole number, found True"),
        (
            "test_fraction: 0.1",
            "test_fraction: 1",
            (9, 52),
            "dataset.test_fraction: expected a number below 1.0, found 1",
        ),
        ("[sft, preference]", "[]", (9, 18), "dataset.views: expected at least 1 entry, found []"),
    ],
)
def test_a_wrong_value_is_told_with_what_would_be_right(
    pipeline: ReadPipeline, old: str, new: str, place: tuple[int, int], message: str
) -> None:
    line, column, said = only(pipeline, edited(old, new))
    assert said.startswith(message)
    assert (line, column) == place


@pytest.mark.parametrize(
    "section",
    [
        "steps: []",
        "steps: {}",
        "steps: respond",
        "steps:",
        "steps: [3]",
        "steps: [[respond]]",
        "steps: [{a: {}, b: {}}]",
    ],
)
def test_steps_that_are_no_list_of_steps_are_one_mistake(pipeline: ReadPipeline, section: str) -> None:
    line, _, message = only(pipeline, f"name: n\nmodels: {{m: {{provider: scripted}}}}\n{section}\n")
    assert line == 3
    assert message.startswith("steps")
    assert "expected" in message


@pytest.mark.parametrize("models", ["", "[]", "3", "{m: }", "{m: scripted}", "{m: {}}", "{m: {provider: 3}}"])
def test_models_that_are_no_models_are_told(pipeline: ReadPipeline, models: str) -> None:
    found = mistakes(pipeline, edited("\n  m: {provider: scripted}", f" {models}"))
    assert any(message.startswith("models") and "expected" in message for _, _, message in found)


@pytest.mark.parametrize("text", ["", "\n", "just a text\n", "[1, 2]\n", "3\n", "null\n", "--- \n"])
def test_a_file_without_keys_is_told_what_it_lacks(pipeline: ReadPipeline, text: str) -> None:
    assert any("expected keys and values" in message for _, _, message in mistakes(pipeline, text))


def test_a_step_without_what_it_needs_is_told(pipeline: ReadPipeline) -> None:
    line, _, message = only(pipeline, edited("respond: {model: m, count: 2}", "respond: {count: 2}"))
    assert line == 6
    assert message == "steps[1].respond.model: missing; this key has no default"


def test_two_steps_of_one_name_are_told(pipeline: ReadPipeline) -> None:
    line, _, message = only(pipeline, edited("  - judge_pairs", "  - respond: {model: m}\n  - judge_pairs"))
    assert line == 8
    assert message == "steps[3]: a step is called 'respond' already; give this one an id"


def test_a_first_step_that_has_nothing_to_read_is_told(pipeline: ReadPipeline) -> None:
    line, _, message = only(pipeline, edited("  - self_instruct: {model: m, count: 5}\n", ""))
    assert line == 5
    assert "no rows to read" in message


# YAML


def test_a_duplicate_key_is_told_with_its_place(pipeline: ReadPipeline) -> None:
    line, column, message = only(pipeline, edited("count: 2", "count: 2, count: 3"))
    assert (line, column) == (6, 35)
    assert message == "duplicate key 'count'"


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!mine x", "!!int '3'"])
def test_a_yaml_tag_is_refused_and_nothing_is_made_of_it(pipeline: ReadPipeline, tag: str) -> None:
    line, column, message = only(pipeline, edited("name: good", f"name: {tag}"))
    assert (line, column) == (1, 7)
    assert message.startswith("tags are not read, found")


def test_anchors_and_aliases_are_refused(pipeline: ReadPipeline) -> None:
    found = mistakes(pipeline, "name: &a good\nmodels: {m: *a}\nsteps: [x]\n")
    assert [(line, column) for line, column, _ in found] == [(1, 7), (2, 13)]
    assert all("anchors and aliases are not read" in message for _, _, message in found)


@pytest.mark.parametrize(
    "text", ["name: [good\n", "name: 'good\n", "a: b: c\n", "\tname: good\n", "name: good\n--- \nname: two\n"]
)
def test_what_is_no_yaml_is_told_with_its_place(pipeline: ReadPipeline, text: str) -> None:
    line, column, message = only(pipeline, text)
    assert line
    assert column
    assert message.startswith("not YAML: ")


def test_control_characters_are_told_and_no_traceback(pipeline: ReadPipeline) -> None:
    _, _, message = only(pipeline, "name: go\x07od\n")
    assert message.startswith("not YAML: ")


def test_a_file_that_is_no_text_or_not_there_is_told(project: Path) -> None:
    (project / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    for name in ("latin.yaml", "missing.yaml"):
        with pytest.raises(UserError, match="cannot be read as UTF-8 text") as caught:
            pipelines.read(project / name)
        assert caught.value.problems[0].file.endswith(name)


def test_a_file_that_is_too_large_or_too_deep_is_refused(pipeline: ReadPipeline) -> None:
    assert "larger than" in only(pipeline, "# x\n" * 300_000)[2]
    assert "nested deeper than" in only(pipeline, "a: " + "[" * 10_000)[2]


def test_a_byte_order_mark_is_no_mistake(project: Path) -> None:
    (project / "pipeline.yaml").write_text(GOOD, encoding="utf-8-sig")
    assert pipelines.read(project / "pipeline.yaml").name == "good"


# Files that the pipeline names


def test_an_empty_constitution_is_told_by_its_own_name(pipeline: ReadPipeline, project: Path) -> None:
    (project / "mine.md").write_text("# Only a title\n", encoding="utf-8")
    with pytest.raises(UserError, match="no principle") as caught:
        pipeline(edited("constitution: harmless", "constitution: mine"))
    [problem] = caught.value.problems
    assert problem.file.endswith("mine.md")
    assert problem.line == 1


SEEDS_WITH_MISTAKES = (
    b'{"instruction": "Do it.", "instances": [{"input": "", "output": "x"}], "is_classification": false}\n'
    b"\n"
    b'{"instruction": "Do it.", "instances": [], "is_classification": false}\n'
    b"{this is no JSON}\n"
    b'{"instruction": 3, "instances": [{"input": "", "output": "x"}], "is_classification": "no"}\n'
)


def test_malformed_seed_tasks_are_told_by_their_lines_before_any_call(
    pipeline: ReadPipeline, project: Path
) -> None:
    (project / "mine.jsonl").write_bytes(SEEDS_WITH_MISTAKES)
    with pytest.raises(UserError) as caught:
        pipeline(edited("count: 5", "seeds: mine"))
    said = str(caught.value)
    for line in (3, 4, 5):
        assert f"mine.jsonl:{line}" in said
    assert "mine.jsonl:1" not in said


def test_malformed_prompts_are_told_by_their_lines_before_any_call(
    pipeline: ReadPipeline, project: Path
) -> None:
    (project / "mine.jsonl").write_bytes(
        b'{"prompt": "Hi"}\n[1]\n{"promt": "x"}\n\n{"prompt": " "}\n{"prompt": [{"role": "user"}]}\n{no\n'
    )
    with pytest.raises(UserError) as caught:
        pipeline(edited("self_instruct: {model: m, count: 5}", "jsonl: {path: mine}"))
    said = str(caught.value)
    assert [line for line in range(1, 9) if f"mine.jsonl:{line}" in said] == [2, 3, 5, 6, 7]


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
def test_a_file_outside_the_project_is_not_read(pipeline: ReadPipeline, project: Path, name: str) -> None:
    (project.parent / "secret.md").write_text("## a-rule\nSecret text.\n", encoding="utf-8")
    line, _, message = only(pipeline, edited("constitution: harmless", f"constitution: {name}"))
    assert line == 7
    assert "Secret" not in message
    (project.parent / "secret.md").unlink()


# Models that cannot do what is asked


def test_no_key_in_the_environment_is_told(pipeline: ReadPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, provider in (("OPENAI_API_KEY", "openai"), ("ANTHROPIC_API_KEY", "anthropic")):
        monkeypatch.delenv(variable, raising=False)
        model = f"m: {{provider: {provider}, model: any}}"
        found = mistakes(pipeline, edited("m: {provider: scripted}", model))
        assert (3, f"the environment variable {variable} is not set") in [
            (line, message.partition(": ")[2]) for line, _, message in found
        ]


def test_a_key_in_the_file_is_refused_and_not_repeated(pipeline: ReadPipeline) -> None:
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
    model = f"m: {{provider: compatible, model: any, base_url: 'http://localhost/v1', api_key_env: {key}}}"
    line, _, message = only(pipeline, edited("m: {provider: scripted}", model))
    assert line == 3
    assert key not in message
    assert "do not keep keys here" in message


def test_a_judge_without_log_probabilities_is_refused_with_its_place(
    pipeline: ReadPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key-for-tests")
    claude = edited(
        "m: {provider: scripted}", "m: {provider: scripted}\n  c: {provider: anthropic, model: any}"
    )
    line, column, message = only(
        pipeline, claude.replace("judge_pairs: {model: m}", "judge_pairs: {model: c}")
    )
    assert (line, column) == (9, 26)
    assert message == "steps[3].judge_pairs.model: c gives no logprobs"
    pipeline(claude.replace("judge_pairs: {model: m}", "judge_pairs: {model: c, verdict: schema}"))


def test_a_judge_by_likelihood_needs_a_model_that_scores(pipeline: ReadPipeline) -> None:
    server = "m: {provider: scripted}\n  s: {provider: compatible, model: x, base_url: 'http://localhost/v1'}"
    text = edited("m: {provider: scripted}", server).replace(
        "judge_pairs: {model: m}", "judge_likelihood: {model: s}"
    )
    _, _, message = only(pipeline, text)
    assert message == "steps[3].judge_likelihood.model: s gives no score"


def test_sampling_that_a_model_does_not_take_is_refused_if_asked_for_and_noted_if_not(
    pipeline: ReadPipeline,
) -> None:
    model = (
        "m: {provider: compatible, model: x, base_url: 'http://localhost/v1', supports: [logprobs, top_p]}"
    )
    text = edited("m: {provider: scripted}", model)
    notes = pipeline(text).notes
    assert "respond: m takes no temperature; its own default holds" in notes
    line, column, message = only(pipeline, text.replace("count: 2", "temperature: 1"))
    assert (line, column) == (6, 38)
    assert message == "steps[1].respond.temperature: m takes no temperature; leave it out"


# All at once


def test_all_mistakes_are_told_at_once_each_with_its_own_place(pipeline: ReadPipeline, project: Path) -> None:
    (project / "pipeline.yaml").write_text(
        "name: Bad Name\n"
        "sed: 7\n"
        "models:\n"
        "  m: {provider: scripted, latency: 3}\n"
        "  n: {provider: scripted}\n"
        "steps:\n"
        "  - self_instruct: {model: n, count: none}\n"
        "  - respnd: {model: n}\n"
        "  - respond: {model: missing}\n"
        "  - critique_revise: {model: n, constitution: nowhere, rounds: 0}\n"
        "  - judge_pairs: {model: n, constitution: nowhere}\n"
        "dataset: {views: [sft, nothing], test_fraction: 2}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError) as caught:
        pipelines.read(project / "pipeline.yaml")
    found = [PLACED.fullmatch(line) for line in str(caught.value).splitlines()]
    assert all(found), str(caught.value)
    places = [(int(match["line"]), match["message"]) for match in found if match]
    assert [line for line, _ in places] == [1, 2, 4, 7, 8, 9, 10, 11, 12]
    for (_, message), word in zip(
        places,
        [
            "name",
            "'sed'",
            "'latency'",
            "count",
            "'respnd'",
            "'missing'",
            "rounds",
            "'nowhere'",
            "test_fraction",
        ],
        strict=True,
    ):
        assert word in message


def test_a_step_that_cannot_be_read_shifts_no_other_mistake(pipeline: ReadPipeline) -> None:
    text = edited("self_instruct: {model", "self_instrukt: {model").replace(
        "respond: {model: m", "respond: {model: x"
    )
    found = mistakes(pipeline, text)
    assert [(line, column) for line, column, _ in found] == [(5, 5), (6, 22)]


@pytest.mark.parametrize("license_", ['"mit\\nextra: [injected]"', "'my own'", '"mit\\n"'])
def test_a_licence_is_one_word_and_nothing_that_a_card_would_obey(
    pipeline: ReadPipeline, license_: str
) -> None:
    with pytest.raises(UserError, match="license"):
        pipeline(edited("license: cc-by-4.0", f"license: {license_}"))


def test_a_view_that_is_named_twice_is_a_mistake(pipeline: ReadPipeline) -> None:
    text = "name: p\nmodels: {m: {provider: scripted}}\nsteps:\n  - self_instruct: {model: m}\n"
    with pytest.raises(UserError, match="the view 'preference' is there already"):
        pipeline(text + "dataset: {views: [{preference: {least_margin: 0.4}}, preference]}\n")


@pytest.mark.parametrize(
    ("template", "said"),
    [("{% if %}", "not a template"), ("Judge {{ frist }}", "unknown blank 'frist'. Did you mean 'first'?")],
)
def test_a_broken_prompt_of_the_user_s_is_told_before_any_call(
    pipeline: ReadPipeline, project: Path, template: str, said: str
) -> None:
    path = project / "prompts" / "judge_pairs" / "judge.md"
    path.parent.mkdir(parents=True)
    path.write_text(template, encoding="utf-8")
    text = "name: p\nmodels: {m: {provider: scripted}}\nsteps:\n  - self_instruct: {model: m}\n"
    with pytest.raises(UserError, match=re.escape(said)):
        pipeline(text + "  - respond: {model: m, count: 2}\n  - judge_pairs: {model: m}\n")


def test_a_step_that_names_a_judge_must_name_an_earlier_step(pipeline: ReadPipeline) -> None:
    text = edited("judge_pairs: {model: m}", "judge_scores: {model: m}\n  - best_of: {judge: judge_score}")
    _, _, message = only(pipeline, text)
    assert message == "steps[4].best_of.judge: unknown step 'judge_score'. Did you mean 'judge_scores'?"
