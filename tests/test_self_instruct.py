"""What self-instruct takes from a reply."""

import pytest

from synth.methods.self_instruct import candidates, reason_unfit
from synth.models.base import Reply

LIST = " Name three rivers.\n10. Explain tides\n  to a child.\n11) Sort 3.14 and 2.71."


def test_a_completion_begins_with_an_instruction() -> None:
    assert candidates(Reply(LIST), goes_on=True) == [
        "Name three rivers.",
        "Explain tides to a child.",
        "Sort 3.14 and 2.71.",
    ]


def test_the_preamble_and_the_last_words_of_a_chat_are_no_instructions() -> None:
    chat = "Sure! Here are seven more tasks:\n\n9. Name a river.\n**10.** Explain tides.\n\nAnything else?"
    assert candidates(Reply(chat), goes_on=False) == ["Name a river.", "Explain tides."]
    assert candidates(Reply("I cannot help with that."), goes_on=False) == []


def test_a_number_inside_a_text_begins_no_instruction() -> None:
    assert candidates(Reply(" Round\n3.14 to one digit."), goes_on=True) == ["Round 3.14 to one digit."]


def test_of_a_reply_that_was_cut_off_the_last_instruction_is_dropped() -> None:
    assert len(candidates(Reply(LIST, finish="length"), goes_on=True)) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Name a river", "too_short"),
        ("Name a river now", None),
        (" ".join(["word"] * 150), None),
        (" ".join(["word"] * 151), "too_long"),
        ("Draw a black cat", "not_for_text"),
        ("Go to the shop today", "not_for_text"),
        ("Drawing lessons for beginners", None),
        ("write a program to sort", "write_a_program"),
        ("- do this task now", "starts_with_punctuation"),
        ("\u00c9tudier le texte suivant", "not_ascii"),
    ],
)
def test_every_filter_has_a_name_of_its_own(text: str, reason: str | None) -> None:
    assert reason_unfit(text) == reason
