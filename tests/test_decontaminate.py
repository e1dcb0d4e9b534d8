"""Decontamination: what holds most of a test prompt is out, what shares a part of it stays."""

import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st

from synth.errors import UserError
from synth.filters.decontaminate import GRAM, HeldOut

PIPELINE = """
name: clean
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: asked}
  - decontaminate: {held_out: exam}
  - respond: {model: m}
dataset: {views: [sft]}
"""
# Twenty words, all different.
TEST = (
    "A train leaves the old station at noon with forty passengers; how many remain after it "
    "stops twice tomorrow evening?"
)
WORDS = TEST.split()


def others(count: int) -> str:
    """So many words of which none is in the test prompt."""
    return " ".join(f"x{number}" for number in range(count))


def first(count: int) -> str:
    """The first words of the test prompt, among others."""
    return f"{others(12)} {' '.join(WORDS[:count])} {others(12)}"


async def test_a_planted_test_prompt_is_out_and_an_overlap_of_40_per_cent_is_spared(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("exam.jsonl", {"prompt": TEST}, {"instruction": "Say hello."})
    planted = f"Please answer this: {TEST.upper().replace(';', ' --')} Thank you."
    talk = [
        {"role": "user", "content": TEST},
        {"role": "assistant", "content": "Thirty."},
        {"role": "user", "content": "Why?"},
    ]
    said = [
        {"role": "user", "content": "Set me a problem."},
        {"role": "assistant", "content": TEST},
        {"role": "user", "content": "Now solve it."},
    ]
    kept: list[object] = [first(8), said, "Say hello to the whole class."]
    write_lines("asked.jsonl", *({"prompt": prompt} for prompt in [planted, TEST, talk, "say hello", *kept]))
    version, watch = await make(pipeline(PIPELINE))
    assert len(WORDS) == 20, "of which 8 are 40 per cent"
    assert watch.accounts["decontaminate"].filtered == {"contaminated": 4}
    assert [request.messages[-1].content for request in asked.requests].count("Now solve it.") == 1
    assert len(asked.requests) == len(list(version.rows("sft"))) == len(kept)
    dropped = pq.read_table(version.path / ".synth" / "dropped.parquet").to_pylist()
    assert {line["text"] for line in dropped} == {planted, TEST, "Why?", "say hello"}


@pytest.mark.parametrize("count", range(21))
def test_more_than_half_of_the_words_is_too_much_and_exactly_half_is_not(count: int) -> None:
    share = HeldOut([TEST]).share([first(count)])
    assert share == (count / 20 if count >= GRAM else 0)
    assert (share > 0.5) == (count > 10)


def test_what_several_turns_of_one_row_hold_adds_up_and_what_two_rows_hold_does_not() -> None:
    known = HeldOut([TEST])
    halves = [" ".join(WORDS[:8]), " ".join(WORDS[12:])]
    assert [known.share([half]) for half in halves] == [0.4, 0.4]
    assert known.share(halves) == 0.8
    assert known.share([" ".join(WORDS[:10]), " ".join(WORDS[2:10])]) == 0.5, "no word counts twice"


def test_parts_of_two_test_prompts_do_not_add_up() -> None:
    one, other = WORDS[:10] + ["a", "b"] * 5, ["c", "d"] * 5 + WORDS[10:]
    assert HeldOut([" ".join(one), " ".join(other)]).share([TEST]) == 0.5


@pytest.mark.parametrize(
    ("held_out", "prompt", "share"),
    [
        ("Why?", "Tell me why the sky is blue.", 0),
        ("Why?", "why", 1),
        ("one two three four five six seven", "one two three four five six seven eight", 0),
        ("one two three four five six seven eight", "zero one two three four five six seven eight", 1),
        ("!?", "!?", 0),
        ("!?", "Why?", 0),
        ("请解释一下为什么天空是蓝色的", "你好. 请解释一下, 为什么天空是蓝色的?", 1),
    ],
)
def test_a_prompt_of_fewer_than_8_words_is_known_only_by_all_that_is_said(
    held_out: str, prompt: str, share: float
) -> None:
    assert HeldOut([held_out]).share([prompt]) == share


texts = st.lists(st.sampled_from("abc"), max_size=30).map(" ".join)


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=3))
def test_the_share_is_that_of_the_definition(held_out: Sequence[str], turns: Sequence[str]) -> None:
    assert HeldOut(held_out).share(turns) == max((by_definition(one, turns) for one in held_out), default=0)


def by_definition(held_out: str, turns: Sequence[str]) -> float:
    """The share of the test prompt's words that lie in a run of 8 which a turn holds too."""
    words = held_out.split()
    if len(words) < GRAM:
        return float(bool(words) and any(turn.split() == words for turn in turns))
    runs = [f" {' '.join(words[start : start + GRAM])} " for start in range(len(words) - GRAM + 1)]
    found = [start for start, run in enumerate(runs) if any(run in f" {turn} " for turn in turns)]
    return len({start + place for start in found for place in range(GRAM)}) / len(words)


def test_a_test_prompt_is_found_among_many_and_whatever_stands_around_it() -> None:
    dice = random.Random(3)
    exam = [" ".join(f"w{dice.randrange(500)}" for _ in range(dice.randint(8, 40))) for _ in range(300)]
    known = HeldOut(exam)
    assert all(known.share([f"{others(9)} {text} {others(9)}"]) == 1 for text in exam)
    assert known.share([others(400)]) == 0


def test_a_held_out_file_without_prompts_is_a_mistake_with_its_line(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    write_lines("asked.jsonl", {"prompt": "Hi"})
    write_lines("exam.jsonl", {"prompt": "Fine."}, {"question": "Not so."})
    with pytest.raises(UserError, match=r"exam\.jsonl:2"):
        pipeline(PIPELINE)
