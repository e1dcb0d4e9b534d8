"""`make bench`: what a run adds to the bare calls, side by side on the same local server.

The bare side asks the same questions through the same SDK, as many at once, and keeps nothing. Ours runs a
pipeline: rows, ledger on disk, version. Both ask a server of this repository that answers at once. Rounds are
interleaved, and ratios are printed with their spread; seconds on this machine mean nothing elsewhere.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from provider_server import ProviderServer  # noqa: E402

from synth import pipeline  # noqa: E402
from synth.project import Project  # noqa: E402
from synth.run import Watch, make  # noqa: E402

CALLS, CONCURRENCY, ROUNDS = 1000, 64, 5


async def bare(url: str) -> None:
    """Ask every question once, and keep nothing."""
    from openai import AsyncOpenAI

    free = asyncio.Semaphore(CONCURRENCY)
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:

        async def ask(number: int) -> None:
            async with free:
                await client.chat.completions.create(
                    model="played",
                    messages=[{"role": "user", "content": f"Question {number}?"}],
                    max_tokens=64,
                )

        await asyncio.gather(*(ask(number) for number in range(CALLS)))


async def ours(url: str, folder: Path) -> None:
    """The same questions as a pipeline, from nothing to a version."""
    lines = (json.dumps({"prompt": f"Question {number}?"}) for number in range(CALLS))
    (folder / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    file = folder / "bench.yaml"
    file.write_text(
        "name: bench\n"
        f"models: {{m: {{provider: compatible, base_url: '{url}/v1', model: played, "
        f"max_concurrency: {CONCURRENCY}}}}}\n"
        "steps:\n  - jsonl: {path: questions}\n  - respond: {model: m, max_tokens: 64}\n"
        "dataset: {views: [sft]}\n",
        encoding="utf-8",
    )
    await make(pipeline.read(file), Project(folder), Watch())


def main() -> None:
    """Print the ratio of the two."""
    ratios = []
    with ProviderServer() as server:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                asyncio.run(bare(server.url))
                between = time.perf_counter()
                asyncio.run(ours(server.url, Path(folder)))
                ratios.append((time.perf_counter() - between) / (between - began))
    print(
        f"{CALLS} calls, {CONCURRENCY} at once: a run takes {statistics.median(ratios):.2f} times as long "
        f"(of {ROUNDS} rounds: {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
