"""Seed tasks: what people wrote for self-instruct to start from, one JSON object a line.

The schema is that of Self-Instruct's own file (Wang et al. 2022, ``data/seed_tasks.jsonl``). A file of
prompts alone, one a line under ``prompt``, can be started from too, where no example instance is needed.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
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

PROMPT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt"],
    "properties": {"prompt": {"type": "string", "pattern": r"\S"}},
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
    return _read(path, SCHEMA, _task)


def read_instructions(path: Path) -> list[SeedTask]:
    """The seed tasks in `path`, or its prompts as seed tasks without an instance; its first line says which.

    Raises:
        UserError: every malformed line, by its number.
    """
    first = next((line for _, line in lines(path)), None)
    if isinstance(first, dict) and "prompt" in first and "instruction" not in first:
        return _read(path, PROMPT_SCHEMA, lambda line: SeedTask(line["prompt"], (), is_classification=False))
    return read(path)


def _read(path: Path, schema: dict[str, Any], task: Callable[[dict[str, Any]], SeedTask]) -> list[SeedTask]:
    validator = Draft202012Validator(schema)
    tasks, problems = [], []
    for number, line in lines(path):
        if isinstance(line, Problem):
            problems.append(line)
            continue
        mistakes = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(line)]
        problems += [Problem(mistake, str(path), number) for mistake in mistakes]
        if not mistakes:
            tasks.append(task(line))
    if not tasks and not problems:
        problems = [Problem("no seed task in this file", str(path), 1)]
    if problems:
        raise UserError(problems)
    return tasks


def _task(line: dict[str, Any]) -> SeedTask:
    instances = tuple((instance["input"], instance["output"]) for instance in line["instances"])
    return SeedTask(line["instruction"], instances, line["is_classification"])


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The JSON value of every line of `path` that is not blank, or its `Problem`; with line numbers.

    A file whose name ends in ``.gz`` is unpacked line by line.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        yield from _values(file, path)


def _values(file: Iterable[bytes], path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, _value(line, path, number)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        yield number + 1, Problem(f"not a whole gzip file: {error}", str(path), number + 1)


def _value(line: bytes, path: Path, number: int) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Problem(f"not JSON: {error.msg}", str(path), number, error.colno)
