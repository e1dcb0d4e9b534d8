"""Seed tasks: what people wrote for self-instruct to start from, one JSON object a line.

The schema is that of Self-Instruct's own file (Wang et al. 2022, ``data/seed_tasks.jsonl``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from synth.errors import Problem, UserError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["instruction", "instances", "is_classification"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "instruction": {"type": "string", "pattern": r"\S"},
        "is_classification": {"type": "boolean"},
        "instances": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["input", "output"],
                "properties": {"input": {"type": "string"}, "output": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class SeedTask:
    """An instruction with example instances, (input, output) each, written by people."""

    instruction: str
    instances: tuple[tuple[str, str], ...]
    is_classification: bool


def read(path: Path) -> list[SeedTask]:
    """The seed tasks in `path`.

    Raises:
        UserError: every malformed line, by its number.
    """
    validator = Draft202012Validator(SCHEMA)
    tasks, problems = [], []
    for number, line in lines(path):
        if isinstance(line, Problem):
            problems.append(line)
            continue
        mistakes = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(line)]
        problems += [Problem(mistake, str(path), number) for mistake in mistakes]
        if not mistakes:
            tasks.append(_task(line))
    if not tasks and not problems:
        problems = [Problem("no seed task in this file", str(path), 1)]
    if problems:
        raise UserError(problems)
    return tasks


def _task(line: dict[str, Any]) -> SeedTask:
    instances = tuple((instance["input"], instance["output"]) for instance in line["instances"])
    return SeedTask(line["instruction"], instances, line["is_classification"])


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The JSON value of every line of `path` that is not blank, or its `Problem`; with line numbers."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                yield number, Problem(f"not JSON: {error.msg}", str(path), number, error.colno)
