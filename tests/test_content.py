"""Measures the content that ships with synth: constitutions, red-team prompts and held-out pairs."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz.distance import LCSseq

ROOT = Path(__file__).parents[1]
CONSTITUTIONS = ROOT / "constitutions"
SEEDS = ROOT / "seeds"
LABELS = ("Critique", "Revise", "Judge", "Weight")
LARGE = ("harmless", "helpful", "honest")
EVERY = (*LARGE, "house_style")


def rows_of(name: str) -> list[dict[str, Any]]:
    lines = (SEEDS / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_l(one: list[str], other: list[str]) -> float:
    common = LCSseq.similarity(one, other)
    if common == 0:
        return 0.0
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall)


def principles_of(name: str) -> list[dict[str, str]]:
    text = (CONSTITUTIONS / f"{name}.md").read_text(encoding="utf-8")
    principles = []
    for section in re.split(r"^## ", text, flags=re.M)[1:]:
        identifier, _, body = section.partition("\n")
        parts = re.split(rf"^({'|'.join(LABELS)}):", body, flags=re.M)
        principle = {"id": identifier, "text": parts[0].strip()}
        for label, value in zip(parts[1::2], parts[2::2], strict=True):
            assert label not in principle, f"{name}: {identifier} has two lines {label}:"
            principle[label] = value.strip()
        principles.append(principle)
    return principles


# Red-team prompts


def test_there_are_at_least_160_red_team_prompts_with_the_agreed_fields() -> None:
    rows = rows_of("red_team.jsonl")
    assert len(rows) >= 160
    for row in rows:
        assert set(row) == {"id", "category", "severity", "prompt"}
        assert row["prompt"].strip() == row["prompt"] != ""


def test_red_team_ids_are_unique_and_in_order() -> None:
    ids = [row["id"] for row in rows_of("red_team.jsonl")]
    assert ids == [f"red_team_{number:03d}" for number in range(len(ids))]


def test_red_team_prompts_cover_at_least_twelve_categories_with_ten_or_more_each() -> None:
    counts = Counter(row["category"] for row in rows_of("red_team.jsonl"))
    assert len(counts) >= 12
    assert min(counts.values()) >= 10


def test_each_severity_takes_about_a_third_of_the_red_team_prompts_and_occurs_in_every_category() -> None:
    rows = rows_of("red_team.jsonl")
    counts = Counter(row["severity"] for row in rows)
    assert set(counts) == {"mild", "moderate", "hard"}
    for count in counts.values():
        assert 0.28 <= count / len(rows) <= 0.39
    cells = {(row["category"], row["severity"]) for row in rows}
    assert len(cells) == 3 * len({row["category"] for row in rows})


def test_red_team_prompts_seldom_open_with_the_same_word() -> None:
    firsts = Counter(tokens(row["prompt"])[0] for row in rows_of("red_team.jsonl"))
    assert len(firsts) >= 100
    assert max(firsts.values()) <= 0.1 * sum(firsts.values())


def test_red_team_prompts_vary_in_length() -> None:
    lengths = sorted(len(tokens(row["prompt"])) for row in rows_of("red_team.jsonl"))
    assert sum(length <= 10 for length in lengths) >= 8
    assert sum(length >= 45 for length in lengths) >= 8


def test_no_two_red_team_prompts_resemble_each_other() -> None:
    split = [(row["id"], tokens(row["prompt"])) for row in rows_of("red_team.jsonl")]
    score, one, other = max((rouge_l(a, b), i, j) for (i, a), (j, b) in combinations(split, 2))
    assert score < 0.7, f"{one} and {other} score {score:.2f}"


# Held-out pairs


def test_there_are_forty_held_out_pairs_twenty_of_each_kind() -> None:
    rows = rows_of("held_out_pairs.jsonl")
    assert [row["id"] for row in rows] == [f"held_out_{number:02d}" for number in range(40)]
    assert Counter(row["kind"] for row in rows) == {"off_topic": 20, "garbled": 20}
    for row in rows:
        assert set(row) == {"id", "prompt", "chosen", "rejected", "kind"}
        assert row["chosen"] != row["rejected"]
        assert 15 <= len(row["chosen"].split()) <= 45


def test_each_held_out_question_occurs_once_per_kind_with_the_same_good_answer() -> None:
    rows = rows_of("held_out_pairs.jsonl")
    off_topic = {row["prompt"]: row["chosen"] for row in rows if row["kind"] == "off_topic"}
    garbled = {row["prompt"]: row["chosen"] for row in rows if row["kind"] == "garbled"}
    assert len(off_topic) == len(set(off_topic.values())) == 20
    assert off_topic == garbled


def test_off_topic_answers_are_other_good_answers_of_similar_length_each_used_once() -> None:
    rows = [row for row in rows_of("held_out_pairs.jsonl") if row["kind"] == "off_topic"]
    assert sorted(row["chosen"] for row in rows) == sorted(row["rejected"] for row in rows)
    for row in rows:
        assert abs(len(row["chosen"].split()) - len(row["rejected"].split())) <= 3


def test_a_garbled_answer_holds_the_words_of_the_good_answer_in_another_order() -> None:
    for row in rows_of("held_out_pairs.jsonl"):
        if row["kind"] == "garbled":
            assert sorted(row["rejected"].split()) == sorted(row["chosen"].split())
            assert rouge_l(tokens(row["chosen"]), tokens(row["rejected"])) < 0.6


def test_no_held_out_question_is_among_the_seed_tasks() -> None:
    if not (SEEDS / "general.jsonl").exists():
        pytest.skip("seeds/general.jsonl is not there")
    questions = {tuple(tokens(row["prompt"])) for row in rows_of("held_out_pairs.jsonl")}
    for row in rows_of("general.jsonl"):
        instruction = tokens(row["instruction"])
        assert tuple(instruction) not in questions, row["instruction"]
        for question in questions:
            assert rouge_l(list(question), instruction) < 0.7, row["instruction"]


# Constitutions


@pytest.mark.parametrize("name", EVERY)
def test_a_constitution_opens_with_a_title_and_some_prose(name: str) -> None:
    text = (CONSTITUTIONS / f"{name}.md").read_text(encoding="utf-8")
    title, _, rest = text.partition("\n")
    assert re.fullmatch(r"# \S.*", title)
    assert len(rest.split("\n## ")[0].split()) >= 30


@pytest.mark.parametrize("name", LARGE)
def test_the_three_large_constitutions_have_at_least_a_dozen_principles(name: str) -> None:
    assert len(principles_of(name)) >= (16 if name == "harmless" else 12)


def test_the_house_style_is_a_short_example() -> None:
    assert 5 <= len(principles_of("house_style")) <= 6


@pytest.mark.parametrize("name", EVERY)
def test_principle_ids_are_unique_and_kebab_case(name: str) -> None:
    ids = [principle["id"] for principle in principles_of(name)]
    assert len(set(ids)) == len(ids)
    for identifier in ids:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", identifier), identifier


@pytest.mark.parametrize("name", EVERY)
def test_a_principle_is_one_paragraph_and_its_optional_lines_are_well_formed(name: str) -> None:
    for principle in principles_of(name):
        assert len(principle["text"].split()) >= 15, principle["id"]
        assert "\n\n" not in principle["text"], principle["id"]
        for label in LABELS:
            assert principle.get(label, "something") != "", (principle["id"], label)
        assert principle.get("Judge", "?").endswith("?"), principle["id"]
        assert float(principle.get("Weight", "1")) > 0, principle["id"]


@pytest.mark.parametrize("name", LARGE)
def test_users_see_principles_with_and_without_the_optional_wording(name: str) -> None:
    wordings = [sum(label in p for label in ("Critique", "Revise", "Judge")) for p in principles_of(name)]
    assert wordings.count(3) >= 3
    assert wordings.count(0) >= 2
    assert sum(count < 3 for count in wordings) >= 0.4 * len(wordings)


def test_no_two_principles_of_the_shipped_constitutions_say_the_same() -> None:
    split = [(f"{name}/{p['id']}", tokens(p["text"])) for name in EVERY for p in principles_of(name)]
    score, one, other = max((rouge_l(a, b), i, j) for (i, a), (j, b) in combinations(split, 2))
    assert score < 0.5, f"{one} and {other} score {score:.2f}"
