"""`make bench`: what a run adds to the bare calls, side by side on the same local server.

Three sides ask the same questions, as many at once: a bare aiohttp loop and the `openai` SDK, which keep
nothing, and a run of a pipeline: rows, durable ledger, version. The server is a process of its own and
answers at once, or after a log-normal time that the question decides. Rounds are interleaved, and what is
printed are ratios and CPU time of this process with their spread; seconds on this machine mean nothing
elsewhere.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from line import Line, show  # noqa: E402

from synth import pipeline  # noqa: E402
from synth.project import Project  # noqa: E402
from synth.run import Watch, make  # noqa: E402

ROUNDS = 5
MOST_OVERHEAD = 1.03  # of the bare loop's time, where answers take a while


@dataclass(frozen=True)
class Load:
    """So many calls, so many at once, each answered after a log-normal time of this median and sigma."""

    calls: int
    at_once: int
    median_s: float = 0.0
    sigma: float = 0.0


AT_ONCE = Load(10_000, 64)
LATE = Load(10_000, 256, 0.3, 0.5)


def question(number: int) -> dict[str, Any]:
    """The body of a call."""
    return {
        "model": "played",
        "messages": [{"role": "user", "content": f"Question {number}?"}],
        "max_tokens": 64,
    }


async def bare(url: str, load: Load) -> None:
    """Ask every question once with aiohttp, and keep nothing."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(number: int) -> None:
            async with session.post(f"{url}/v1/chat/completions", json=question(number)) as response:
                json.loads(await response.read())["choices"][0]["message"]["content"]

        await _in_turn(ask, load)


async def sdk(url: str, load: Load) -> None:
    """The same with the `openai` SDK as it comes."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def ask(number: int) -> None:
            await client.chat.completions.create(**question(number))

        await _in_turn(ask, load)


async def ours(url: str, load: Load) -> None:
    """The same as a pipeline, from nothing to a version."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = (json.dumps({"prompt": f"Question {number}?"}) for number in range(load.calls))
        (folder / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
        file = folder / "bench.yaml"
        file.write_text(
            "name: bench\n"
            f"models: {{m: {{provider: compatible, base_url: '{url}/v1', model: played, "
            f"max_concurrency: {load.at_once}}}}}\n"
            "steps:\n  - jsonl: {path: questions}\n  - respond: {model: m, max_tokens: 64}\n"
            "dataset: {views: [sft]}\n",
            encoding="utf-8",
        )
        await make(pipeline.read(file), Project(folder), Watch())


async def _in_turn(ask: Callable[[int], Coroutine[Any, Any, None]], load: Load) -> None:
    """Ask every question, `load.at_once` at a time."""
    numbers = iter(range(load.calls))

    async def worker() -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(worker() for _ in range(load.at_once)))


SIDES = {"aiohttp": bare, "openai SDK": sdk, "a run": ours}


@contextmanager
def server(load: Load) -> Iterator[str]:
    """A provider in a process of its own; its address."""
    times = ["--latency", str(load.median_s), "--sigma", str(load.sigma)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.provider_server", "--forget", *times],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def measured(load: Load, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds by the clock, and of CPU, of every side in every round."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    with server(load) as url:
        for side in SIDES.values():  # what is imported and compiled the first time
            asyncio.run(side(url, Load(64, 16)))
        for _ in range(rounds):
            for name, side in SIDES.items():
                began, used = time.perf_counter(), time.process_time()
                asyncio.run(side(url, load))
                seen[name].append((time.perf_counter() - began, time.process_time() - used))
    return seen


def lines(late: Load, at_once: Load, rounds: int) -> Iterator[Line]:
    """What is promised of calls."""
    seen = measured(at_once, rounds)
    used = {name: [cpu / at_once.calls * 1000 for _, cpu in times] for name, times in seen.items()}
    what = f"{at_once.calls:,} calls, {at_once.at_once} at once"
    print(f"{what}: " + "; ".join(f"{name} {_spread(each)} ms of CPU a call" for name, each in used.items()))
    ratio = [ours / sdk for (_, ours), (_, sdk) in zip(seen["a run"], seen["openai SDK"], strict=True)]
    yield Line(f"{what}: CPU, of the SDK's alone", _spread(ratio), "< 1", statistics.median(ratio) < 1)
    seen = measured(late, rounds)
    ratio = [ours / bare for (ours, _), (bare, _) in zip(seen["a run"], seen["aiohttp"], strict=True)]
    what = f"{late.calls:,} calls, {late.at_once} at once, {late.median_s} s median"
    held = statistics.median(ratio) <= MOST_OVERHEAD
    yield Line(f"{what}: time, of aiohttp's", _spread(ratio), f"<= {MOST_OVERHEAD}", held)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> int:
    """Print every promise with its value, bound and verdict; 1 if one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the calls, to try it out")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    late, at_once = (
        Load(int(load.calls * given.share), load.at_once, load.median_s, load.sigma)
        for load in (LATE, AT_ONCE)
    )
    return int(not show(lines(late, at_once, given.rounds)))


if __name__ == "__main__":
    raise SystemExit(main())
