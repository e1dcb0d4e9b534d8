"""A version as it lies on disk: its files, each with its digest, once it is known to be whole."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from synth.errors import Problem, StorageError, UserError

CARD = "README.md"
MANIFEST = ".synth/manifest.json"
# The folders of a version. What else lies there is only published if the manifest lists it.
FOLDERS = ("data/", ".synth/")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole version.

    `version` is its name, as in ``v3-0a1b2c3d4e5f``; `digests` holds, for every file that belongs
    to it, the path as the Hub writes it and the SHA-256 of its bytes, sorted by path.
    """

    folder: Path
    name: str
    version: str
    digests: Mapping[str, str]


def read_snapshot(folder: Path) -> Snapshot:
    """The version in this folder, every byte of it read once.

    Raises:
        UserError: it is not whole; names every file that is missing, changed or not its own.
        StorageError: a file cannot be read.
    """
    manifest = _manifest(folder)
    listed = _listed(manifest, folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    ours = sorted(path for path in found if path == CARD or path.startswith(FOLDERS) or path in listed)
    problems = [*_outside(folder, ours), *_missing(manifest, listed, found)]
    if problems:
        raise UserError([Problem(problem, str(folder)) for problem in problems])
    digests = {path: _digest(folder / path) for path in ours}
    changed = [path for path, digest in listed.items() if digests[path] != digest.removeprefix("sha256:")]
    if changed:
        raise UserError(
            [Problem(f"{path}: changed since the version was made", str(folder)) for path in changed]
        )
    return Snapshot(folder, str(manifest.get("name", folder.parent.name)), manifest["version"], digests)


def _manifest(folder: Path) -> dict[str, Any]:
    """Raises: UserError: there is none, or it does not say which version this is."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError:
        raise UserError(Problem(f"not a whole version: {MANIFEST} is missing", str(folder))) from None
    except ValueError:
        raise UserError(Problem("is not JSON", str(path))) from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("version"), str):
        raise UserError(Problem("names no 'version'", str(path)))
    return manifest


def _listed(manifest: Mapping[str, Any], folder: Path) -> dict[str, str]:
    listed = manifest.get("files", {})
    if isinstance(listed, dict) and all(isinstance(digest, str) for digest in listed.values()):
        return listed
    raise UserError(Problem("files: expected a SHA-256 for every path", str(folder / MANIFEST)))


def _outside(folder: Path, ours: Collection[str]) -> Iterator[str]:
    """A link out of the version would publish whatever it leads to."""
    root = folder.resolve()
    for path in ours:
        if not (folder / path).resolve().is_relative_to(root):
            yield f"{path}: leads out of the version"


def _missing(manifest: Mapping[str, Any], listed: Collection[str], found: Collection[str]) -> Iterator[str]:
    for path in sorted({CARD, *listed} - set(found)):
        yield f"not a whole version: {path} is missing"
    for view in _views_with_rows(manifest):
        if not any(path.startswith(f"data/{view}/") for path in found):
            yield f"not a whole version: data/{view}/ is missing"
    if listed:
        for path in sorted(set(found) - set(listed)):
            if path.startswith("data/"):
                yield f"{path}: is not in the manifest"


def _views_with_rows(manifest: Mapping[str, Any]) -> list[str]:
    """A view without rows has no file."""
    views = manifest.get("views", {})
    if not isinstance(views, dict):
        return [view for view in views if isinstance(view, str)]
    return [view for view, held in views.items() if not isinstance(held, dict) or held.get("rows", True)]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror})") from error
