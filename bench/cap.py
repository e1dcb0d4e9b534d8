"""`make bench`: how soon a run finds out how many calls a server takes at once, and what it costs to know.

The server refuses what is beyond its cap, at once and without a word on when to come back. The cap falls and
rises while the run goes on. Measured by the server's own log: the share of requests that it refused, and how
much of the cap was used in the last seconds before each change.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import calls  # noqa: E402
from line import Line, show  # noqa: E402
from provider_server import ProviderServer  # noqa: E402

LATENCY_S = 0.5
CAPS = {50: 15.0, 20: 15.0, 100: 30.0}  # each for so many seconds
LOOKED_AT_S = 3.0
CALLS, WIDTH = 9_000, 256
LEAST_USED, MOST_REFUSED = 0.85, 0.02


@dataclass(frozen=True)
class Phase:
    """A time with one cap, until `ended` in seconds since 1970."""

    cap: int
    ended: float


async def run(server: ProviderServer) -> list[Phase]:
    """Change the cap while a pipeline runs."""
    phases: list[Phase] = []

    async def change() -> None:
        for cap, seconds in CAPS.items():
            server.cap = cap
            await asyncio.sleep(seconds)
            phases.append(Phase(cap, time.time()))

    changing = asyncio.ensure_future(change())
    await calls.ours(server.url, calls.Load(CALLS, WIDTH))
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    return phases


def lines() -> Iterator[Line]:
    """What is promised of a server that refuses."""
    with ProviderServer(latency=LATENCY_S) as server:
        phases = asyncio.run(run(server))
        log = list(server.log)
    refused = sum(entry.status == 429 for entry in log) / len(log)
    what = f"{CALLS:,} calls, caps {', '.join(map(str, CAPS))}"
    yield Line(f"{what}: share refused", f"{refused:.3f}", f"<= {MOST_REFUSED}", refused <= MOST_REFUSED)
    held = [(entry.time, entry.ended) for entry in log if entry.status == 200 and entry.ended]
    for phase in phases:
        began = phase.ended - LOOKED_AT_S
        inside = sum(max(0.0, min(end, phase.ended) - max(start, began)) for start, end in held)
        used = inside / LOOKED_AT_S / phase.cap
        what = f"{LOOKED_AT_S:.0f} s before the end of a cap of {phase.cap}: share of it used"
        yield Line(what, f"{used:.2f}", f">= {LEAST_USED}", used >= LEAST_USED)


if __name__ == "__main__":
    raise SystemExit(int(not show(lines())))
