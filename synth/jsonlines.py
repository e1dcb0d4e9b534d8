"""Files with a JSON object of texts a line, which people write: every mistake in them with its line."""

from collections.abc import Sequence
from pathlib import Path

from jsonschema import Draft202012Validator

from synth import seeds
from synth.errors import Problem, UserError


def texts(path: Path, keys: Sequence[str]) -> list[tuple[str, ...]]:
    """The values of `keys` in every line of `path`: texts, none of them empty; `id` may stand too.

    Raises:
        UserError: every malformed line, or a file without any.
    """
    schema = {
        "type": "object",
        "required": list(keys),
        "additionalProperties": False,
        "properties": {key: {"type": "string", "pattern": r"\S"} for key in ("id", *keys)},
    }
    validator = Draft202012Validator(schema)
    found, problems = [], []
    for number, line in seeds.lines(path):
        mistakes = (
            [line]
            if isinstance(line, Problem)
            else [
                Problem(f"{error.json_path}: {error.message}", str(path), number)
                for error in validator.iter_errors(line)
            ]
        )
        problems += mistakes
        if not mistakes:
            found.append(tuple(line[key] for key in keys))
    if not found and not problems:
        problems = [Problem("no line in this file", str(path), 1)]
    if problems:
        raise UserError(problems)
    return found
