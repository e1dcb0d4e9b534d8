"""The one place that starts tasks. Steps say what to do with a row; this says how much at once.

No task group stays open across a ``yield`` (PEP 789): tasks are cancelled by hand when a reader leaves.
Order is given up wherever it may be, since an order-keeping window idles the models behind its slowest
row; the store wins it back by sorting.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from synth.errors import RowError

In = TypeVar("In")
Out = TypeVar("Out")


async def parallel(
    rows: AsyncGenerator[In], work: Callable[[In], Awaitable[Out]], *, window: int
) -> AsyncGenerator[Out]:
    """Await `work(row)` for every row; yield results as they finish, in any order.

    At most `window` rows are between being read and being yielded, so memory is bounded and a slow
    reader slows the source.

    Raises:
        What `work` or `rows` raises, at once. Everything still running is cancelled and awaited.
    """
    free = asyncio.Semaphore(window)
    finished: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
    running: set[asyncio.Future[Any]] = set()

    def start(job: Awaitable[Any]) -> asyncio.Future[Any]:
        task = asyncio.ensure_future(job)
        running.add(task)
        task.add_done_callback(finished.put_nowait)
        return task

    async def feed() -> None:
        async with aclosing(rows):
            await free.acquire()
            async for row in rows:
                start(work(row))
                await free.acquire()

    feeder = start(feed())
    try:
        while running:
            task = await finished.get()
            running.remove(task)
            result = task.result()
            if task is not feeder:
                free.release()
                yield result
    finally:
        await _cancel(running)


async def lagged(
    start: Callable[[int], Coroutine[Any, Any, Out]], lag: int
) -> AsyncGenerator[Out | RowError]:
    """Yield the results of ``start(0)``, ``start(1)``, … in that order, `lag` of them in flight.

    ``start(n)`` is called right after the reader has dealt with result ``n - lag`` and before it sees
    the next one. So what it reads of the reader's state depends on `n` and `lag` alone, never on which
    call came back first. A call that fails for itself alone is yielded as its error. A reader that leaves
    loses nothing that was paid for: what is in flight is awaited before this generator closes, since a
    rerun will ask for the same calls.
    """
    flying: deque[asyncio.Future[Out]] = deque(asyncio.ensure_future(start(n)) for n in range(lag))
    number = lag
    try:
        while True:
            await asyncio.wait([flying[0]])
            error = flying[0].exception()
            yield error if isinstance(error, RowError) else flying[0].result()
            flying.popleft()
            flying.append(asyncio.ensure_future(start(number)))
            number += 1
    except GeneratorExit:
        await asyncio.gather(*flying, return_exceptions=True)
        raise
    finally:
        await _cancel(flying)


async def gather(jobs: Sequence[Awaitable[Out]]) -> list[Out]:
    """The results of `jobs`, which run at the same time, in their order.

    All are awaited even if one fails, since each has been paid for; then the first failure in order of
    `jobs` is raised, so that it is the same one on every run.
    """
    if len(jobs) == 1:
        return [await jobs[0]]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


class Once:
    """Runs one job a key at a time: whoever asks for a key that is in flight waits for the same job."""

    def __init__(self) -> None:
        self._flying: dict[str, asyncio.Future[Any]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._flying

    async def run(self, key: str, job: Callable[[], Coroutine[Any, Any, Out]]) -> Out:
        """The result of the job in flight under `key`, or of a new one."""
        task: asyncio.Future[Out] | None = self._flying.get(key)
        if task is None:
            task = self._flying[key] = asyncio.ensure_future(job())
            task.add_done_callback(lambda done: self._land(key, done))
        return await asyncio.shield(task)

    def _land(self, key: str, task: asyncio.Future[Any]) -> None:
        self._flying.pop(key, None)
        if not task.cancelled():
            task.exception()  # if whoever asked has left, nobody else looks at it, and asyncio would complain

    async def close(self) -> None:
        """Cancel what is in flight."""
        await _cancel(self._flying.values())


async def merge(streams: Sequence[AsyncGenerator[Out]], window: int = 64) -> AsyncGenerator[Out]:
    """The rows of all `streams`, as they come. Every stream is read whatever the others do."""
    queue: asyncio.Queue[Any] = asyncio.Queue(window)
    tasks = [asyncio.ensure_future(_pour(stream, [queue])) for stream in streams]
    try:
        left = len(tasks)
        while left:
            row = await queue.get()
            if isinstance(row, _End):
                row.raise_error()
                left -= 1
            else:
                yield row
    finally:
        await _cancel(tasks)


class Fork:
    """One stream read by several readers, each of which sees every row.

    A reader may run ahead of the others by `window` rows. One that leaves early holds nobody up.
    """

    def __init__(self, rows: AsyncGenerator[Any], readers: int, window: int = 64) -> None:
        self._rows = rows
        self._queues: list[asyncio.Queue[Any]] = [asyncio.Queue(window) for _ in range(readers)]
        self._reading = list(self._queues)
        self._pump: asyncio.Future[None] | None = None

    async def branch(self, number: int) -> AsyncGenerator[Any]:
        """The rows, for reader `number`. Each number is read once."""
        queue = self._queues[number]
        self._pump = self._pump or asyncio.ensure_future(_pour(self._rows, self._reading))
        try:
            while not isinstance(row := await queue.get(), _End):
                yield row
            row.raise_error()
        finally:
            self._reading.remove(queue)
            while not queue.empty():
                queue.get_nowait()
            if not self._reading:
                await _cancel([self._pump])


class _End:
    """The last thing in a queue: the stream is over, or broke with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def raise_error(self) -> None:
        if self.error:
            raise self.error


async def _pour(rows: AsyncGenerator[Any], queues: list[asyncio.Queue[Any]]) -> None:
    """Put every row in each of `queues`, then how it ended. A reader that left is out of `queues`."""
    end = _End()
    try:
        async with aclosing(rows):
            async for row in rows:
                await _put(row, queues)
    except Exception as error:  # noqa: BLE001 - handed over to the readers, who raise it
        end = _End(error)
    await _put(end, queues)


async def _put(row: object, queues: Sequence[asyncio.Queue[Any]]) -> None:
    for queue in list(queues):
        await queue.put(row)


async def _cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
