"""What is said when a disk is full or broken: which file, what is wrong, and what is needed."""

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synth.errors import StorageError

_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_OF_DISK = _FULL | {errno.EIO, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def failed(
    path: Path, error: OSError | sqlite3.Error, what: str = "cannot write", needed: int = 0
) -> StorageError:
    """The error for a file or folder with which the system or SQLite cannot do `what`.

    Args:
        needed: bytes that there must be at least, where that is known.
    """
    return StorageError(f"{what} {path}: {_why(path, error, needed)}")


@contextmanager
def watched(path: Path) -> Iterator[None]:
    """What a disk refuses inside the block is a `StorageError`, about `path` where nothing is said of a file.

    Other errors of the system stay what they are: they are no disk's fault.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise failed(path, error) from error
    except OSError as error:
        if error.errno not in _OF_DISK:
            raise
        raise failed(Path(os.fsdecode(error.filename or path)), error) from error


def _why(path: Path, error: OSError | sqlite3.Error, needed: int) -> str:
    name = getattr(error, "sqlite_errorname", "")
    number = getattr(error, "errno", None)
    if name == "SQLITE_FULL" or number in _FULL:
        wanted = f", and at least {needed:,} are needed" if needed else ""
        return f"the disk is full: {_free(path):,} bytes are free there{wanted}. Free some, then go on"
    if number == errno.EFBIG:
        return "the file may not become larger: see `ulimit -f`"
    if name.startswith("SQLITE_IOERR") or number == errno.EIO:
        said = f"the disk reports an error ({name or 'EIO'})"
        return f"{said}, if it is not a limit such as `ulimit -f`. Look at it before you go on"
    return str(getattr(error, "strerror", None) or error)


def _free(path: Path) -> int:
    """Bytes that are free where `path` is, or is to be."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def size(path: Path) -> int:
    """Bytes of `path`: of a folder, of all the files in it."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
