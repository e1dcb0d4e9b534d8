"""A pipeline that wants more connections than the process may open."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import ProviderServer

from synth import open_files
from synth.errors import UserError

ROOT = Path(__file__).parents[1]
WIDTH = 200
PIPELINE = f"""
name: wide
models: {{{{m: {{{{provider: compatible, model: made, base_url: "{{url}}/v1", max_concurrency: {WIDTH}}}}}}}}}
steps:
  - jsonl: {{{{path: questions}}}}
  - respond: {{{{model: m}}}}
dataset: {{{{views: [sft]}}}}
"""


@pytest.fixture
def few_files() -> Iterator[int]:
    """A soft limit that is lower than what is wanted; the hard limit stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (WIDTH // 2, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_the_limit_is_raised_where_a_run_needs_it(
    few_files: int, pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> None:
    write_lines("questions.jsonl", {"prompt": "Hi"})
    await make(pipeline(PIPELINE.format(url=server.url)))
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few_files


def test_the_limit_stays_where_it_is_enough(few_files: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(open_files, "OTHERS", 10)
        open_files.make_room(20)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == WIDTH // 2


def test_a_system_that_allows_no_more_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 256))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: None)
    with pytest.raises(UserError, match=r"200, which takes 328 open files.* 256.*ulimit -n 328"):
        open_files.make_room(WIDTH)


@pytest.mark.slow
def test_a_run_that_may_not_open_enough_is_refused_before_the_first_call(
    project: Path, server: ProviderServer, write_lines: WriteLines
) -> None:
    write_lines("questions.jsonl", {"prompt": "Hi"})
    (project / "p.yaml").write_text(PIPELINE.format(url=server.url), encoding="utf-8")
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 64; exec "$@"', "bash", sys.executable, "-m", "synth", "run", "p.yaml"],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "ulimit -n 328" in done.stderr
    assert "Go on with" in done.stderr
    assert server.log == []
