"""What many tests need: a project folder, pipelines from text, runs, and a provider on this machine."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from provider_server import ProviderServer

from synth import pipeline as pipelines
from synth import run
from synth.models.base import Reply, Request
from synth.pipeline import Pipeline
from synth.project import Project
from synth.providers.scripted import Scripted
from synth.rows import Row
from synth.run import Watch
from synth.step import Step
from synth.store.version import Version

ReadPipeline = Callable[..., Pipeline]
Make = Callable[..., Awaitable[tuple[Version, Watch]]]
WriteLines = Callable[..., Path]
RowsOf = Callable[[type[Step]], list[Row]]


@dataclass
class Asked:
    """What the scripted providers were asked, in the order of arrival: the referee of what was bought.

    Attributes:
        answers: what to answer; None for the provider's own.
        jitter_s: every answer takes a random time of at most this many seconds.
        peak: the most requests that were in a provider at one time.
    """

    requests: list[Request] = field(default_factory=list)
    answers: Callable[[Request], str | Reply | Exception] | None = None
    jitter_s: float = 0.0
    dice: random.Random = field(default_factory=lambda: random.Random(4))
    now: int = 0
    peak: int = 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes minutes, unless ``-m`` names it."""
    if "soak" in str(config.getoption("-m")):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    items[:] = [item for item in items if item not in long]
    config.hook.pytest_deselected(items=long)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, and the test runs in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write_lines(project: Path) -> WriteLines:
    """Write objects as JSON Lines: ``write_lines("red.jsonl", {"prompt": "Hi"}, …)``."""

    def write(name: str, *values: object) -> Path:
        path = project / name
        path.write_bytes(b"".join(orjson.dumps(value) + b"\n" for value in values))
        return path

    return write


@pytest.fixture
def pipeline(project: Path) -> ReadPipeline:
    """Write the text to pipeline.yaml and read it."""

    def read(text: str, *, allow_code: bool = False) -> Pipeline:
        path = project / "pipeline.yaml"
        path.write_text(text, encoding="utf-8")
        return pipelines.read(path, allow_code=allow_code)

    return read


@pytest.fixture
def make(project: Path) -> Make:
    """Run a pipeline: the version, and what the run showed of itself."""

    async def make_(
        pipeline: Pipeline, limit: int | None = None, into: Path = project
    ) -> tuple[Version, Watch]:
        watch = Watch()
        version = await run.make(pipeline, Project(into), watch, limit)
        return version, watch

    return make_


@pytest.fixture
def rows_of(monkeypatch: pytest.MonkeyPatch) -> RowsOf:
    """Watch a kind of step: the list that fills with the rows that it yields from now on."""

    def watch(step: type[Step]) -> list[Row]:
        rows: list[Row] = []
        usual = step.run

        async def watched(self: Step, *given: Any) -> AsyncGenerator[Row]:
            async for row in usual(self, *given):
                rows.append(row)
                yield row

        monkeypatch.setattr(step, "run", watched)
        return rows

    return watch


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Log what the scripted providers are asked, and have a say in what they answer, and when."""
    log = Asked()
    usual = Scripted.answer

    async def answer(self: Scripted, request: Request) -> Reply:
        log.requests.append(request)
        log.now += 1
        log.peak = max(log.peak, log.now)
        try:
            await asyncio.sleep(log.jitter_s * log.dice.random())
            self.answers = log.answers or self.answers
            return await usual(self, request)
        finally:
            log.now -= 1

    monkeypatch.setattr(Scripted, "answer", answer)
    return log


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A provider on this machine, with real sockets."""
    with ProviderServer() as running:
        yield running
