"""Sources of human data: what becomes a row, what does not and why, and that it is booked as people's."""

import gzip
import os
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines

from synth import seeds
from synth.errors import Problem, UserError
from synth.rows import Message
from synth.sources.hh import Hh
from synth.sources.pairs import Pairs
from synth.transcript import parse, render

HH = """
name: human
models: {{m: {{provider: scripted}}}}
steps:
  - hh: {{path: talks, take: {take}}}
dataset: {{views: [{view}]}}
"""
PAIRS = """
name: human
models: {m: {provider: scripted}}
steps:
  - pairs: {path: talks}
dataset: {views: [preference]}
"""


def talk(*turns: str) -> str:
    """A transcript whose speakers take turns."""
    return "".join(f"\n\n{('Human', 'Assistant')[number % 2]}: {turn}" for number, turn in enumerate(turns))


def line(chosen: str, rejected: str, **columns: Any) -> dict[str, Any]:
    return {"chosen": chosen, "rejected": rejected, **columns}


TALKS = (
    line(talk("Hi", "Hello", "How are you?", "Fine"), talk("Hi", "Hello", "How are you?", "Bad")),
    line(talk("Hi", "Hello", "Where?", "Here"), talk("Hi", "Hello, you", "Where?", "There")),
    line(talk("Hi", "Hello", "Why?", "So"), talk("Hi", "Hello", "Why?", " ")),
    line(talk("Hi", "Same"), talk("Hi", "Same")),
    line(talk("Hi", "Hello", "Bye"), talk("Hi", "Hello", "Bye")),
    line("No transcript", "at all"),
    line("\n\nAssistant: I begin.", "\n\nAssistant: Me too."),
)


async def test_hh_pairs_are_the_shared_turns_two_answers_and_one_judgement_by_people(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("talks.jsonl", TALKS[0])
    version, _ = await make(pipeline(HH.format(take="pairs", view="preference")))
    [row] = version.rows("preference")
    assert [turn["content"] for turn in row["prompt"]] == ["Hi", "Hello", "How are you?"]
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("Fine", "Bad")
    assert (row["judge"], row["p_chosen"], row["agreed"]) == ("hh", 1.0, None)
    assert asked.requests == []


async def test_pairs_with_unequal_prefixes_and_empty_finals_are_dropped_and_counted(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines("talks.jsonl", *TALKS)
    version, watch = await make(pipeline(HH.format(take="pairs", view="preference")))
    assert watch.accounts["hh"].filtered == {
        "unequal_prefixes": 1,
        "empty_answer": 1,
        "identical_answers": 1,
        "no_answer": 1,
        "no_transcript": 1,
        "no_prompt": 1,
    }
    [step] = version.manifest["steps"]
    assert (step["rows"], step["continued"], step["filtered"]["unequal_prefixes"]) == (7, 1, 1)


async def test_first_human_turns_are_prompts_and_equal_ones_are_rows_of_their_own(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines("talks.jsonl", *TALKS, line(talk("Is this: whole?", "Yes"), talk("Is this: whole?", "No")))
    version, watch = await make(pipeline(HH.format(take="first_turn", view="instructions")))
    asks = sorted(row["instruction"] for row in version.rows("instructions"))
    assert asks == ["Hi"] * 5 + ["Is this: whole?"]
    assert watch.accounts["hh"].filtered == {"no_transcript": 1, "no_human_turn": 1}


def test_a_first_turn_is_a_prompt_whatever_the_rejected_side_is() -> None:
    one_sided = line(talk("Hi", "Hello"), "no transcript")
    begun = Hh(path="talks", take="first_turn").begun(one_sided, "talks")
    assert (begun.prompt, begun.dropped) == ((Message("user", "Hi"),), "")
    assert Hh(path="talks", take="pairs").begun(one_sided, "talks").dropped == "no_transcript"


async def test_a_packed_file_gives_the_same_version_as_a_plain_one(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, project: Path
) -> None:
    plain = write_lines("talks.jsonl", *TALKS)
    text = HH.format(take="pairs", view="preference")
    one, _ = await make(pipeline(text), into=project / "one")
    (project / "talks.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    other, _ = await make(pipeline(text), into=project / "other")
    assert one.id == other.id


async def test_a_limit_counts_the_rows_that_begin(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines("talks.jsonl", *TALKS[1:], TALKS[0], TALKS[0])
    _, watch = await make(pipeline(HH.format(take="pairs", view="preference")), limit=1)
    assert (watch.accounts["hh"].continued, watch.accounts["hh"].rows) == (1, 7)


def test_a_line_without_two_texts_is_a_mistake_with_its_number(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    write_lines("talks.jsonl", TALKS[0], {"chosen": "\n\nHuman: Hi"}, [1], line("a", "b") | {"rejected": 3})
    with pytest.raises(UserError) as caught:
        pipeline(HH.format(take="pairs", view="preference"))
    said = str(caught.value)
    assert said.count("expected an object with the texts 'chosen' and 'rejected'") == 3
    assert all(f"talks.jsonl:{number}" in said for number in (2, 3, 4))


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-9], lambda whole: whole[:30] + b"\0" * 30, lambda _: b"no"]
)
def test_a_damaged_packed_file_is_a_mistake_and_no_traceback(project: Path, damage: Any) -> None:
    path = project / "talks.jsonl.gz"
    path.write_bytes(damage(gzip.compress(b"".join(orjson.dumps(talk_) + b"\n" for talk_ in TALKS))))
    *_, (_, last) = seeds.lines(path)
    assert isinstance(last, Problem)
    assert "not a whole gzip file" in last.message


# Pairs


def turns(*contents: str) -> list[dict[str, str]]:
    return [
        {"role": ("user", "assistant")[number % 2], "content": content}
        for number, content in enumerate(contents)
    ]


@pytest.mark.parametrize(
    "columns",
    [
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
        {"prompt": turns("Hi"), "chosen": "Hello", "rejected": "Go"},
        {"prompt": turns("Hi"), "chosen": turns("", "Hello")[1:], "rejected": turns("", "Go")[1:]},
        {"chosen": turns("Hi", "Hello"), "rejected": turns("Hi", "Go")},
        {"prompt": "not looked at", "chosen": turns("Hi", "Hello"), "rejected": turns("Hi", "Go")},
        {"prompt": "Hi", "chosen": turns("Hi", "Hello"), "rejected": "Go"},
    ],
    ids=["texts", "prompt as messages", "answers as messages", "conversations", "both", "mixed"],
)
async def test_all_forms_of_a_comparison_are_the_same_row(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, columns: dict[str, Any]
) -> None:
    write_lines("talks.jsonl", columns)
    version, _ = await make(pipeline(PAIRS))
    [row] = version.rows("preference")
    assert (row["prompt"], row["judge"]) == (turns("Hi"), "pairs")
    assert (row["chosen"], row["rejected"]) == (turns("", "Hello")[1:], turns("", "Go")[1:])


async def test_an_answer_that_goes_on_for_several_turns_keeps_the_question_before_it(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    more = turns("Hi", "Hello", "And?")[1:]
    chosen, rejected = ([*more, {"role": "assistant", "content": last}] for last in ("So", "Go"))
    write_lines("talks.jsonl", {"prompt": turns("Hi"), "chosen": chosen, "rejected": rejected})
    version, _ = await make(pipeline(PAIRS))
    [row] = version.rows("preference")
    assert row["prompt"] == turns("Hi", "Hello", "And?")
    assert (row["chosen"][0]["content"], row["rejected"][0]["content"]) == ("So", "Go")


def test_an_answer_that_begins_with_the_assistant_needs_a_prompt(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    talk_ = turns("Hi", "Hello", "And?", "So")[1:]
    write_lines("talks.jsonl", {"chosen": talk_, "rejected": talk_})
    with pytest.raises(UserError, match="prompt: expected a text or a list of messages"):
        pipeline(PAIRS)


async def test_what_is_no_comparison_is_dropped_and_counted(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines(
        "talks.jsonl",
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"},
        {"prompt": "Hi", "chosen": "Hello", "rejected": ""},
        {"prompt": " ", "chosen": "Hello", "rejected": "Go"},
        {"prompt": "Hi", "chosen": "Hello", "rejected": "Hello"},
        {"prompt": "Hi", "chosen": turns("Ho", "Hello"), "rejected": "Go"},
        {"prompt": "Hi", "chosen": turns("Hi", "Hello", "And?"), "rejected": turns("Hi", "Hello", "So?")},
    )
    _, watch = await make(pipeline(PAIRS))
    assert watch.accounts["pairs"].continued == 1
    assert watch.accounts["pairs"].filtered == {
        "empty_answer": 1,
        "no_prompt": 1,
        "identical_answers": 1,
        "unequal_prefixes": 1,
        "no_answer": 1,
    }


def test_a_column_that_is_not_there_or_holds_no_text_is_a_mistake(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    write_lines(
        "talks.jsonl",
        {"prompt": "Hi", "chosen": "Hello"},
        {"chosen": "Hello", "rejected": "Go"},
        {"prompt": 3, "chosen": "Hello", "rejected": "Go"},
        {"prompt": "Hi", "chosen": [{"role": "robot", "content": "?"}], "rejected": "Go"},
        "Hi",
    )
    with pytest.raises(UserError) as caught:
        pipeline(PAIRS)
    said = str(caught.value).splitlines()
    assert [f"talks.jsonl:{number}" in text for number, text in enumerate(said, start=1)] == [True] * 5
    assert "rejected: expected a text or a list of messages" in said[0]
    assert "prompt: expected a text or a list of messages, which 'chosen' is an answer to" in said[1]
    assert "chosen: expected" in said[3]


def test_other_columns_are_facts() -> None:
    source = Pairs(path="talks", prompt="q", chosen="a", rejected="b")
    begun = source.begun({"q": "Hi", "a": "Hello", "b": "Go", "licence": "mit"}, "talks")
    assert begun.facts == {"licence": "mit"}
    assert Hh(path="talks", take="pairs").begun(TALKS[0] | {"split": "test"}, "talks").facts == {
        "split": "test"
    }


@pytest.mark.skipif("HH_HARMLESS" not in os.environ, reason="HH_HARMLESS: name harmless-base's test file")
def test_harmless_base_comes_back_byte_for_byte_and_its_unequal_pairs_are_counted() -> None:
    talks = [talk for _, talk in seeds.lines(Path(os.environ["HH_HARMLESS"]))]
    assert len(talks) == 2312
    for talk in talks:
        for side in (talk["chosen"], talk["rejected"]):
            messages = parse(side)
            assert messages is not None
            assert render(messages).encode() == side.encode()
    for take, dropped in (
        ("pairs", {"": 2303, "unequal_prefixes": 5, "empty_answer": 4}),
        ("first_turn", {"": 2312}),
    ):
        source = Hh.model_validate({"path": "talks", "take": take})
        assert Counter(source.begun(talk, "hh").dropped for talk in talks) == dropped
