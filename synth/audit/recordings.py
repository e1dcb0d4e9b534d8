"""Recorded judges on disk: JSON files of other projects, checked before anything is counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from synth.errors import Problem, UserError

Line = TypeVar("Line", bound=BaseModel)


def read(path: Path, line: type[Line]) -> Sequence[Line]:
    """The JSON list in the file `path`.

    Raises:
        UserError: it cannot be read, is no JSON, or an entry of it is not a `line`.
    """
    try:
        return TypeAdapter(list[line]).validate_python(orjson.loads(path.read_bytes()))  # type: ignore[valid-type]
    except OSError as error:
        raise UserError(Problem(f"cannot be read: {error.strerror}", str(path))) from error
    except orjson.JSONDecodeError as error:
        raise UserError(Problem(f"is no JSON: {error.msg}", str(path), error.lineno, error.colno)) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
        raise UserError(Problem(f"{place or 'the file'}: {first['msg']}", str(path))) from error
