"""What a judge says in free text: the last verdict it names, a number in brackets, or why there is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.said import DENIED, NAMES_SEVERAL, NO_VERDICT, OUT_OF_SCALE, first_listed, rating, verdict

LETTERS = {"[[A]]": "first", "[[B]]": "second", "[[C]]": "tie"}
SENTENCES = {"Output (a) is better": "first", "Output (b) is better": "second"}
NAMES = {"Output (a)": "first", "Output (b)": "second"}

words = st.text(alphabet=st.characters(exclude_characters="[]"), max_size=40)


def test_the_last_verdict_counts_where_the_reference_takes_the_first_of_its_list() -> None:
    text = "At first sight I would have said [[A]] … but my final verdict is [[B]]"
    assert verdict(text, LETTERS) == ("second", None)
    assert first_listed(text, LETTERS) == "first"
    assert first_listed("It is [[B]], not [[A]].", LETTERS) == "first"


@pytest.mark.parametrize(
    "text",
    [
        "[[A]] or [[B]]",
        "[[A]]/[[B]]",
        "Neither [[A]] nor [[B]] is right.",
        "Write [[A]] if assistant A is better, [[B]] if assistant B is, and [[C]] for a tie.",
    ],
)
def test_a_sentence_that_names_several_is_no_verdict_and_never_a_tie(text: str) -> None:
    assert verdict(text, LETTERS) == (None, NAMES_SEVERAL)


@pytest.mark.parametrize("text", ["", "Both are good.", "A", "[[D]]", "答案是第一个。", "[A]", "[[A"])
def test_what_names_nothing_is_no_verdict_and_never_a_tie(text: str) -> None:
    assert verdict(text, LETTERS) == (None, NO_VERDICT)


def test_a_tie_is_a_verdict_only_if_it_is_named() -> None:
    assert verdict("They are equal. [[C]]", LETTERS) == ("tie", None)
    assert verdict("They are equal.", LETTERS) == (None, NO_VERDICT)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot say whether Output (a) is better.",
        "I do not think that Output (a) is better.",
        "I don't think Output (a) is better.",
        "It is not **Output (a) is better** that I would say.",
        "Ask me if Output (a) is better.",
    ],
)
def test_a_verdict_that_is_denied_is_none(text: str) -> None:
    assert verdict(text, SENTENCES) == (None, DENIED)


def test_a_denial_of_something_else_is_no_denial() -> None:
    text = "Output (a) does not follow the instruction, so Output (b) is better."
    assert verdict(text, SENTENCES) == ("second", None)


@pytest.mark.parametrize(
    "text",
    [
        "```\noutput (B) is better\n```",
        "**Output (b)** is *better*.",
        "Output (b)\nis better!",
        "OUTPUT (B) IS BETTER",
        "Output (a) is better. No, I was wrong. Output (b) is better.",
        "Output (b) is better than Output (a).",
    ],
)
def test_fences_markdown_and_second_thoughts_are_read(text: str) -> None:
    assert verdict(text, SENTENCES) == ("second", None)


def test_a_name_that_also_serves_to_speak_of_an_answer_must_stand_alone() -> None:
    text = "Output (a) follows the instruction. Output (b) fails."
    assert verdict(text, NAMES, alone=True) == (None, NAMES_SEVERAL)
    assert verdict("Output (a)\n\nOutput (a) is short.", NAMES, alone=True) == ("first", None)


def test_a_spelling_inside_of_a_longer_word_is_another_word() -> None:
    assert verdict("Attic", {"Tie": "tie", "tic": "x"}) == (None, NO_VERDICT)
    assert verdict("It is a tie.", {"Tie": "tie"}) == ("tie", None)


def test_of_two_spellings_that_begin_alike_the_longer_is_read() -> None:
    assert verdict("A much better", {"A": 1, "A much better": 2}) == (2, None)


@pytest.mark.parametrize(
    ("text", "number"),
    [("Good. [[7.5]]", 7.5), ("[7]", 7.0), ("Rating: 7", None), ("[[ 8 ]]", 8.0), ("[[7]", None)],
)
def test_ratings_are_read_from_double_or_single_brackets_and_from_nothing_else(
    text: str, number: float | None
) -> None:
    assert rating(text) == ((number, None) if number is not None else (None, NO_VERDICT))


def test_double_brackets_go_before_single_ones_and_the_last_of_each_counts() -> None:
    assert rating("As [1] says, fine. [[6]]") == (6.0, None)
    assert rating("[[6]] is too much. [[4]]\nSee [9].") == (4.0, None)
    assert rating("[[6]] or [[7]]") == (None, NAMES_SEVERAL)
    assert rating("[[7.5]] that is, [[7.5]]") == (7.5, None)


def test_a_rating_outside_of_its_scale_is_none() -> None:
    assert rating("[[11]]", (1, 10)) == (None, OUT_OF_SCALE)
    assert rating("[[10]]", (1, 10)) == (10.0, None)


@given(before=words, after=words, spelling=st.sampled_from(sorted(LETTERS)))
def test_one_named_verdict_is_read_or_denied_whatever_is_written_around_it(
    before: str, after: str, spelling: str
) -> None:
    assert verdict(f"{before}{spelling}{after}", LETTERS) in ((LETTERS[spelling], None), (None, DENIED))


@given(named=st.lists(st.sampled_from(sorted(LETTERS)), min_size=1, max_size=5))
def test_of_verdicts_in_sentences_of_their_own_the_last_counts(named: list[str]) -> None:
    assert verdict(". Hm. ".join(named), LETTERS) == (LETTERS[named[-1]], None)


@given(text=words)
def test_text_that_names_nothing_has_no_verdict(text: str) -> None:
    assert verdict(text, LETTERS) == (None, NO_VERDICT)
    assert rating(text) == (None, NO_VERDICT)
