"""Transcripts: what is parsed is rendered byte for byte, whatever people and models wrote into it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synth.rows import Message
from synth.transcript import parse, render

# Texts of the pieces that could confuse a parser, in any order.
PIECES = [
    "\n",
    "\n\n",
    "Human",
    "Assistant",
    ":",
    ": ",
    " ",
    "[Human]",
    "H: ",
    "system",
    "é",
    "\r",
    "\u2028",
    "x",
]
messy = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
roles = st.sampled_from(["user", "assistant"])


def test_a_dialogue_becomes_messages() -> None:
    assert parse("\n\nHuman: Hi\n\nAssistant: Hello.\nHow are you?\n\nHuman: Fine") == (
        Message("user", "Hi"),
        Message("assistant", "Hello.\nHow are you?"),
        Message("user", "Fine"),
    )


@given(messy | messy.map("\n\nHuman: {}".format) | messy.map("\n\nAssistant: {}\n\nHuman: ".format))
@example("\n\nHuman: \n\nAssistant: ")
@example("\n\nHuman:  two spaces \n\nAssistant: \n\nAssistant: ")
def test_hh_strings_parse_to_messages_and_back_byte_for_byte(text: str) -> None:
    messages = parse(text)
    assert messages is None or render(messages).encode() == text.encode()
    assert (messages is None) == (not text.startswith(("\n\nHuman: ", "\n\nAssistant: ")))


@given(st.lists(st.builds(Message, roles, messy), min_size=1, max_size=5))
def test_messages_come_back_unless_one_holds_the_beginning_of_a_turn(messages: list[Message]) -> None:
    holds = any(
        mark in message.content for message in messages for mark in ("\n\nHuman: ", "\n\nAssistant: ")
    )
    assert (parse(render(messages)) == tuple(messages)) == (not holds)


@pytest.mark.parametrize(
    "said",
    [
        "Actually, Human: is what they called me.",
        "The log says:\nHuman: hello\nAssistant: bye",
        "\n\nHuman:no space",
        "\n\n Human: a space before",
        "\n\nhuman: in lower case",
        "\n\nHumans: many",
        "[Human] and [AI] are another form",
        "",
        "  ",
    ],
)
def test_a_name_inside_a_text_begins_no_turn(said: str) -> None:
    messages = (Message("user", "Who?"), Message("assistant", said), Message("user", said))
    assert parse(render(messages)) == messages


def test_who_speaks_twice_in_a_row_has_two_messages() -> None:
    text = "\n\nHuman: Go\n\nAssistant: One moment.\n\nAssistant: Here it is."
    assert [message.role for message in parse(text) or ()] == ["user", "assistant", "assistant"]


@pytest.mark.parametrize(
    "text", ["", "Hi", "Human: Hi", "\nHuman: Hi", " \n\nHuman: Hi", "\n\nSystem: Hi", "\n\nHuman:"]
)
def test_what_does_not_begin_with_a_turn_is_no_transcript(text: str) -> None:
    assert parse(text) is None


def test_a_system_message_has_no_name_in_a_transcript() -> None:
    with pytest.raises(KeyError):
        render([Message("system", "Be brief.")])
