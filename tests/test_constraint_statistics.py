"""IFEval's four metrics of a version, from its rows."""

from typing import Any

from synth.constraints.columns import Columns
from synth.rows import Answer, Message, Row, sourced
from synth.store.constraint_statistics import four_metrics

QUIET, QUOTED = "punctuation:no_comma", "startend:quotation"


def named(*ids: str) -> dict[str, Any]:
    return {"instruction_id_list": list(ids), "kwargs": [{} for _ in ids]}


def row(facts: dict[str, Any], *texts: str, step: str = "respond") -> Row:
    answers = [Answer(text, step) for text in texts]
    return sourced([Message("user", "Speak of rain.")], 0, facts).answered(*answers)


def shares(found: dict[str, Any], level: str) -> tuple[int, int, int]:
    return found[level]["count"], found[level]["strict"], found[level]["loose"]


def test_every_answer_counts_strictly_and_loosely_as_a_prompt_and_by_its_instructions() -> None:
    found = four_metrics(
        [
            row(named(QUIET, QUOTED), '"Rain."', 'Sure, here:\n"Rain."', "Rain, rain.", ""),
            row(named(QUIET), "Rain."),
            row({"topic": "rain"}, "Rain."),
        ]
    )
    assert shares(found, "prompt") == (5, 2, 3)
    assert shares(found, "instruction") == (9, 3, 5)
    assert found["prompt"]["strict_accuracy"] == 2 / 5
    assert {id_: one["count"] for id_, one in found["by_type"].items()} == {QUIET: 5, QUOTED: 4}


def test_rows_without_constraints_or_with_such_as_cannot_be_read_give_no_metrics() -> None:
    rows = [row({}, "Rain."), row(named("no_such:type"), "Rain."), row(named(QUIET))]
    assert four_metrics(rows) == {}


def test_a_step_that_chose_its_answers_by_its_constraints_is_no_measure_and_later_answers_are() -> None:
    facts = {"constrain": named(QUOTED), "topic": "rain"}
    chosen = row(facts, '"Rain."', "Rain.", step="constrain")
    assert four_metrics([chosen]) == {}
    assert shares(four_metrics([chosen.answered(Answer('"So."', "respond"))]), "prompt") == (1, 1, 1)


def test_constraints_are_read_from_the_columns_that_are_named() -> None:
    facts = {"checks": {"types": [QUIET], "with": [{}]}}
    columns = Columns(ids="checks.types", parameters="checks.with")
    assert shares(four_metrics([row(facts, "Rain, rain.")], columns), "prompt") == (1, 0, 0)
