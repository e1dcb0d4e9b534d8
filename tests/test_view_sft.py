"""SFT: which of a row's answers are learnt from."""

from typing import Any

import pytest

from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.store.views import LeftOut
from synth.store.views.sft import Sft


def row(*answers: Answer | str) -> Row:
    made = [Answer(answer) if isinstance(answer, str) else answer for answer in answers]
    return sourced([Message("user", "Why?")], 0).answered(*made)


def said(
    number: int, value: float | None, step: str = "rate", kind: Any = "score", aspect: str = ""
) -> Judgment:
    reason = None if value is not None else "no_rating"
    return Judgment(step, kind, (number,), (number,), value, reason, aspect=aspect)


def shown(row: Row, **keys: Any) -> list[str]:
    """The completions, and the reasons for what is left out."""
    return [
        line.reason if isinstance(line, LeftOut) else line["completion"][0]["content"]
        for line in Sft(**keys).show(row)
    ]


def test_the_best_answer_is_the_one_of_the_highest_score() -> None:
    judged = row("a", "b", "c").judged(said(0, 1.0), said(1, 3.0), said(2, 2.0))
    assert shown(judged, answers="best") == ["b"]
    [line] = Sft(answers="best").show(judged)
    assert isinstance(line, dict)
    assert line["id"] == f"{judged.id}:0001"


def test_of_equal_scores_the_first_answer_is_the_best_whatever_the_order_of_judging() -> None:
    assert shown(row("a", "b").judged(said(1, 2.0), said(0, 2.0)), answers="best") == ["a"]


def test_the_score_is_the_mean_over_aspects_and_samples() -> None:
    judged = row("a", "b").judged(
        said(0, 5.0, aspect="honesty"),
        said(0, 1.0, aspect="help"),
        said(1, 4.0, aspect="honesty"),
        said(1, 3.0, aspect="help"),
    )
    assert shown(judged, answers="best") == ["b"]
    assert shown(judged, answers="best", aspect="honesty") == ["a"]


def test_the_judge_that_is_named_is_gone_by_and_else_the_last_one() -> None:
    judged = row("a", "b").judged(
        said(0, 5.0), said(1, 1.0), said(0, -9.0, "other", "likelihood"), said(1, -1.0, "other", "likelihood")
    )
    assert shown(judged, answers="best", judge="rate") == ["a"]
    assert shown(judged, answers="best") == ["b"]


def test_what_could_not_be_read_is_excluded_and_said() -> None:
    assert shown(row("a", "b").judged(said(0, None), said(1, 1.0)), answers="best") == ["b"]
    assert shown(row("a", "b").judged(said(0, None), said(1, None)), answers="best") == ["no_rating"]
    assert shown(row("a"), answers="best") == ["not_judged"]
    assert shown(row(), answers="best") == ["no_answer"]


def test_an_answer_that_is_cut_off_is_never_the_best() -> None:
    judged = row(Answer("a", finish="length"), "b").judged(said(0, 5.0), said(1, 1.0))
    assert shown(judged, answers="best") == ["b"]
    assert shown(row(Answer("a", finish="length")).judged(said(0, 5.0)), answers="best") == ["cut_off"]


def check(number: int, value: float | None, step: str = "verify") -> Judgment:
    return said(number, value, step, "check")


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([check(0, 1.0), check(1, 1.0)], ["a", "b"]),
        ([check(0, 1.0), check(0, 0.0), check(1, 1.0)], ["failed_check", "b"]),
        ([check(0, None), check(1, 1.0)], ["no_rating", "b"]),
        ([check(0, 1.0), check(0, None), check(1, 0.0)], ["no_rating", "failed_check"]),
        ([check(1, 1.0)], ["not_judged", "b"]),
        ([said(0, 1.0), check(1, 1.0)], ["not_judged", "b"]),
        ([check(0, 1.0), check(0, 0.0, "other"), check(1, 1.0, "other")], ["failed_check", "b"]),
    ],
)
def test_an_answer_has_passed_if_all_its_checks_say_so(checks: list[Judgment], expected: list[str]) -> None:
    assert shown(row("a", "b").judged(*checks), answers="passed") == expected


def test_one_step_s_checks_can_be_gone_by() -> None:
    judged = row("a").judged(check(0, 1.0), check(0, 0.0, "other"))
    assert shown(judged, answers="passed", judge="verify") == ["a"]
    assert shown(row(), answers="passed") == ["no_answer"]


def test_revisions_are_shown_where_there_are_some() -> None:
    revised = row("a", Answer("b", parent=0), Answer("c", parent=1))
    assert shown(revised) == ["b", "c"]
    assert shown(row("a", "b")) == ["a", "b"]
    assert shown(revised, answers="last") == ["c"]
    assert shown(revised, answers="all") == ["a", "b", "c"]
    assert shown(row("a"), answers="revisions") == ["no_revision"]
