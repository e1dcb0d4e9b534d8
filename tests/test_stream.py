"""The one place that starts tasks: its bounds, its order, and how it ends."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import pytest

from synth import stream
from synth.errors import BadRequest, ProviderError, RowError
from synth.stream import Fork, Once


class Source:
    """Numbers, and what became of the stream: how many were read, and whether it was closed."""

    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count, self.fail_at = count, fail_at
        self.read = 0
        self.closed = False

    async def rows(self) -> AsyncGenerator[int]:
        try:
            for number in range(self.count):
                if number == self.fail_at:
                    raise ProviderError("the source broke")
                self.read += 1
                yield number
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def settle() -> None:
    """Let everything that can go on without us go on."""
    for _ in range(200):
        await asyncio.sleep(0)


async def listed(rows: AsyncGenerator[int]) -> list[int]:
    async with aclosing(rows):
        return [row async for row in rows]


def others() -> set["asyncio.Task[object]"]:
    return asyncio.all_tasks() - {asyncio.current_task()}


# parallel


async def test_parallel_yields_every_result_once() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0.001 * (number % 3))
        return 2 * number

    source = Source(50)
    assert sorted(await listed(stream.parallel(source.rows(), double, window=7))) == list(range(0, 100, 2))
    assert source.closed
    assert not others()


async def test_parallel_of_no_rows_is_no_rows() -> None:
    async def work(number: int) -> int:
        return number

    assert await listed(stream.parallel(Source(0).rows(), work, window=3)) == []


async def test_parallel_does_not_hold_finished_rows_behind_a_slow_one() -> None:
    slow = asyncio.Event()

    async def work(number: int) -> int:
        if number == 0:
            await slow.wait()
        return number

    results: list[int] = []
    async with aclosing(stream.parallel(Source(20).rows(), work, window=4)) as finished:
        async for result in finished:
            results.append(result)
            if len(results) == 19:
                slow.set()
    assert results[-1] == 0


@pytest.mark.parametrize("window", [1, 2, 5])
async def test_parallel_holds_at_most_window_rows_between_reading_and_yielding(window: int) -> None:
    source, running, most_running, yielded = Source(60), 0, 0, 0

    async def work(number: int) -> int:
        nonlocal running, most_running
        running += 1
        most_running = max(most_running, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    async with aclosing(stream.parallel(source.rows(), work, window=window)) as finished:
        async for _ in finished:
            yielded += 1
            await settle()
            assert source.read - yielded <= window
    assert most_running == window


async def test_parallel_that_is_left_cancels_what_runs_and_closes_its_source() -> None:
    source, cancelled = Source(100), 0

    async def work(number: int) -> int:
        nonlocal cancelled
        try:
            await asyncio.sleep(0 if number == 0 else 60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return number

    async with aclosing(stream.parallel(source.rows(), work, window=5)) as finished:
        async for _ in finished:
            await settle()
            break
    assert cancelled == 5
    assert source.closed
    assert not others()


async def test_parallel_raises_what_work_raises_at_once_and_cancels_the_rest() -> None:
    source = Source(100)

    async def work(number: int) -> int:
        if number == 2:
            raise ProviderError("wrong key")
        await asyncio.sleep(60)
        return number

    with pytest.raises(ProviderError, match="wrong key"):
        await asyncio.wait_for(listed(stream.parallel(source.rows(), work, window=5)), 5)
    assert source.closed
    assert not others()


async def test_parallel_raises_what_its_source_raises() -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(60)
        return number

    source = Source(10, fail_at=3)
    with pytest.raises(ProviderError, match="the source broke"):
        await asyncio.wait_for(listed(stream.parallel(source.rows(), work, window=5)), 5)
    assert source.closed
    assert not others()


# lagged


async def test_lagged_yields_in_order_whatever_finishes_first() -> None:
    async def start(number: int) -> int:
        await asyncio.sleep(0.003 if number % 3 == 0 else 0)
        return number

    results: list[int] = []
    async with aclosing(stream.lagged(start, 4)) as replies:
        async for reply in replies:
            assert isinstance(reply, int)
            results.append(reply)
            if len(results) == 20:
                break
    assert results == list(range(20))


@pytest.mark.parametrize("lag", [1, 3, 8])
@pytest.mark.parametrize("slow", [2, 5])
async def test_a_lagged_start_sees_just_what_was_dealt_with_lag_results_ago(lag: int, slow: int) -> None:
    dealt: list[int] = []
    seen: dict[int, int] = {}

    async def reply(number: int) -> int:
        await asyncio.sleep(0.002 if number % slow == 0 else 0)
        return number

    def start(number: int) -> "asyncio.Future[int]":
        seen[number] = len(dealt)
        return asyncio.ensure_future(reply(number))

    async with aclosing(stream.lagged(start, lag)) as replies:  # type: ignore[arg-type]
        async for result in replies:
            await asyncio.sleep(0)
            dealt.append(result)  # type: ignore[arg-type]
            if len(dealt) == 20:
                break
    assert seen == {number: max(0, number - lag + 1) for number in seen}
    assert max(seen) == 18 + lag


async def test_lagged_keeps_lag_calls_in_flight() -> None:
    running = most = 0

    async def start(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return number

    async with aclosing(stream.lagged(start, 5)) as replies:
        async for number in replies:
            if number == 20:
                break
    assert most == 5


async def test_a_reader_that_leaves_lagged_waits_for_what_is_in_flight() -> None:
    finished: list[int] = []

    async def start(number: int) -> int:
        await asyncio.sleep(0.001 * number)
        finished.append(number)
        return number

    async with aclosing(stream.lagged(start, 4)) as replies:
        async for number in replies:
            if number == 2:
                break
    assert finished == [0, 1, 2, 3, 4, 5]
    assert not others()


async def test_a_lagged_call_that_fails_for_itself_alone_is_yielded_as_its_error() -> None:
    async def start(number: int) -> int:
        if number == 1:
            raise BadRequest("too long")
        return number

    results: list[int | RowError] = []
    async with aclosing(stream.lagged(start, 2)) as replies:
        async for reply in replies:
            results.append(reply)
            if len(results) == 4:
                break
    assert [str(result) for result in results] == ["0", "too long", "2", "3"]


async def test_a_lagged_call_that_fails_the_whole_run_is_raised_in_its_turn() -> None:
    async def start(number: int) -> int:
        if number == 2:
            raise ProviderError("no credit")
        await asyncio.sleep(0.001)
        return number

    async with aclosing(stream.lagged(start, 4)) as replies:
        assert [await anext(replies), await anext(replies)] == [0, 1]
        with pytest.raises(ProviderError, match="no credit"):
            await anext(replies)
    assert not others()


# gather


async def test_gather_gives_results_in_the_order_of_jobs() -> None:
    async def job(number: int) -> int:
        await asyncio.sleep(0.001 * (5 - number))
        return number

    assert await stream.gather([job(number) for number in range(5)]) == [0, 1, 2, 3, 4]
    assert await stream.gather([]) == []


async def test_gather_awaits_all_and_raises_the_first_failure_in_their_order() -> None:
    finished: list[int] = []

    async def job(number: int) -> int:
        await asyncio.sleep(0.001 * (5 - number))
        finished.append(number)
        if number in {1, 3}:
            raise BadRequest(f"job {number}")
        return number

    with pytest.raises(BadRequest, match="job 1"):
        await stream.gather([job(number) for number in range(5)])
    assert sorted(finished) == [0, 1, 2, 3, 4]


# Once


async def test_once_runs_one_job_a_key_at_a_time() -> None:
    once, runs = Once(), 0

    async def job() -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0.001)
        return runs

    assert await asyncio.gather(*(once.run("k", job) for _ in range(5)), once.run("other", job)) == [2] * 6
    assert runs == 2
    assert await once.run("k", job) == 3, "a job that is over is not remembered"


async def test_once_gives_a_failure_to_all_who_wait() -> None:
    once = Once()

    async def job() -> int:
        await asyncio.sleep(0)
        raise BadRequest("no")

    results = await asyncio.gather(once.run("k", job), once.run("k", job), return_exceptions=True)
    assert [type(result) for result in results] == [BadRequest, BadRequest]


async def test_once_goes_on_when_one_of_those_who_wait_leaves() -> None:
    once, go = Once(), asyncio.Event()

    async def job() -> str:
        await go.wait()
        return "done"

    leaver = asyncio.ensure_future(once.run("k", job))
    stayer = asyncio.ensure_future(once.run("k", job))
    await settle()
    leaver.cancel()
    await settle()
    go.set()
    assert await stayer == "done"


async def test_once_that_is_closed_leaves_no_job_behind() -> None:
    once = Once()

    async def job() -> None:
        await asyncio.sleep(60)

    waiting = asyncio.ensure_future(once.run("k", job))
    await settle()
    await once.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not others()


# merge


async def test_merge_gives_the_rows_of_all_streams() -> None:
    merged = await listed(stream.merge([Source(5).rows(), Source(0).rows(), Source(7).rows()], window=2))
    assert sorted(merged) == sorted([*range(5), *range(7)])
    assert not others()


async def test_merge_of_nothing_is_nothing() -> None:
    assert await listed(stream.merge([])) == []


async def test_merge_raises_what_a_stream_raises_and_closes_the_others() -> None:
    endless = Source(10**9)
    with pytest.raises(ProviderError, match="the source broke"):
        await asyncio.wait_for(listed(stream.merge([Source(5, fail_at=2).rows(), endless.rows()])), 5)
    assert endless.closed
    assert not others()


async def test_merge_that_is_left_closes_its_streams() -> None:
    sources = [Source(10**9), Source(10**9)]
    async with aclosing(stream.merge([source.rows() for source in sources], window=3)) as merged:
        async for _ in merged:
            await settle()
            break
    assert all(source.closed for source in sources)
    assert not others()


# Fork


async def test_every_reader_of_a_fork_sees_every_row() -> None:
    source = Source(30)
    fork = Fork(source.rows(), 3, window=2)
    branches = await asyncio.gather(*(listed(fork.branch(number)) for number in range(3)))
    assert branches == [list(range(30))] * 3
    assert source.closed
    assert not others()


async def test_a_reader_of_a_fork_runs_ahead_by_a_window_at_most() -> None:
    source = Source(100)
    fork = Fork(source.rows(), 2, window=4)
    fast = asyncio.ensure_future(listed(fork.branch(0)))
    slow = fork.branch(1)
    await anext(slow)
    await settle()
    assert source.read <= 4 + 2
    assert not fast.done()
    rest = [row async for row in slow]
    assert len(rest) == 99
    assert await fast == list(range(100))


@pytest.mark.parametrize("rows_before_leaving", [1, 3, 50])
async def test_a_reader_that_leaves_a_fork_holds_nobody_up(rows_before_leaving: int) -> None:
    source = Source(60)
    fork = Fork(source.rows(), 2, window=2)

    async def leave() -> None:
        count = 0
        async with aclosing(fork.branch(0)) as rows:
            async for _ in rows:
                count += 1
                if count == rows_before_leaving:
                    return

    _, stayed = await asyncio.wait_for(asyncio.gather(leave(), listed(fork.branch(1))), 5)
    assert stayed == list(range(60))
    assert source.closed
    assert not others()


async def test_a_fork_that_all_readers_leave_closes_its_source() -> None:
    source = Source(10**9)
    fork = Fork(source.rows(), 2, window=2)

    async def leave(number: int) -> None:
        async with aclosing(fork.branch(number)) as rows:
            async for _ in rows:
                return

    await asyncio.wait_for(asyncio.gather(leave(0), leave(1)), 5)
    assert source.closed
    assert not others()


async def test_an_error_of_the_source_reaches_every_reader_of_a_fork() -> None:
    fork = Fork(Source(10, fail_at=4).rows(), 2, window=2)
    results = await asyncio.gather(listed(fork.branch(0)), listed(fork.branch(1)), return_exceptions=True)
    assert [str(result) for result in results] == ["the source broke"] * 2
    assert not others()


@pytest.mark.parametrize("make", [lambda source: source.rows(), lambda source: stream.merge([source.rows()])])
async def test_a_cancelled_reader_leaves_nothing_running(
    make: Callable[[Source], AsyncGenerator[int]],
) -> None:
    async def work(number: int) -> int:
        await asyncio.sleep(60)
        return number

    source = Source(10**9)
    reading = asyncio.ensure_future(listed(stream.parallel(make(source), work, window=3)))
    await settle()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert source.closed
    assert not others()
