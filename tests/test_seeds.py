"""Measure the variety of the bundled general seed tasks instead of only trusting that they are varied."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from rapidfuzz.distance import LCSseq

SEEDS = Path(__file__).parents[1] / "seeds" / "general.jsonl"
KEYS = ["id", "name", "instruction", "instances", "is_classification"]
# The words by which Self-Instruct throws an instruction away, because a language model cannot act on them.
FILTER_WORDS = re.compile(
    r"\b(?:images?|graphs?|pictures?|files?|maps?|draws?|plots?|go to"
    r"|videos?|audio|music|flowcharts?|diagrams?)\b",
    re.IGNORECASE,
)


@cache
def load_tasks() -> tuple[dict[str, Any], ...]:
    lines = SEEDS.read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def instructions() -> list[str]:
    return [task["instruction"] for task in load_tasks()]


def tokens(text: str) -> list[str]:
    """Split as rouge-score does without stemming."""
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_l(left: list[str], right: list[str]) -> float:
    common = LCSseq.similarity(left, right)
    if common == 0:
        return 0.0
    precision, recall = common / len(left), common / len(right)
    return 2 * precision * recall / (precision + recall)


def test_there_are_175_tasks_numbered_in_order() -> None:
    assert [task["id"] for task in load_tasks()] == [f"seed_task_{number}" for number in range(175)]


def test_every_task_follows_the_self_instruct_schema() -> None:
    for task in load_tasks():
        assert list(task) == KEYS, task["id"]
        assert isinstance(task["is_classification"], bool), task["id"]
        assert re.fullmatch(r"[a-z0-9]+(?:_[a-z0-9]+)*", task["name"]), task["id"]
        assert task["instruction"] == task["instruction"].strip() != "", task["id"]
        assert len(task["instances"]) >= 1, task["id"]
        for instance in task["instances"]:
            assert list(instance) == ["input", "output"], task["id"]
            assert isinstance(instance["input"], str), task["id"]
            assert isinstance(instance["output"], str), task["id"]
            assert instance["output"].strip(), task["id"]


def test_names_and_instructions_are_unique() -> None:
    assert len({task["name"] for task in load_tasks()}) == 175
    assert len({instruction.lower() for instruction in instructions()}) == 175


def test_every_line_is_written_in_one_reproducible_form() -> None:
    text = SEEDS.read_text(encoding="utf-8")
    assert text == "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in load_tasks())


def test_exactly_25_tasks_are_classifications_with_short_labels() -> None:
    labelled = [task for task in load_tasks() if task["is_classification"]]
    assert len(labelled) == 25
    longest = max(len(instance["output"].split()) for task in labelled for instance in task["instances"])
    assert longest <= 3


def test_classifications_are_spread_over_the_whole_list() -> None:
    positions = [place for place, task in enumerate(load_tasks()) if task["is_classification"]]
    gaps = [after - before for before, after in pairwise(positions)]
    assert max(gaps) <= 14


def test_about_a_third_of_the_tasks_need_no_input() -> None:
    empty = sum(instance["input"] == "" for task in load_tasks() for instance in task["instances"])
    total = sum(len(task["instances"]) for task in load_tasks())
    assert 50 / 175 <= empty / total <= 60 / 175


def test_instructions_open_with_many_different_words() -> None:
    firsts = Counter(tokens(instruction)[0] for instruction in instructions())
    word, count = firsts.most_common(1)[0]
    assert len(firsts) >= 60
    assert count / 175 <= 0.08, f"{word!r} opens {count} instructions"


def test_no_two_instructions_are_near_copies_by_rouge_l() -> None:
    split = [(task["id"], tokens(task["instruction"])) for task in load_tasks()]
    highest, pair = max(
        (rouge_l(left, right), (left_id, right_id))
        for (left_id, left), (right_id, right) in combinations(split, 2)
    )
    assert highest < 0.7, f"{pair} share {highest:.2f}"


def test_instruction_lengths_differ_widely() -> None:
    lengths = [len(instruction.split()) for instruction in instructions()]
    lower, middle, upper = statistics.quantiles(lengths, n=4)
    assert min(lengths) <= 6
    assert max(lengths) >= 35
    assert lower < middle < upper
    assert upper - lower >= 5


def test_output_lengths_run_from_one_word_to_a_long_answer() -> None:
    lengths = [len(instance["output"].split()) for task in load_tasks() for instance in task["instances"]]
    lower, middle, upper = statistics.quantiles(lengths, n=4)
    assert min(lengths) == 1
    assert 100 <= max(lengths) <= 180
    assert lower < middle < upper


def test_both_questions_and_requests_occur() -> None:
    questions = sum(instruction.endswith("?") for instruction in instructions())
    assert 0.05 <= questions / 175 <= 0.4


def test_no_instruction_would_be_dropped_by_the_self_instruct_filters() -> None:
    for instruction in instructions():
        assert 4 <= len(instruction.split()) <= 60, instruction
        assert instruction[0].isascii(), instruction
        assert instruction[0].isalnum(), instruction
        assert not instruction.startswith("Write a program"), instruction
        assert not FILTER_WORDS.search(instruction), instruction


def test_addresses_use_the_reserved_example_domain() -> None:
    domains = re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)", SEEDS.read_text(encoding="utf-8"))
    assert set(domains) <= {"example.com"}
