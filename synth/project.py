"""The folder in which everything of a user's is kept: the ledger, datasets, models."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from filelock import FileLock, Timeout

from synth import disk
from synth.errors import StorageError, UserError


@dataclass(frozen=True, slots=True)
class Project:
    """A project in `folder`, which need not be there yet."""

    folder: Path

    @property
    def ledger(self) -> Path:
        """The record of all calls, shared by the project's runs."""
        return self.folder / ".synth" / "ledger.sqlite"

    @property
    def spending(self) -> Path:
        """What pipelines with a budget have spent."""
        return self.folder / ".synth" / "spending.sqlite"

    def scratch(self, name: str) -> Path:
        """What a run of the pipeline `name` may throw away."""
        return self.folder / ".synth" / "runs" / name

    @property
    def datasets(self) -> Path:
        """Versions, a folder a dataset."""
        return self.folder / "datasets"

    def models(self, name: str) -> Path:
        """The models trained on the dataset `name`."""
        return self.folder / "models" / name

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of the pipeline `name`; it is free again whatever becomes of this process.

        Raises:
            UserError: another process holds it.
            StorageError: the folder cannot be written.
        """
        path = self.scratch(name).with_name(f"{name}.lock")
        companion = path.with_suffix(".holder")
        lock = FileLock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"another run of the pipeline {name!r} is going on{_holder(companion)}; it holds {path}"
            ) from error
        except OSError as error:
            raise disk.failed(path.parent, error, "cannot write to") from error
        try:
            with _named(companion):
                yield
        finally:
            lock.release()


@contextmanager
def _named(companion: Path) -> Iterator[None]:
    """Say in `companion` who holds the lock. What a crash leaves there decides nothing: the lock does."""
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    who = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    try:
        companion.write_bytes(orjson.dumps(who))
    except OSError as error:
        raise disk.failed(companion.parent, error, "cannot write to") from error
    try:
        yield
    finally:
        companion.unlink(missing_ok=True)


def _holder(companion: Path) -> str:
    """Who holds the lock, as far as can be read."""
    try:
        who = orjson.loads(companion.read_bytes())
        return f" (process {who['pid']} on {who['host']}, since {who['since']})"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def check_writable(folder: Path) -> None:
    """Say now, before anything is bought, if nothing can be written below `folder`.

    Raises:
        UserError: something else than a folder is in the way.
        StorageError: it is read-only, or somebody else's.
    """
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise UserError(f"nothing can be written here: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(f"nothing can be written here: {folder} cannot be written to")
