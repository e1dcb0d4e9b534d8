"""A process that holds a model: how it is started, asked and ended.

It ends when its standard input does, so that it outlives its parent in no case, SIGKILL included. It is
in a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which then ends it.
"""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO

import orjson

from synth.errors import ProviderError, Transient

_LONGEST_LINE = 1 << 26
_GRACE_S = 5.0


class Child:
    """One running process. Build it with `start`."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes]) -> None:
        self._process = process
        self._log = log
        self._turn = asyncio.Lock()
        self._asked = 0
        self._ending = ""
        self.ready: dict[str, Any] = {}

    @classmethod
    async def start(cls, module: str, *arguments: str, hello: Mapping[str, Any]) -> "Child":
        """Run `module`, send it `hello` and wait until it says that it is `ready`.

        Raises:
            ProviderError: it ended instead, as it would again.
        """
        # A file rather than a pipe: nobody has to read it for the child to go on.
        log = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        process = await asyncio.create_subprocess_exec(
            *command(module, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env=environment(),
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
        child = cls(process, log)
        try:
            child.ready = await child._exchange(hello)
        except Transient:
            await child.close()
            raise ProviderError(f"the local model did not start: {child.last_words()}") from None
        except asyncio.CancelledError:
            await child.close(grace_s=0)
            raise
        return child

    async def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What the child answers to `question`; one question at a time, in the order of asking.

        Raises:
            Transient: the child ended.
        """
        async with self._turn:
            return await self._exchange(question)

    async def gone(self, within_s: float) -> bool:
        """Whether the process has ended, or does so within `within_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), within_s)
        return not self.alive

    @property
    def alive(self) -> bool:
        """Whether the process still runs, as far as is known."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def last_words(self) -> str:
        """The last line of what the child wrote to its standard error."""
        if self._log.closed:
            return self._ending
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with code {self._process.returncode}"

    async def close(self, grace_s: float = _GRACE_S) -> None:
        """End the process: ask it to, then kill it after `grace_s` seconds."""
        if self._process.stdin:
            self._process.stdin.close()
        if not await self.gone(grace_s):
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        self._ending = self.last_words()
        self._log.close()

    async def _exchange(self, question: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        self._asked += 1
        asked = self._asked
        try:
            stdin.write(orjson.dumps({"id": asked, **question}) + b"\n")
            await stdin.drain()
            while line := await stdout.readline():
                answer: dict[str, Any] = orjson.loads(line)
                # A question whose asker was cancelled is answered all the same; its answer is passed over.
                if answer["id"] == asked:
                    return answer
        except ConnectionError:
            pass
        await self.gone(_GRACE_S)
        raise Transient(f"the local model's process ended: {self.last_words()}")


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module`; -P keeps the working folder's own files from being imported."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, with what a process that computes needs.

    PASSIVE: OpenMP threads that spin while they wait made a busy two-core machine up to 50 times slower.
    """
    package = Path(__file__).parents[3]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {
        "PYTHONPATH": path,
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def private_stdout() -> BinaryIO:
    """The child's standard output for us alone: what libraries print goes to standard error instead."""
    private = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return private


def send(out: BinaryIO, answer: Mapping[str, Any]) -> None:
    """Write `answer` as one line."""
    out.write(orjson.dumps(answer) + b"\n")
