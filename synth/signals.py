"""How a run is told to stop, and how it stops.

The first SIGINT, SIGTERM or SIGHUP: no call is begun any more, those in flight may finish, their outcomes are
kept, no version is committed. The second: out at once, which costs what a kill costs. Handlers are set even
where a signal was ignored when the process began, as SIGINT is for a job that a script starts with ``&``; but
SIGHUP stays ignored, since that is how ``nohup`` is obeyed.

The handlers are plain ones and not the event loop's, so that they run also while the loop is busy with a long
commit.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from synth.errors import Interrupted, RowError, SynthError

T = TypeVar("T")

GRACE_S = 30.0  # as in `synth.cli`, which does not import this one for its help
TIDY_S = 5.0  # what an ended training may take to clear its folder away
SHOW_CURSOR = "\x1b[?25h"  # a progress display hides it
HEARD = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """Whether a run is to stop, and what is in flight until it does.

    Args:
        grace_s: how long calls in flight may take to finish.
        tell: is told at the first signal what happens now.
        last_words: written to standard error when the second signal ends the process.
    """

    def __init__(
        self, grace_s: float = GRACE_S, tell: Callable[[str], None] = lambda text: None, last_words: str = ""
    ) -> None:
        self._grace_s, self._tell, self._last_words = grace_s, tell, last_words
        self._signal: signal.Signals | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[asyncio.Task[Any]] = set()
        self._fatal: SynthError | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        # An event belongs to the loop in which it is first awaited.
        self._asked, self._ended, self._over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def check(self) -> None:
        """Raise `Interrupted` if the run is to stop."""
        if self._signal is not None:
            raise self._interrupted()

    def ask(self, number: int) -> None:
        """Stop for the signal `number`; if that was asked before, leave at once."""
        if self._signal is not None:
            self._leave()
        self._signal = signal.Signals(number)
        if self._loop:
            self._loop.call_soon_threadsafe(self._begin)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Obey signals for as long as the block runs. For the main thread."""
        before = {}
        for number in (getattr(signal, name) for name in HEARD if hasattr(signal, name)):
            if number.name != "SIGHUP" or signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, lambda number, frame: self.ask(number))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @asynccontextmanager
    async def call(self) -> AsyncGenerator[None]:
        """Around a call, for as long as it is in flight.

        None is begun once the run is to stop, or once a call came upon what ends the run.
        """
        if self._fatal:
            raise self._fatal
        if self._signal is not None:
            await self._over.wait()
            raise asyncio.CancelledError  # as all that waits for it is, and so nobody misses its result
        task = asyncio.current_task()
        assert task
        self._calls.add(task)
        try:
            yield
        except SynthError as error:
            if not isinstance(error, RowError):
                self._fatal = error
            raise
        finally:
            self._calls.discard(task)
            self._ended.set()

    async def obeyed(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled once it is to stop and calls had time to finish.

        Raises:
            Interrupted: it was stopped.
        """
        self._begin_anew()
        self._loop = asyncio.get_running_loop()
        if self._signal is not None:
            self._begin()
        task, asked = asyncio.ensure_future(work), asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((task, asked), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            kept, lost = await self._drained(task)
        finally:
            asked.cancel()
            task.cancel()
            await asyncio.wait((task,))
        raise self._interrupted(_said(kept, lost))

    async def _drained(self, task: "asyncio.Task[Any]") -> tuple[int, int]:
        """Wait for what is in flight as long as it may take. Returns how many finished, and how many not."""
        before, until = len(self._calls), time.monotonic() + self._grace_s
        while self._calls and not task.done() and (left := until - time.monotonic()) > 0:
            self._ended.clear()
            try:
                await asyncio.wait_for(self._ended.wait(), left)
            except TimeoutError:
                break
        lost = len(self._calls)
        self._over.set()
        for call in self._calls:
            call.cancel()
        return before - lost, lost

    def _begin(self) -> None:
        assert self._signal
        self._asked.set()
        wait = f"; {len(self._calls)} calls in flight may take {self._grace_s:g} s" if self._calls else ""
        again = "once more to leave at once"
        self._tell(f"stopping for {self._signal.name}{wait} ({again})")

    def _leave(self) -> None:
        said = f"left at once\n{self._last_words}\n"
        os.write(2, f"{SHOW_CURSOR if sys.stderr.isatty() else ''}{said}".encode())
        os._exit(self._interrupted().exit_code)

    def _interrupted(self, said: str = "") -> Interrupted:
        assert self._signal
        by_hand = self._signal == signal.SIGINT
        # A terminal that hangs up is no other case than being asked to end.
        number = signal.SIGINT if by_hand else signal.SIGTERM
        return Interrupted(f"stopped by {self._signal.name}{said}", 128 + number)


async def in_thread(work: Callable[[], T], end: Callable[[], None] = lambda: None) -> T:
    """The result of `work`, in a thread that nobody waits for once this is cancelled.

    Args:
        end: makes `work` come to an end; then it has `TIDY_S` to clear up.
    """
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - handed over to whoever waits
            errors.append(error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(over.set)

    # Unlike the loop's own threads a daemon does not keep the process from leaving.
    threading.Thread(target=run, daemon=True).start()
    try:
        await over.wait()
    except asyncio.CancelledError:
        end()
        await asyncio.wait((asyncio.ensure_future(over.wait()),), timeout=TIDY_S)
        raise
    if errors:
        raise errors[0]
    return results[0]


def _said(kept: int, lost: int) -> str:
    if lost:
        return f": {kept} calls in flight were finished and kept, {lost} took too long and were given up"
    return f": {kept} calls in flight were finished and kept" if kept else ""
