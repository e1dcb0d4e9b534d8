"""Fifty kills in one run of 5,000 rows through the three methods: minutes, so only `make soak` runs it."""

import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from provider_server import Entry, read_log
from test_kill import in_flight, provider, started

from synth.store.version import versions

ROWS = 5000
KILLS = 50
WIDTH = 32
LATENCY_S = 0.01
COMMIT_S = 3.0  # how long a reply may take from the server's socket to the disk, on a machine that is busy
PIPELINE = f"""
name: killed
seed: 3
models:
  m: {{{{provider: compatible, model: made, base_url: {{url}}/v1, max_concurrency: {WIDTH}}}}}
steps:
  - self_instruct: {{{{count: {ROWS}, lag: 8, model: m}}}}
  - respond: {{{{model: m, count: 2}}}}
  - critique_revise: {{{{model: m, constitution: harmless, rounds: 1}}}}
  - judge_pairs: {{{{model: m, constitution: harmless}}}}
dataset: {{{{views: [instructions, sft, preference], test_fraction: 0.1}}}}
"""


@dataclass
class Log:
    """A server's log that grows, and how many answers it holds so far."""

    path: Path
    answers: int = 0
    _read: int = 0

    def look(self) -> int:
        """How many requests are answered by now."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            self.answers += whole.count(b'"sent":true')
        return self.answers


def finished(project: Path) -> str:
    """Run to the end; the version's id."""
    with started(project) as process:
        said, complaint = process.communicate(timeout=3600)
    assert process.returncode == 0, complaint
    return said


def killed(project: Path, log: Log, dice: random.Random) -> float:
    """Run for a while, and kill; the moment of the kill.

    Most kills come after some answers; every fifth at a moment that often lies in the replay before.
    """
    until, late = log.look() + dice.randrange(40, 600), 3600.0
    if dice.random() < 0.2:
        late = dice.uniform(0.2, 8.0)
    began = time.monotonic()
    with started(project) as process:
        while log.look() < until and time.monotonic() - began < late and process.poll() is None:
            time.sleep(0.005)
        assert process.poll() is None, complaint(process)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        return time.time()


def complaint(process: "subprocess.Popen[str]") -> str:
    assert process.stderr
    return f"it ended by itself with {process.returncode}: {process.stderr.read()}"


def whole(folder: Path) -> tuple[str, Counter[str]]:
    """The version's id and the requests of a run that nobody kills."""
    folder.mkdir()
    log = folder / "requests.jsonl"
    with provider(log, latency_s=LATENCY_S) as url:
        (folder / "pipeline.yaml").write_text(PIPELINE.format(url=url), encoding="utf-8")
        made = finished(folder)
    return made, Counter(body_of(entry) for entry in read_log(log) if entry.method == "POST")


def body_of(entry: Entry) -> str:
    return sha256(orjson.dumps(entry.body)).hexdigest()


@pytest.mark.soak
def test_fifty_kills_in_one_run_cost_what_was_in_flight_and_change_nothing(tmp_path: Path) -> None:
    dice, log, project = random.Random(50), Log(tmp_path / "requests.jsonl"), tmp_path / "killed"
    project.mkdir()
    with provider(log.path, latency_s=LATENCY_S) as url:
        (project / "pipeline.yaml").write_text(PIPELINE.format(url=url), encoding="utf-8")
        kills = [killed(project, log, dice) for _ in range(KILLS)]
        made = finished(project)
        before = log.look()
        assert finished(project) == made
        assert log.look() == before, "a finished run asked again"
    expected, asked = whole(tmp_path / "whole")
    assert made == expected
    assert set(asked.values()) == {1}

    entries: dict[str, list[Entry]] = {}
    for entry in read_log(log.path):
        if entry.method == "POST":
            entries.setdefault(body_of(entry), []).append(entry)
    assert entries.keys() == asked.keys()
    twice = {body: found for body, found in entries.items() if len(found) > 1}
    assert sum(len(found) - 1 for found in twice.values()) <= KILLS * WIDTH
    assert all(in_flight(found, kills, COMMIT_S) for found in twice.values())
    assert [version.id for version in versions(project / "datasets" / "killed")] == [made]
    assert len(list((project / "datasets" / "killed").iterdir())) == 1
    rows = versions(project / "datasets" / "killed")[0].manifest["rows"]
    assert rows == ROWS
