"""Worked examples for critique and revision: an answer, what is wrong with it, and a better one."""

from dataclasses import dataclass
from pathlib import Path

from synth import jsonlines
from synth.constitution import Principle

KEYS = ("prompt", "answer", "rule", "critique", "revision")


@dataclass(frozen=True, slots=True)
class CritiqueExample:
    """One round as people would have it. An answer that was good stays as it is in the revision."""

    prompt: str
    answer: str
    principle: Principle
    critique: str
    revision: str


def read(path: Path) -> list[CritiqueExample]:
    """The examples in `path`, one JSON object of texts a line.

    Raises:
        UserError: every malformed line, by its number.
    """
    return [
        CritiqueExample(prompt, answer, Principle("example", rule), critique, revision)
        for prompt, answer, rule, critique, revision in jsonlines.texts(path, KEYS)
    ]
