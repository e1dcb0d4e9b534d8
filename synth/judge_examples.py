"""Worked examples for a judge of pairs: two replies, which is better, and why; one JSON object a line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from synth import seeds
from synth.errors import Problem, UserError
from synth.rows import Message

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt", "better", "worse", "rationale"],
    "additionalProperties": False,
    "properties": {
        key: {"type": "string", "pattern": r"\S"} for key in ("id", "prompt", "better", "worse", "rationale")
    },
}


@dataclass(frozen=True, slots=True)
class JudgeExample:
    """A prompt with a better and a worse reply. `rationale` says why, without naming either by a letter."""

    prompt: str
    better: str
    worse: str
    rationale: str

    @property
    def conversation(self) -> tuple[Message, ...]:
        """The prompt as a judge's prompt shows it."""
        return (Message("user", self.prompt),)


def read(path: Path) -> list[JudgeExample]:
    """The examples in `path`.

    Raises:
        UserError: every malformed line, by its number.
    """
    validator = Draft202012Validator(SCHEMA)
    examples, problems = [], []
    for number, line in seeds.lines(path):
        if isinstance(line, Problem):
            problems.append(line)
            continue
        mistakes = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(line)]
        problems += [Problem(mistake, str(path), number) for mistake in mistakes]
        if not mistakes:
            examples.append(JudgeExample(*(line[key] for key in ("prompt", "better", "worse", "rationale"))))
    if not examples and not problems:
        problems = [Problem("no example in this file", str(path), 1)]
    if problems:
        raise UserError(problems)
    return examples
