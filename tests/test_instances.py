"""Classification tasks and instances: what is asked, how replies are split, and what each filter drops."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Make, ReadPipeline, WriteLines
from growing import completion, kept_rows
from hypothesis import given
from hypothesis import strategies as st
from provider_server import ProviderServer

from synth import assets, instances, seeds
from synth.instances import without_field_name
from synth.instructions import Mode
from synth.journal import Account
from synth.rows import Row

PIPELINE = """
name: instances
seed: 3
models:
  m: {{provider: compatible, model: made, base_url: "{url}/v1"{supports}}}
steps:
  - jsonl: {{path: tasks}}
  - classify_tasks: {{model: m, mode: {mode}}}
  - make_instances: {{model: m, mode: {mode}}}
dataset: {{views: [alpaca, sft]}}
"""
CLASSIFICATION, OTHER = "Sort the text by topic.", "Shorten the sentence."
LABELLED = "Class label: sport\nText: A late goal.\nClass label: weather\nText: Rain again.\n"
EXAMPLES = (
    "Example 1\nSentence: It is very cold.\nOutput: It is cold.\nExample 2\nSentence: A b.\nOutput: B.\n"
)
BOTH_MODES = pytest.mark.parametrize("mode", ["modern", "faithful"])

Instruct = Callable[..., Any]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Every row that goes on, with its facts."""
    return kept_rows(monkeypatch)


@pytest.fixture
def instruct(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, rows: list[Row], write_lines: WriteLines
) -> Instruct:
    """Run both steps on tasks against the server: the rows of the last, and its account."""

    async def instruct_(*tasks: str, mode: Mode = "modern", supports: str = "") -> tuple[list[Row], Account]:
        rows.clear()
        write_lines("tasks.jsonl", *({"prompt": task} for task in tasks))
        supports = supports and f", supports: {supports}"
        _, watch = await make(pipeline(PIPELINE.format(url=server.url, supports=supports, mode=mode)))
        made = [row for row in rows if "make_instances" in row.facts]
        return sorted(made, key=lambda row: row.id), watch.accounts["make_instances"]

    return instruct_


def prompt(body: dict[str, Any]) -> str:
    said: str = body["prompt"] if "prompt" in body else body["messages"][-1]["content"]
    return said


def answering(
    server: ProviderServer, classification: str = " No", examples: str = EXAMPLES, finish: str = "stop"
) -> None:
    """Have the server answer the question of kind so, and everything else with `examples`."""

    def answer(body: dict[str, Any]) -> dict[str, Any] | str:
        asks = prompt(body).endswith("Is it classification?")
        said = classification if asks else examples
        return completion(said, "stop" if asks else finish) if "prompt" in body else said

    server.answer = answer


def known(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = row.facts["make_instances"]
    return found


def pairs(rows: list[Row]) -> set[tuple[str, str]]:
    return {(known(row)["input"], known(row)["output"]) for row in rows}


# Classification or not


async def test_classifications_get_outputs_first_and_other_tasks_inputs_first(
    instruct: Instruct, server: ProviderServer
) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        asked = prompt(body)
        if asked.endswith("Is it classification?"):
            return completion(" Yes" if CLASSIFICATION in asked else " No")
        return completion(LABELLED if asked.rstrip().endswith(CLASSIFICATION) else EXAMPLES)

    server.answer = answer
    made, _ = await instruct(CLASSIFICATION, OTHER)
    orders = Counter((known(row)["instruction"], known(row)["order"]) for row in made)
    assert orders == {(CLASSIFICATION, "output_first"): 2, (OTHER, "input_first"): 2}
    assert pairs(made) == {
        ("Text: A late goal.", "sport"),
        ("Text: Rain again.", "weather"),
        ("Sentence: It is very cold.", "It is cold."),
        ("Sentence: A b.", "B."),
    }


async def test_only_yes_in_three_casings_makes_a_classification(
    instruct: Instruct, server: ProviderServer
) -> None:
    said = [" Yes", "yes", "YES\n", "Yes Task", "yes.", "Maybe", "yEs", " No", "Yes, it", "\nYes"]
    tasks = [f"Do thing {number} now." for number in range(len(said))]

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if not prompt(body).endswith("Is it classification?"):
            return completion(LABELLED + EXAMPLES)
        return completion(
            next(words for task, words in zip(tasks, said, strict=True) if task in prompt(body))
        )

    server.answer = answer
    made, _ = await instruct(*tasks)
    kinds = {known(row)["instruction"]: row.facts["classify_tasks"] for row in made}
    assert [kinds[task]["is_classification"] for task in tasks] == [True] * 4 + [False] * 6
    assert [kinds[task]["said"] for task in tasks] == said
    orders = {known(row)["instruction"]: known(row)["order"] for row in made}
    assert [orders[task] for task in tasks] == ["output_first"] * 4 + ["input_first"] * 6


async def test_the_question_of_kind_shows_12_classifications_and_19_others_and_is_greedy(
    instruct: Instruct, server: ProviderServer
) -> None:
    answering(server)
    await instruct(OTHER, CLASSIFICATION, mode="faithful")
    asked = [body for body in server.bodies if prompt(body).endswith("Is it classification?")]
    tasks = {task.instruction: task for task in seeds.read(assets.find("seeds", "general", Path.cwd()))}
    for body in asked:
        blocks = [block.split("\n") for block in prompt(body).split("\n\nTask: ")[1:]]
        solved = {block[0]: block[1].removeprefix("Is it classification? ") for block in blocks[:-1]}
        assert Counter(solved.values()) == {"Yes": 12, "No": 19}
        assert all((tasks[text].is_classification) == (said == "Yes") for text, said in solved.items())
        assert {name: body[name] for name in ("temperature", "max_tokens", "stop", "top_p")} == {
            "temperature": 0,
            "max_tokens": 3,
            "stop": ["\n", "Task"],
            "top_p": 0,
        }
    first, second = (prompt(body).rsplit("\n\nTask: ", 1)[0] for body in asked)
    assert first == second, "every task is shown the same examples"


async def test_instances_are_asked_for_as_the_original_asks(
    instruct: Instruct, server: ProviderServer
) -> None:
    answering(server)
    await instruct(OTHER)
    answering(server, " Yes", LABELLED)
    await instruct(CLASSIFICATION)
    bodies = [body for body in server.bodies if not prompt(body).endswith("Is it classification?")]
    for body, instruction, most in zip(bodies, (OTHER, CLASSIFICATION), (350, 300), strict=True):
        assert prompt(body).endswith(f"\n\nTask: {instruction}\n")
        assert (body["temperature"], body["presence_penalty"], body["max_tokens"]) == (0, 1.5, most)
        assert body["stop"] == ["Example 6", "Task:"]
        assert "top_p" not in body


async def test_a_chat_gets_no_stop_sequences_and_is_cut_where_they_would_have_ended_it(
    instruct: Instruct, server: ProviderServer
) -> None:
    many = "".join(f"Example {n}\nSentence: s{n}\nOutput: o{n}\n" for n in range(1, 8))
    answering(server, "No\nTask: it is none", f"Task: {OTHER}\nGladly!\n{many}Task: Another one\nOutput: x")
    made, _ = await instruct(OTHER, supports="[temperature, stop]")
    assert not any("stop" in body for body in server.bodies)
    assert {output for _, output in pairs(made)} == {"o1", "o2", "o3", "o4", "o5"}
    assert known(made[0])["origin"] == {"request": "chat", "ended_by": "line"}
    assert made[0].facts["classify_tasks"]["is_classification"] is False


# Rows


async def test_an_instance_is_a_row_with_the_instruction_written_down_in_one_of_several_forms(
    instruct: Instruct, server: ProviderServer
) -> None:
    tasks = [f"Do the thing number {number} with it." for number in range(30)]
    answering(server, examples="Example 1\nWord: anchor\nOutput: rohcna\nExample 2\nWord: a\n\nb\nOutput: c")
    made, account = await instruct(*tasks)
    assert account.out == len(made) == 60
    assert len({row.id for row in made}) == 60
    assert len({row.root for row in made}) == 30, "instances of an instruction stay in one split"
    forms = {row.prompt[-1].content.replace(known(row)["instruction"], "I") for row in made}
    assert len(forms) >= 10
    named = sum("Word:" in row.prompt[-1].content for row in made)
    assert 15 <= named <= 45, "about half keep the name of the field"
    for row in made:
        assert known(row)["instruction"] in row.prompt[-1].content
        assert row.answers[0].text == known(row)["output"]
        assert row.answers[0].calls == (row.calls[-1],)
        assert "Word: " in known(row)["input"]
    again, _ = await instruct(*tasks)
    assert [row.prompt for row in again] == [row.prompt for row in made]


async def test_a_task_without_input_has_an_empty_one(instruct: Instruct, server: ProviderServer) -> None:
    answering(server, examples="Output: Warmly,\nTheo")
    [row], _ = await instruct("Write the end of a letter.")
    assert pairs([row]) == {("", "Warmly,\nTheo")}
    assert "Write the end of a letter." in row.prompt[-1].content


async def test_of_more_than_five_labels_five_are_drawn(instruct: Instruct, server: ProviderServer) -> None:
    answering(server, " Yes", "".join(f"Class label: l{n}\nText: t{n}\n" for n in range(9)))
    made, _ = await instruct(CLASSIFICATION)
    assert len(made) == 5
    assert known(made[0])["dropped"] == {"beyond_most": 4}


@BOTH_MODES
async def test_a_reply_that_was_cut_off_loses_only_its_last_instance(
    instruct: Instruct, server: ProviderServer, mode: Mode
) -> None:
    answering(server, finish="length")
    [row], _ = await instruct(OTHER, mode=mode)
    assert pairs([row]) == {("Sentence: It is very cold.", "It is cold.")}
    assert known(row)["dropped"] == {"cut_off": 1}


@BOTH_MODES
async def test_one_input_with_two_outputs_drops_all_instances_of_the_instruction(
    instruct: Instruct, server: ProviderServer, mode: Mode
) -> None:
    answering(server, examples=EXAMPLES + "Example 3\nSentence: A b.\nOutput: A.")
    tasks = (OTHER,)
    with pytest.raises(Exception, match="make_instances: conflicting_outputs 1"):
        await instruct(*tasks, mode=mode)
    answering(server, " Yes", "Class label: yes\nClass label: no\n")
    made, _ = await instruct(CLASSIFICATION, mode=mode)
    assert pairs(made) == {("", "yes"), ("", "no")}, "without an input there may be several outputs"


async def test_a_reply_without_an_instance_is_counted(instruct: Instruct, server: ProviderServer) -> None:
    answering(server, examples="I do not know how.")
    with pytest.raises(Exception, match="make_instances: no_instance 1"):
        await instruct(OTHER)


async def test_the_seed_tasks_can_be_joined_to_what_was_made(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> None:
    answering(server)
    write_lines("tasks.jsonl", {"prompt": OTHER})
    text = PIPELINE.format(url=server.url, supports="", mode="modern").replace(
        "dataset:", "  - seed_tasks: {}\ndataset:"
    )
    version, _ = await make(pipeline(text))
    lines = [(line["instruction"], line["input"], line["output"]) for line in version.rows("alpaca")]
    people = seeds.read(assets.find("seeds", "general", Path.cwd()))
    written = {(task.instruction, *instance) for task in people for instance in task.instances}
    assert len(lines) == len(written) + 2
    assert written < set(lines)


# A reply in parts


def read(text: str, mode: Mode = "modern", classification: bool = False, cut_off: bool = False) -> Any:
    found = instances.read(text, mode, classification=classification, cut_off=cut_off)
    return found.kept, dict(found.dropped)


@BOTH_MODES
def test_every_filter_of_instances_counts_under_its_own_name(mode: Mode) -> None:
    said = [("same", "same"), ("x", ""), ("x", "as follows:"), ("the list:", "y"), ("a", "b"), ("a", "b")]
    blocks = [f"Example {n}\nInput: {given}\nOutput: {output}\n" for n, (given, output) in enumerate(said, 1)]
    text = "".join(blocks)
    kept, dropped = read(text, mode)
    assert kept == [("a", "b")]
    assert dropped == {"same_input_output": 1, "empty_output": 1, "ends_with_colon": 2, "duplicate": 1}


@BOTH_MODES
def test_a_label_without_an_input_is_an_instance(mode: Mode) -> None:
    kept, _ = read("Class label: true\nClass label: false\nCode:\nx = 1", mode, classification=True)
    assert kept == [("", "true"), ("Code:\nx = 1", "false")]
    assert read("true", mode, classification=True) == ([], {})


def test_the_word_example_splits_an_output_only_in_the_faithful_mode() -> None:
    text = "Example 1\nTerm: rhyme\nOutput: Two sounds alike. Example: cat and hat."
    assert read(text)[0] == [("Term: rhyme", "Two sounds alike. Example: cat and hat.")]
    assert read(text, "faithful")[0] == [("Term: rhyme", "Two sounds alike."), ("", ": cat and hat.")]


def test_the_word_input_cuts_an_output_only_in_the_faithful_mode() -> None:
    text = "Example 1\nTerm: form\nOutput: It has a field Input: and a button.\nInput 2: more"
    assert read(text)[0] == [("Term: form", "It has a field Input: and a button.")]
    assert read(text, "faithful")[0] == [("Term: form", "It has a field")]


def test_an_example_without_an_output_is_one_only_in_the_faithful_mode() -> None:
    text = "Example 1\nTerm: form\nExample 2\nTerm: a\nOutput: b"
    assert read(text) == ([("Term: a", "b")], {"no_output": 1})
    assert read(text, "faithful")[0] == [("", "Term: form"), ("Term: a", "b")]


@BOTH_MODES
def test_the_name_of_a_numbered_input_is_no_part_of_it(mode: Mode) -> None:
    assert read("Example 1\nInput 1: six\nOutput 1: seven", mode)[0] == [("six", "seven")]


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Word: anchor", "anchor"),
        ("Name: A\nName: B", "A\nName: B"),
        ("From: A\nTo: B", "From: A\nTo: B"),
        ("One\n\ntwo", "One\ntwo"),
    ],
)
@BOTH_MODES
def test_a_field_name_goes_if_it_is_the_only_one(text: str, bare: str, mode: Mode) -> None:
    assert without_field_name(text, mode) == bare


@pytest.mark.parametrize(
    ("text", "modern", "faithful"),
    [
        ("Meet at 12:30", "Meet at 12:30", "30"),
        ("See http://a.example", "See http://a.example", "//a.example"),
        ("Bullet points: a, b", "a, b", "a, b"),
        ("I said: no", "no", "no"),
        ("A man came in and said: no", "A man came in and said: no", "no"),
    ],
)
def test_a_colon_inside_a_text_takes_it_away_only_in_the_faithful_mode(
    text: str, modern: str, faithful: str
) -> None:
    assert without_field_name(text, "modern") == modern
    assert without_field_name(text, "faithful") == faithful


@pytest.mark.parametrize("mark", ["{}:", "**{}:**", "**{}**:", "### {}:", "## **{}**:"])
def test_modern_marks_may_be_headings_or_bold(mark: str) -> None:
    one, two, out = (mark.format(name) for name in ("Example 1", "Example 2", "Output"))
    text = f"{one}\nWord: up\n{out} down\n\n{two}\nWord: in\n{out} out"
    assert read(text) == ([("Word: up", "down"), ("Word: in", "out")], {})
    label = mark.format("Class label")
    assert read(f"{label} good\nText: x", classification=True) == ([("Text: x", "good")], {})


def test_an_instance_before_the_first_example_is_one_and_a_preamble_is_none() -> None:
    text = "Word: up\nOutput: down\nExample 2\nWord: in\nOutput: out"
    assert read(text) == ([("Word: up", "down"), ("Word: in", "out")], {})
    assert read(f"Gladly.\n{text}")[0][1:] == [("Word: in", "out")]
    assert read("Gladly.\nExample 1\nWord: in\nOutput: out") == ([("Word: in", "out")], {})


def test_a_second_output_of_an_example_is_counted() -> None:
    text = "Word: up\nOutput: down\nOutput: low"
    assert read(f"Example 1\n{text}") == ([("Word: up", "down")], {"beyond_output": 1})
    assert read(text) == ([("Word: up", "down")], {"beyond_output": 1})


ALPHABET = st.sampled_from(["Example 1\n", "Output: ", "Input: ", "Class label: ", "a", "b", "\n", ":", " "])


@given(st.lists(ALPHABET).map("".join), st.sampled_from(["modern", "faithful"]), st.booleans(), st.booleans())
def test_what_is_kept_is_distinct_whole_and_without_contradiction(
    text: str, mode: Mode, classification: bool, cut_off: bool
) -> None:
    kept, _ = read(text, mode, classification, cut_off)
    assert len(kept) == len(set(kept))
    inputs = [input_ for input_, _ in kept if input_]
    assert len(inputs) == len(set(inputs))
    for input_, output in kept:
        assert output == output.strip() != ""
        assert input_ != output
        assert not output.endswith(":")
        assert not input_.endswith(":")
