"""Folders in which something is made before it gets its name, and what a kill leaves of them.

Such a folder's name says on which machine which process makes it. One whose process is gone is thrown away by
whoever makes something there next, on the same machine.
"""

import os
import re
import shutil
import socket
from hashlib import sha256
from pathlib import Path


def making(folder: Path, name: str) -> Path:
    """A new folder in `folder` for what will be called `name`; what others left there is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    made = folder / f"{_here()}{os.getpid()}-{name}"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    return made


def sweep(folder: Path) -> None:
    """Throw away what processes that are gone left in `folder`."""
    here = _here()
    for left in folder.glob(f"{here}*"):
        maker = re.match(r"\d+", left.name.removeprefix(here))
        if maker and not _is_running(int(maker[0])):
            shutil.rmtree(left, ignore_errors=True)


def _here() -> str:
    """How names of this machine begin."""
    return f".making-{sha256(socket.gethostname().encode()).hexdigest()[:8]}-"


def _is_running(process: int) -> bool:
    """Whether there is such a process; where nobody can say, there is."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True
