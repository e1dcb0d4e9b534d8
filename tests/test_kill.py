"""A run that is killed, again and again, with a provider of its own process whose log is the referee."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from conftest import Make, ReadPipeline
from provider_server import Entry, ProviderServer, read_log

REPOSITORY = Path(__file__).parents[1]
WIDTH = 4
KILLS = 3
LATENCY_S = 0.03
COMMIT_S = 0.3  # how long a reply may take from the server's socket to the disk, on a busy machine
DRIVER = """
import asyncio, pathlib, sys
from synth import pipeline, run
from synth.project import Project

here = pathlib.Path.cwd()
made = asyncio.run(run.make(pipeline.read(here / "pipeline.yaml"), Project(here), run.Watch()))
sys.stdout.write(made.id)
"""
PIPELINE = f"""
name: killed
seed: 3
models:
  m: {{{{provider: compatible, model: made, base_url: {{url}}/v1, max_concurrency: {WIDTH}}}}}
steps:
  - self_instruct: {{{{count: 14, lag: 3, model: m}}}}
  - respond: {{{{model: m, count: 2}}}}
  - critique_revise: {{{{model: m, constitution: harmless, rounds: 1}}}}
  - judge_pairs: {{{{model: m, constitution: harmless}}}}
dataset: {{{{views: [instructions, sft, preference], test_fraction: 0.2}}}}
"""


@contextmanager
def provider(log: Path, latency_s: float = LATENCY_S) -> Iterator[str]:
    """A provider in a process of its own; its address."""
    command = [sys.executable, "-m", "tests.provider_server", "--latency", str(latency_s), "--log", str(log)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def started(project: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run in a process of its own, in a group of its own."""
    command = [sys.executable, "-c", DRIVER]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def answered(log: Path) -> int:
    """How many requests are answered by now."""
    return log.read_bytes().count(b'"sent":true') if log.exists() else 0


def killed_after(project: Path, log: Path, answers: int) -> float:
    """Run until so many more answers were sent, and kill; the moment of the kill, or 0.0 if it was done."""
    until = answered(log) + answers
    with started(project) as process:
        while answered(log) < until and process.poll() is None:
            time.sleep(0.003)
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr and process.stderr.read()
            return 0.0
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return time.time()


@pytest.mark.slow
async def test_a_run_killed_again_and_again_buys_twice_only_what_was_in_flight(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, project: Path
) -> None:
    dice = random.Random(20)
    log, killed = project / "requests.jsonl", project / "killed"
    killed.mkdir()
    with provider(log) as url:
        (killed / "pipeline.yaml").write_text(PIPELINE.format(url=url), encoding="utf-8")
        kills = [killed_after(killed, log, dice.randrange(1, 22)) for _ in range(KILLS)]
        assert all(kills), "the run was over before it could be killed"
        text = PIPELINE.format(url=url)
        made, _ = await make(pipeline(text), into=killed)
        before = len(read_log(log))
        again, _ = await make(pipeline(text), into=killed)
        assert again.id == made.id
        assert len(read_log(log)) == before, "a finished run asked again"

    whole, _ = await make(pipeline(PIPELINE.format(url=server.url)), into=project / "whole")
    assert whole.id == made.id
    bought = Counter(orjson.dumps(entry.body) for entry in read_log(log) if entry.method == "POST")
    assert set(bought) == {orjson.dumps(body) for body in server.bodies}
    assert sum(bought.values()) - len(bought) <= KILLS * WIDTH
    twice = {body for body, count in bought.items() if count > 1}
    assert all(in_flight(entries, kills) for entries in asked_by_body(log, twice).values())
    partial = [path.name for path in (killed / "datasets" / "killed").iterdir()]
    assert len(partial) == 1


def asked_by_body(log: Path, bodies: set[bytes]) -> dict[bytes, list[Entry]]:
    """The requests of each of `bodies`, in the order of arrival."""
    asked: dict[bytes, list[Entry]] = {body: [] for body in bodies}
    for entry in read_log(log):
        if (body := orjson.dumps(entry.body)) in asked:
            asked[body].append(entry)
    return asked


def in_flight(entries: list[Entry], kills: list[float], commit_s: float = COMMIT_S) -> bool:
    """Whether each of `entries` but the last was on its way at one of the `kills`."""
    return all(
        any(entry.time <= kill and (entry.ended is None or kill - entry.ended < commit_s) for kill in kills)
        for entry in entries[:-1]
    )
