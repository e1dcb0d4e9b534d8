"""A run that is told to stop: what is in flight may finish and is kept, and nothing else is begun."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Asked, ReadPipeline, WriteLines
from provider_server import Fault, ProviderServer

from synth import run
from synth.errors import Interrupted, ProviderError, RowError, StorageError, SynthError
from synth.models.ledger import Ledger
from synth.project import Project
from synth.run import Watch
from synth.signals import Stop, in_thread
from synth.train import child

ROOT = Path(__file__).parents[1]
PIPELINE = """
name: stopped
models: {{m: {{provider: compatible, model: made, base_url: "{url}/v1", max_concurrency: 4}}}}
steps:
  - self_instruct: {{count: 8, lag: 2, model: m}}
  - respond: {{model: m, count: 2}}
dataset: {{views: [sft]}}
"""


@contextmanager
def started(
    folder: Path, server: ProviderServer, *options: str, before: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """``synth run`` as a process of its own, once it has asked for something. `before`: shell words."""
    (folder / "p.yaml").write_text(PIPELINE.format(url=server.url), encoding="utf-8")
    command = [sys.executable, "-m", "synth", "run", "p.yaml", *options]
    if before:
        command = ["bash", "-c", f'{before} exec "$@"', "bash", *command]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Or these tests, started under nohup, would start runs that may not obey it.
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    with process:
        try:
            until(lambda: len(server.bodies) > 0)
            yield process
        finally:
            process.kill()


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it is `true`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def kept(folder: Path) -> int:
    """How many outcomes the ledger holds."""
    ledger = Ledger(folder / ".synth" / "ledger.sqlite")
    try:
        return len(list(ledger))
    finally:
        ledger.close()


def versions(folder: Path) -> list[Path]:
    return list((folder / "datasets").glob("*/*"))


# In one process


async def test_calls_in_flight_finish_and_none_is_begun() -> None:
    stop = Stop(grace_s=5)
    finished: list[str] = []

    async def call(name: str) -> None:
        async with stop.call():
            await asyncio.sleep(0.05)
        finished.append(name)

    async def work() -> None:
        first = asyncio.ensure_future(call("first"))
        await asyncio.sleep(0.01)
        stop.ask(signal.SIGTERM)
        await asyncio.gather(first, call("second"))

    with pytest.raises(Interrupted, match="SIGTERM: 1 calls in flight were finished") as caught:
        await stop.obeyed(work())
    assert caught.value.exit_code == 143
    assert finished == ["first"]


async def test_a_call_that_takes_longer_than_the_grace_is_given_up() -> None:
    stop = Stop(grace_s=0.05)

    async def work() -> None:
        async with stop.call():
            stop.ask(signal.SIGINT)
            await asyncio.sleep(60)

    began = time.monotonic()
    with pytest.raises(Interrupted, match="1 took too long") as caught:
        await stop.obeyed(work())
    assert caught.value.exit_code == 130
    assert time.monotonic() - began < 5


async def test_work_that_nobody_stops_is_done() -> None:
    async def work() -> int:
        return 7

    assert await Stop().obeyed(work()) == 7


async def test_a_stop_before_the_work_begins_lets_no_call_through() -> None:
    stop = Stop(grace_s=5)
    stop.ask(signal.SIGINT)

    async def work() -> None:
        async with stop.call():
            raise AssertionError("a call was begun")

    with pytest.raises(Interrupted):
        await stop.obeyed(work())


async def test_no_call_is_begun_after_one_that_ends_the_run_but_after_a_failed_row() -> None:
    stop = Stop()

    async def fail(error: SynthError) -> None:
        async with stop.call():
            raise error

    with pytest.raises(RowError):
        await fail(RowError("for one row"))
    with pytest.raises(StorageError):
        await fail(StorageError("for all"))
    with pytest.raises(StorageError, match="for all"):
        await fail(RowError("never asked"))


async def test_a_thread_is_told_to_end_when_nobody_wants_its_result() -> None:
    stop = Stop()
    told: list[str] = []
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(waiting.set)
        while not told:
            time.sleep(0.01)

    async def ask() -> None:
        await waiting.wait()
        stop.ask(signal.SIGINT)

    asking = asyncio.ensure_future(ask())
    with pytest.raises(Interrupted):
        await stop.obeyed(in_thread(work, lambda: told.append("end")))
    await asking
    assert told == ["end"]


async def test_what_a_thread_raises_is_raised() -> None:
    def work() -> None:
        raise ValueError("from a thread")

    with pytest.raises(ValueError, match="from a thread"):
        await in_thread(work)


async def test_a_stop_ends_the_process_that_trains(
    pipeline: ReadPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(child, "command", lambda module: sleeping)
    monkeypatch.setattr(run, "train_on", lambda *given: list(child.listen("any", {}, tmp_path / "log")))
    stop = Stop()
    asking = asyncio.ensure_future(when(lambda: bool(child._running), lambda: stop.ask(signal.SIGTERM)))
    text = "name: t\nmodels: {m: {provider: scripted}}\nsteps:\n  - self_instruct: {count: 1, model: m}\n"
    with pytest.raises(Interrupted):
        await run.run(
            pipeline(f"{text}dataset: {{views: [instructions]}}"), Project(tmp_path), Watch(), stop=stop
        )
    await asking
    assert not child._running


async def test_a_stop_while_a_version_is_written_leaves_no_part_of_it(
    pipeline: ReadPipeline, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()

    def asked_meanwhile(_: object) -> dict[str, str]:
        stop.ask(signal.SIGTERM)
        return {}

    monkeypatch.setattr(run, "_files", asked_meanwhile)
    text = "name: t\nmodels: {m: {provider: scripted}}\nsteps:\n  - self_instruct: {count: 3, model: m}\n"
    read = pipeline(f"{text}dataset: {{views: [instructions]}}")
    with pytest.raises(Interrupted):
        await run.run(read, Project(project), Watch(), stop=stop)
    assert not [path for path in (project / "datasets").rglob("*") if path.is_file()]


async def test_a_refusal_of_the_whole_run_costs_no_call_but_those_in_flight(
    pipeline: ReadPipeline, project: Path, write_lines: WriteLines, asked: Asked
) -> None:
    write_lines("prompts.jsonl", *({"prompt": f"number {number}"} for number in range(40)))
    refused = ProviderError("the key was revoked")
    asked.answers = lambda request: refused if len(asked.requests) > 10 else "Fine."
    steps = "steps:\n  - jsonl: {path: prompts}\n  - respond: {model: m}\ndataset: {views: [sft]}\n"
    read = pipeline(f"name: r\nmodels: {{m: {{provider: scripted, max_concurrency: 4}}}}\n{steps}")
    with pytest.raises(ProviderError, match="revoked"):
        await run.run(read, Project(project), Watch())
    assert 10 < len(asked.requests) <= 10 + 4


async def when(true: Callable[[], bool], act: Callable[[], None]) -> None:
    """Do `act` once it is `true`."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    act()


# As a process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_the_first_signal_keeps_what_is_in_flight_and_commits_no_version(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    go = False
    with ProviderServer(latency=lambda body: lambda: go) as server, started(tmp_path, server) as running:
        until(lambda: len(server.bodies) == 2)  # the lag
        running.send_signal(number)
        assert running.stderr
        assert "2 calls in flight may take 30 s" in running.stderr.readline()
        go = True
        _, said = running.communicate(timeout=20)
        assert running.returncode == code
        assert "2 calls in flight were finished and kept" in said
        assert "Go on with: python -m synth run p.yaml" in said
        assert "Traceback" not in said
        assert len(server.bodies) == kept(tmp_path) == 2
    assert not versions(tmp_path)


@pytest.mark.slow
def test_after_a_stop_the_same_command_buys_nothing_twice(tmp_path: Path) -> None:
    with ProviderServer(latency=0.05) as server:
        with started(tmp_path, server) as running:
            until(lambda: len(server.bodies) > 12)
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=20)
            assert running.returncode == 130
            assert kept(tmp_path) == len(server.bodies)
        with started(tmp_path, server) as again:
            again.communicate(timeout=60)
            assert again.returncode == 0
        bodies = [str(body) for body in server.bodies]
    assert len(bodies) == len(set(bodies))
    assert len(versions(tmp_path)) == 1


@pytest.mark.slow
def test_the_second_signal_ends_the_run_at_once(tmp_path: Path) -> None:
    with ProviderServer(answer=lambda body: Fault(hang=True)) as server, started(tmp_path, server) as running:
        running.send_signal(signal.SIGINT)
        assert running.stderr
        assert "once more" in running.stderr.readline()
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
        assert time.monotonic() - began < 2
        assert running.returncode == 130
        assert "left at once" in said
        assert "Go on with: python -m synth run p.yaml" in said
    assert kept(tmp_path) == 0


@pytest.mark.slow
def test_calls_that_outlast_the_grace_are_given_up(tmp_path: Path) -> None:
    hanging = ProviderServer(answer=lambda body: Fault(hang=True))
    with hanging as server, started(tmp_path, server, "--grace", "0.2") as running:
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=20)
        assert running.returncode == 143
        assert "took too long and were given up" in said


@pytest.mark.slow
def test_an_interrupt_is_heard_where_it_was_ignored_as_in_a_script(tmp_path: Path) -> None:
    with (
        ProviderServer(latency=0.2) as server,
        started(tmp_path, server, before="trap '' INT;") as running,
    ):
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
        assert running.returncode == 130


@pytest.mark.slow
def test_a_hang_up_is_ignored_where_it_was_ignored_as_under_nohup(tmp_path: Path) -> None:
    with (
        ProviderServer(latency=0.02) as server,
        started(tmp_path, server, before="trap '' HUP;") as running,
    ):
        running.send_signal(signal.SIGHUP)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 0, said
    assert len(versions(tmp_path)) == 1
