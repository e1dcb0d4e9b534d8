"""A run that is killed at each crash point in turn, and given again, comes to the same version."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from conftest import Make, ReadPipeline
from provider_server import ProviderServer

from synth.store.version import versions

ROOT = Path(__file__).parents[1]
WIDTH = 4
PIPELINE = f"""
name: crashing
seed: 5
models:
  m:
    provider: compatible
    model: made
    base_url: {{url}}/v1
    max_concurrency: {WIDTH}
    budget: {{{{calls: 10000}}}}
steps:
  - self_instruct: {{{{count: 4, lag: 2, model: m}}}}
  - respond: {{{{model: m, count: 2}}}}
  - judge_pairs: {{{{model: m, constitution: harmless}}}}
dataset: {{{{views: [instructions, sft, preference]}}}}
"""
# The whole run, and a training that learns nothing.
DRIVER = """
import asyncio, pathlib, sys
from synth import pipeline, run
from synth.project import Project
from synth.train import run as training
from synth.trainings.sft import SFT

def follow(spec, log, progress):
    made = pathlib.Path(spec["out"])
    made.mkdir()
    (made / "metrics.json").write_text('{"summary": {}}')
    return {}

here = pathlib.Path.cwd()
training.follow = follow
version = asyncio.run(run.run(pipeline.read(here / "pipeline.yaml"), Project(here), run.Watch())).version
out, base = Project(here).models(version.manifest["name"]), here / "base"
base.mkdir(exist_ok=True)
trained = training.train(SFT(base="base"), version.path, base, out, base_digest="00")
sys.stdout.write(f"{version.id} {trained.key}")
"""


def points() -> list[str]:
    """Every crash point, as the source has it."""
    named = re.compile(r"crash\.here\(\"([a-z_.]+)\"\)")
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "synth").rglob("*.py"))]
    assert sum(text.count("crash.here(") for text in texts) == sum(len(named.findall(t)) for t in texts)
    return [point for text in texts for point in named.findall(text)]


def ran(folder: Path, url: str, crash: str = "") -> "subprocess.CompletedProcess[str]":
    """The run, as a process of its own that is killed at `crash`."""
    (folder / "pipeline.yaml").write_text(PIPELINE.format(url=url), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-c", DRIVER],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SYNTH_CRASH_AT": crash},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def referee() -> Iterator[ProviderServer]:
    """One provider for all crashes: the same address, so the same requests."""
    with ProviderServer() as running:
        yield running


@pytest.fixture(scope="module")
def whole(referee: ProviderServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, set[bytes]]:
    """What an uninterrupted run says, and all that it asks."""
    done = ran(tmp_path_factory.mktemp("whole"), referee.url)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(map(orjson.dumps, referee.bodies))


def test_every_crash_point_has_a_name_of_its_own() -> None:
    assert len(points()) == len(set(points()))
    assert {point.split(".")[0] for point in points()} >= {
        "ledger",
        "spool",
        "spending",
        "version",
        "training",
    }


@pytest.mark.slow
@pytest.mark.parametrize("point", points())
def test_a_run_killed_at_a_crash_point_and_given_again_comes_to_the_same(
    point: str, referee: ProviderServer, whole: tuple[str, set[bytes]], tmp_path: Path
) -> None:
    said, asked = whole
    folder = tmp_path / "datasets" / "crashing"
    before, kills = len(referee.bodies), 0
    for crash in (f"{point}:1", f"{point}:3"):
        done = ran(tmp_path, referee.url, crash)
        if done.returncode == 0:
            break  # it passes the point less often than that, by now
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        for version in versions(folder):  # what is visible is whole
            assert sum(1 for _ in version.rows("sft"))
    assert kills
    last = ran(tmp_path, referee.url)
    assert last.stdout == said, last.stderr

    bought = Counter(map(orjson.dumps, referee.bodies[before:]))
    assert set(bought) == asked
    assert bought.total() - len(bought) <= kills * WIDTH
    assert sorted(folder.iterdir()) == [version.path for version in versions(folder)]
    assert len(list((tmp_path / "models" / "crashing").iterdir())) == 1


async def test_a_point_that_is_not_asked_for_does_nothing(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTH_CRASH_AT", "version.renamed")  # is read when a process begins
    version, _ = await make(pipeline(PIPELINE.format(url=server.url)))
    assert version.is_new
