"""A process that computes with torch, and what it says while it does so: one JSON object a line.

The parent stays free of torch, OpenMP settings reach the libraries before they load, and memory is given
back. A child whose parent is gone ends at the next thing it has to say.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from synth.errors import SynthError, UserError
from synth.models.embedded.child import command, environment, private_stdout

Say = Callable[[Mapping[str, Any]], None]

_LAST_LINES = 15
_running: "set[subprocess.Popen[bytes]]" = set()


def listen(module: str, spec: Mapping[str, Any], log: Path) -> Iterator[dict[str, Any]]:
    """Run `module` on `spec` and give what it says, as it says it. Its standard error goes to `log`.

    Leaving the iteration early ends the child.

    Raises:
        UserError: the child found a mistake in the user's files.
        SynthError: it failed; the message has the last lines of the log.
    """
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment() | {"HF_DATASETS_OFFLINE": "1", "WANDB_DISABLED": "true"},
        )
    assert process.stdout
    _running.add(process)
    try:
        _tell(process, spec)
        for line in process.stdout:
            said = orjson.loads(line)
            if mistake := said.get("mistake"):
                raise UserError(mistake)
            yield said
        if code := process.wait():
            raise SynthError(f"{module} ended with code {code}; {log}:\n{last_lines(log)}")
    finally:
        _running.discard(process)
        process.kill()
        process.wait()
        process.stdout.close()


def end() -> None:
    """Kill whatever is listened to, in whatever thread."""
    for process in list(_running):
        process.kill()


def _tell(process: subprocess.Popen[bytes], spec: Mapping[str, Any]) -> None:
    """Send `spec`. A child that is gone by then says why in its log, so a broken pipe is no news."""
    assert process.stdin
    try:
        with process.stdin as pipe:
            pipe.write(orjson.dumps(spec))
    except BrokenPipeError:
        process.wait()


def last_lines(log: Path) -> str:
    """The end of `log`: what a person looks at first."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return "\n".join(lines[-_LAST_LINES:]) or "it said nothing"


def work(on: Callable[[dict[str, Any], Say], None]) -> None:
    """The child's `main`: read the spec, do `on`, and tell a user's mistake from a failure."""
    out = private_stdout()

    def say(line: Mapping[str, Any]) -> None:
        out.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")

    try:
        on(orjson.loads(sys.stdin.buffer.read()), say)
    except UserError as error:
        say({"mistake": str(error)})
    except BrokenPipeError:
        # Nobody listens any more; Python would complain once more at exit.
        os._exit(1)
