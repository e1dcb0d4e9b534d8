"""When sampled answers agree, and how sure that makes a model."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.consensus import class_shares, equivalent, measured


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Paris", "paris."),
        ("in 1955", "1955"),
        ("1,234", "1234"),
        ("cats", "cat"),
        ("Bill Clinton", "Clinton, Bill"),
        ("the Nile", "Nile"),
        ("Yes, he was born there.", "yes"),
        ("No. It was not.", "no"),
        ("Yes he was", "Yes, in 1955"),
        ("1.50", "1.5"),
    ],
)
def test_answers_that_say_the_same_are_one_class(one: str, other: str) -> None:
    assert equivalent(one, other)
    assert equivalent(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *[("Akron, Ohio", "Ohio"), ("1955", "1956"), ("unholy", "holy"), ("", "Paris")],
        *[("1.5", "5"), ("3 1/2", "1/2"), ("5 km", "5 m"), ("-5", "5"), ("Yes, he was", "No, he was")],
        *[("No Country for Old Men", "no"), ("Yesterday", "yes")],
    ],
)
def test_answers_that_differ_are_two_classes(one: str, other: str) -> None:
    assert not equivalent(one, other)
    assert not equivalent(other, one)


def test_an_answer_that_does_not_know_agrees_with_none() -> None:
    shares = class_shares(["I don't know.", "I don't know.", "Unknown", "Paris", "Paris\nParis is a city"])
    assert shares == [0.2, 0.2, 0.2, 0.4]


@pytest.mark.parametrize(
    "said",
    [
        *("I don't know.", "I do not know who that was.", "I really don't know", "I'm not sure", "Not sure."),
        *("Unknown", "unsure", "N/A", "It is unknown.", "It's not known who did.", "No idea."),
        *("I cannot answer that.", "I can\u2019t say.", "Cannot be determined.", "I am unable to say."),
        *("Sorry, I don't know.", "I'm sorry, but I cannot answer that."),
    ],
)
def test_a_model_that_says_only_that_it_does_not_know_is_not_sure(said: str) -> None:
    assert class_shares([said] * 3) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    "said",
    [
        *("Na", "Unknown Pleasures", "Sorry", "The Unknown Soldier", "I, Robot", "Not Fade Away", "Noon"),
        *("I Am Legend", "I'm Not There", "I Can't Get No Satisfaction", "Nathan", "I do"),
    ],
)
def test_an_answer_that_only_begins_like_one_that_does_not_know_is_an_answer(said: str) -> None:
    assert class_shares([said] * 20) == [1.0]


def test_an_empty_answer_is_no_answer() -> None:
    assert class_shares(["", "  \n", "Paris"]) == [1.0]
    assert class_shares(["", " "]) == []


def test_confidence_is_the_largest_share_or_one_of_two_other_measures() -> None:
    shares = class_shares(["Paris"] * 12 + ["Rome"] * 5 + ["Oslo"] * 3)
    assert shares == [0.6, 0.25, 0.15]
    assert measured(shares, "max_conf") == 0.6
    assert measured(shares, "exp_conf") == pytest.approx(0.445, abs=1e-6)
    assert measured(shares, "neg_entropy") == pytest.approx(-0.9376370, abs=1e-6)


@given(st.lists(st.sampled_from(["Paris", "Rome", "Oslo", "I do not know", "12", "12.0"]), min_size=1))
def test_shares_sum_to_one_and_every_measure_stays_on_its_scale(answers: list[str]) -> None:
    shares = class_shares(answers)
    assert math.fsum(shares) == pytest.approx(1)
    assert 1 / len(answers) <= measured(shares, "max_conf") <= 1
    assert 0 < measured(shares, "exp_conf") <= measured(shares, "max_conf") + 1e-12
    assert -math.log(len(answers)) - 1e-9 <= measured(shares, "neg_entropy") <= 0
