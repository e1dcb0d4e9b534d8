"""What a judge's reply says: read from probabilities or JSON, and never made up."""

import math

import pytest

from synth.errors import BadReply
from synth.models.base import Reply, Token
from synth.structured import read_json
from synth.verdict import LEAST_MASS, VERDICT, read_letter, read_logprobs


def first_token(top: dict[str, float]) -> Reply:
    return Reply("?", tokens=(Token("?", max(top.values()), top),))


def test_the_two_letters_are_normalised_whatever_else_is_likely() -> None:
    value, censored, unreadable = read_logprobs(first_token({"A": -1.0, "B": -1.0, "C": -2.0}))
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
    value, _, _ = read_logprobs(first_token(top))
    assert value == pytest.approx(0.6 / 0.9)


def test_letters_without_mass_are_no_verdict() -> None:
    rambling = first_token({"Sure": -0.001, " A": -12.0, " B": -11.0})
    assert math.exp(-12.0) + math.exp(-11.0) < LEAST_MASS
    assert read_logprobs(rambling) == (None, False, "no_verdict")


def test_a_letter_that_was_not_returned_is_bounded_by_what_is_left_over() -> None:
    value, censored, _ = read_logprobs(first_token({"A": -0.01}))
    assert censored
    assert value == pytest.approx(math.exp(-0.01))
    value, censored, _ = read_logprobs(first_token({"B": math.log(0.5), "x": math.log(0.1)}))
    assert censored
    assert value == pytest.approx(0.1 / 0.6)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B",
        "Die Antwort ist B",
        '{"better": "C"}',
        '{"better": ["A"]}',
        '{"better": "A", "why": 1}',
        '{"better": "A", "better": "B"}',
        '{"better": "A"} or rather {"better": "B"}',
        '```\n{"better": "A"\n```',
        "[" * 100_000,
        '{"better": NaN}',
    ],
)
def test_what_is_not_the_json_that_was_asked_for_is_no_verdict(text: str) -> None:
    with pytest.raises(BadReply):
        read_json(text, VERDICT)


@pytest.mark.parametrize(
    "text",
    [
        '{"better": "A"}',
        'Here it is:\n```json\n{"better": "A"}\n```\nAnything else?',
        'I choose {"better": "A"}.',
        '```\n{"better": "A"}\n``` that is, {"better": "A"}',
    ],
)
def test_a_letter_in_json_is_a_verdict_whatever_stands_around_it(text: str) -> None:
    assert read_json(text, VERDICT) == {"better": "A"}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        (" (B).", "B"),
        ("**A**", "A"),
        ("```\nB\n```", "B"),
        ("So the answer is: (B)", "B"),
        ("(A) is longer, but (B) refuses. So the answer is: (B)", "B"),
        ("My verdict: A", "A"),
        ("**Answer:** B", "B"),
        ("The answer is **B**.\nIt is kinder.", "B"),
    ],
)
def test_a_letter_that_is_named_as_the_answer_is_a_verdict(text: str, letter: str) -> None:
    assert read_letter(Reply(text)) == (letter, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "C",
        "A or B",
        "Both replies are good. Reply (A) is shorter, reply (B) is kinder.",
        "The answer is (A). On second thoughts, the answer is (B).",
        "Antwort: B",
        "The answer is a matter of taste.",
        "The verdict is a tie.",
        "My choice is a difficult one",
        "The answer is A or B, depending",
        "The answer is A/B",
        "the answer: A and B are equal",
        "Answer B is worse than the other.",
        "Apples",
        "I cannot judge this.",
    ],
)
def test_rambling_both_letters_and_other_languages_are_no_verdict(text: str) -> None:
    assert read_letter(Reply(text)) == (None, "no_verdict")


def test_a_vote_that_was_cut_off_is_none_unless_it_is_the_letter_alone() -> None:
    assert read_letter(Reply("The answer is A.", finish="length")) == (None, "cut_off")
    assert read_letter(Reply("A", finish="length")) == ("A", None)
