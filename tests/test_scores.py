"""Scores of answers that were judged alone."""

import random
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.scores import scores

ASPECTS = ("helpfulness", "honesty", "truthfulness")


def row(*judgments: Judgment) -> Row:
    return sourced([Message("user", "Why?")], 0).answered(*map(Answer, "abcd")).judged(*judgments)


def score(
    number: int, value: float | None, aspect: str = "", step: str = "rate", **known: object
) -> Judgment:
    bounds = (1.0, 10.0) if aspect == "" else (1.0, 5.0)
    about = {"bounds": bounds, "unreadable": None if value is not None else "not_applicable", **known}
    return Judgment(step, "score", (number,), (number,), value, aspect=aspect, **about)  # type: ignore[arg-type]


def test_an_answer_is_worth_the_mean_of_its_aspects() -> None:
    found = scores(row(score(0, 5, "helpfulness"), score(0, 2, "honesty"), score(1, 4, "helpfulness")))
    assert found.of == {0: 3.5, 1: 4.0}
    assert found.scale == (1.0, 5.0)
    assert (found.judge, found.best, found.worst) == ("rate", 1, 0)


def test_not_applicable_is_left_out_of_the_mean() -> None:
    found = scores(row(score(0, 5, "helpfulness"), score(0, None, "honesty"), score(0, 3, "truthfulness")))
    assert found.of == {0: 4.0}
    assert not found.unreadable


def test_what_cannot_be_read_is_no_score() -> None:
    found = scores(row(score(0, None, "helpfulness"), score(1, 1, "helpfulness")))
    assert found.of == {1: 1.0}
    assert found.unreadable == {0: "not_applicable"}


def test_the_answer_as_a_whole_is_not_counted_beside_its_aspects() -> None:
    judged = row(score(0, 4, "helpfulness"), score(0, 10))
    assert scores(judged).of == {0: 4.0}
    assert scores(judged, aspect="").of == {0: 10.0}
    assert scores(judged, aspect="").scale == (1.0, 10.0)
    assert scores(row(score(0, 10))).of == {0: 10.0}


def test_every_aspect_weighs_the_same_however_many_samples_of_it_were_read() -> None:
    found = scores(
        row(
            score(0, 5, "helpfulness", sample=0), score(0, 5, "helpfulness", sample=1), score(0, 1, "honesty")
        )
    )
    assert found.of == {0: 3.0}


def test_aspects_on_different_scales_are_brought_to_one() -> None:
    found = scores(row(score(0, 5, "helpfulness"), score(0, 5.5, "style", bounds=(1.0, 10.0))))
    assert found.of == {0: 0.75}
    assert found.scale == (0.0, 1.0)


def test_a_likelihood_has_no_ends_and_no_margin() -> None:
    judged = row(*(Judgment("judge", "likelihood", (n,), (n,), -1.0 - n) for n in range(2)))
    found = scores(judged)
    assert found.best == 0
    assert found.gap(0, 1) == 1.0
    assert found.margin(0, 1) is None


def test_the_last_step_that_looked_at_answers_alone_is_gone_by() -> None:
    pair = Judgment("pairs", "pair", (0, 1), (0, 1), 1.0)
    judged = row(score(0, 1, step="one"), score(1, 2, step="two"), pair)
    assert scores(judged).judge == "two"
    assert scores(judged, "one").of == {0: 1.0}
    assert scores(row(pair)).best is None
    assert scores(row(pair)).judge == ""


def test_of_equal_scores_the_first_answer_is_best_and_worst() -> None:
    for order in permutations(range(3)):
        found = scores(row(*(score(number, 3, "helpfulness") for number in order)))
        assert (found.best, found.worst) == (0, 0)


ratings = st.lists(st.lists(st.integers(1, 5), min_size=3, max_size=3), min_size=2, max_size=4)


@given(ratings, st.randoms())
def test_margin_is_above_0_and_at_most_1_and_no_order_of_judging_changes_it(
    given_: list[list[int]], dice: random.Random
) -> None:
    judgments = [
        score(number, value, aspect)
        for number, values in enumerate(given_)
        for aspect, value in zip(ASPECTS, values, strict=True)
    ]
    found = scores(row(*judgments))
    dice.shuffle(judgments)
    assert scores(row(*judgments)) == found
    best, worst = found.best, found.worst
    assert best is not None
    assert worst is not None
    margin = found.margin(best, worst)
    assert margin is not None
    if found.of[best] == found.of[worst]:
        assert margin == 0
        assert best == worst
    else:
        assert 0 < margin <= 1
