"""Transcripts: a dialogue in one text, ``\\n\\nHuman: …\\n\\nAssistant: …``, as messages and back.

The form of the files of Bai et al. 2022, "Training a Helpful and Harmless Assistant with RLHF"
(arXiv:2204.05862), ``anthropics/hh-rlhf``. A turn begins with two line ends, a speaker's name, a colon and a
space, and with nothing less: ``Human:`` inside a sentence, or without the space, is text. What a speaker
says is kept as it is, blanks and all; one who speaks twice in a row has two messages.
"""

import re
from collections.abc import Sequence

from synth.rows import Message, Role

SPEAKERS: dict[Role, str] = {"user": "Human", "assistant": "Assistant"}
_ROLES: dict[str, Role] = {speaker: role for role, speaker in SPEAKERS.items()}
_TURN = re.compile(rf"\n\n({'|'.join(_ROLES)}): ")


def parse(text: str) -> tuple[Message, ...] | None:
    """The turns of `text`; None if it does not begin with one. `render` gives `text` back."""
    before, *parts = _TURN.split(text)
    if before or not parts:
        return None
    turns = zip(parts[::2], parts[1::2], strict=True)
    return tuple(Message(_ROLES[speaker], said) for speaker, said in turns)


def render(messages: Sequence[Message]) -> str:
    """`messages` as a transcript. `parse` gives them back, unless one of them holds the beginning of a turn.

    Raises:
        KeyError: a system message, for which a transcript has no name.
    """
    return "".join(f"\n\n{SPEAKERS[message.role]}: {message.content}" for message in messages)
