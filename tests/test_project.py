"""A pipeline is run by one process at a time, and who is refused hears by whom."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from synth.errors import StorageError, UserError
from synth.project import Project

ROOT = Path(__file__).parents[1]
HOLD = """
import pathlib, sys
from synth.project import Project
with Project(pathlib.Path.cwd()).lock("p"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock of the pipeline p."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_run_is_refused_with_the_first_ones_process_host_and_time(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(UserError) as caught, Project(tmp_path).lock("p"):
            pass
        said = str(caught.value)
        assert f"process {first.pid} on {socket.gethostname()}, since {time.gmtime().tm_year}-" in said
        assert "p.lock" in said
        with Project(tmp_path).lock("q"):
            pass  # another pipeline is nobody's business
        assert first.poll() is None
        assert f'"pid":{first.pid}' in (tmp_path / ".synth" / "runs" / "p.holder").read_text()


def test_what_a_killed_run_leaves_keeps_nobody_out(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        first.kill()
        first.wait()
    assert (tmp_path / ".synth" / "runs" / "p.holder").exists()
    with Project(tmp_path).lock("p"):
        pass
    assert not (tmp_path / ".synth" / "runs" / "p.holder").exists()


def test_a_holder_that_cannot_be_read_is_left_out_of_the_refusal(tmp_path: Path) -> None:
    with holder(tmp_path):
        (tmp_path / ".synth" / "runs" / "p.holder").write_text("half a")
        with pytest.raises(UserError, match="is going on; it holds"), Project(tmp_path).lock("p"):
            pass


def test_a_folder_that_cannot_be_written_is_a_storage_error_and_leaves_no_lock(tmp_path: Path) -> None:
    runs = tmp_path / ".synth" / "runs"
    (runs / "p.holder").mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(StorageError, match="cannot write to"), Project(tmp_path).lock("p"):
            pass
