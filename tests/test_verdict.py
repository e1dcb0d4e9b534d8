"""What a judge's reply says: read from probabilities or JSON, and never made up."""

import math

import pytest

from synth.models.base import Reply, Token
from synth.verdict import LEAST_MASS, read_verdict


def first_token(top: dict[str, float]) -> Reply:
    return Reply("?", tokens=(Token("?", max(top.values()), top),))


def test_the_two_letters_are_normalised_whatever_else_is_likely() -> None:
    value, censored, unreadable = read_verdict(first_token({"A": -1.0, "B": -1.0, "C": -2.0}), "logprobs")
    assert value == pytest.approx(0.5)
    assert (censored, unreadable) == (False, None)


def test_every_spelling_of_a_letter_counts() -> None:
    top = {
        "A": math.log(0.2),
        " A": math.log(0.2),
        "(A": math.log(0.2),
        "B": math.log(0.2),
        "\u2581B": math.log(0.1),
    }
    value, _, _ = read_verdict(first_token(top), "logprobs")
    assert value == pytest.approx(0.6 / 0.9)


def test_letters_without_mass_are_no_verdict() -> None:
    rambling = first_token({"Sure": -0.001, " A": -12.0, " B": -11.0})
    assert math.exp(-12.0) + math.exp(-11.0) < LEAST_MASS
    assert read_verdict(rambling, "logprobs") == (None, False, "no_verdict")


def test_a_letter_that_was_not_returned_is_bounded_by_what_is_left_over() -> None:
    value, censored, _ = read_verdict(first_token({"A": -0.01}), "logprobs")
    assert censored
    assert value == pytest.approx(math.exp(-0.01))
    value, censored, _ = read_verdict(first_token({"B": math.log(0.5), "x": math.log(0.1)}), "logprobs")
    assert censored
    assert value == pytest.approx(0.1 / 0.6)


@pytest.mark.parametrize(
    "text", ["", "B", '{"better": "C"}', '{"better": ["A"]}', '{"better": "A", "why": 1}']
)
def test_what_is_not_the_json_that_was_asked_for_is_no_verdict(text: str) -> None:
    assert read_verdict(Reply(text), "schema") == (None, False, "no_verdict")


def test_a_letter_in_json_is_a_verdict() -> None:
    assert read_verdict(Reply('{"better": "A"}'), "schema") == (1.0, False, None)
    assert read_verdict(Reply('{"better": "B"}'), "schema") == (0.0, False, None)
