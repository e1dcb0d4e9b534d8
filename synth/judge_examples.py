"""Worked examples for a judge of pairs: two replies, which is better, and why; one JSON object a line."""

from dataclasses import dataclass
from pathlib import Path

from synth import jsonlines
from synth.constitution import Principle
from synth.rows import Message

KEYS = ("prompt", "better", "worse", "rationale", "rule")


@dataclass(frozen=True, slots=True)
class JudgeExample:
    """A prompt with a better and a worse reply.

    `rationale` says why by `rule`, a principle in plain words, without naming either reply by a letter.
    """

    prompt: str
    better: str
    worse: str
    rationale: str
    rule: str

    @property
    def principle(self) -> Principle:
        """The principle that the rationale goes by."""
        return Principle("example", self.rule)

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The prompt as a judge's prompt shows it."""
        return (Message("user", self.prompt),)


def read(path: Path) -> list[JudgeExample]:
    """The examples in `path`, one JSON object of texts a line.

    Raises:
        UserError: every malformed line, by its number.
    """
    return [JudgeExample(*values) for values in jsonlines.texts(path, KEYS)]
