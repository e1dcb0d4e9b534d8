"""Where the editable files are: beside the pipeline, in the project folder, or inside the wheel.

A user's own file of the same name wins over ours. A name may be a path, but only to a place inside the
project folder or beside the pipeline: a pipeline from elsewhere cannot read the rest of the machine.
"""

import hashlib
from pathlib import Path
from typing import Literal

from synth.errors import UserError, unknown

Kind = Literal["constitutions", "seeds", "pipelines"]
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "constitutions": (".md", ".txt", ".json"),
    "seeds": (".jsonl", ".jsonl.gz"),
    "pipelines": (".yaml", ".yml"),
}
PACKAGE = Path(__file__).parent


def shipped(kind: Kind) -> Path:
    """The folder of `kind` that came with synth: in the wheel, else at the top of the checkout."""
    in_wheel = PACKAGE / "_shipped" / kind
    return in_wheel if in_wheel.is_dir() else PACKAGE.parent / kind


def find(kind: Kind, name: str, beside: Path) -> Path:
    """The file that `name` stands for, with or without its suffix.

    Args:
        name: a path, or a bare name such as ``harmless``.
        beside: the folder of the file that mentions `name`, tried first.

    Raises:
        UserError: no such file, or it lies outside the project.
    """
    for folder in (beside, beside / kind, Path.cwd(), Path.cwd() / kind, shipped(kind)):
        for suffix in ("", *SUFFIXES[kind]):
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return _inside(path, folders=(beside, Path.cwd(), shipped(kind)))
    known = {path.stem for folder in (Path.cwd() / kind, shipped(kind)) for path in folder.glob("*.*")}
    raise UserError(unknown(f"file in {kind}/", name, known))


def _inside(path: Path, folders: tuple[Path, ...]) -> Path:
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
        raise UserError(
            f"{str(path)!r} lies outside the project folder; copy it in, or run from a folder above"
        )
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file's content, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
