"""A key that is driven through every failure there is, and then looked for in every byte that came out."""

import base64
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import WriteLines
from provider_server import Fault, ProviderServer

ROOT = Path(__file__).parents[1]
CANARY = "sk-canary-Zx81QmWv55TtRr-never-to-be-seen"
ECHO = f'Authorization: "Bearer {CANARY}"'
PIPELINE = """
name: canary
models:
  m:
    provider: compatible
    model: made
    base_url: "{url}/v1"
    api_key_env: CANARY_KEY
    max_concurrency: 4
    timeout_s: 1
    budget: {{calls: 1000}}
steps:
  - jsonl: {{path: questions}}
  - respond: {{model: m}}
dataset: {{views: [sft]}}
"""
ROWS = 24
# Each of these costs a row or a try, and the run goes on.
PASSING = [
    Fault(status=400, code="invalid_request", message=f"no such header: {ECHO}"),
    Fault(status=400, body=f"<html>{'x' * 280}{ECHO}</html>"),  # would be cut in the middle of the key
    Fault(status=413, body={"detail": ECHO}),
    Fault(status=422, body=ECHO),
    Fault(status=429, headers={"Retry-After": "0"}, message=ECHO),
    Fault(status=429, headers={"Retry-After": CANARY}, message=ECHO),
    Fault(status=500, message=ECHO),
    Fault(status=503, headers={"Retry-After": "0", "X-Key": CANARY}, body=ECHO),
    Fault(status=200, drop_after=40),
    Fault(status=200, drop_after=0),
    Fault(hang=True),
    Fault(status=200, body="<html>a gateway</html>"),
    Fault(status=200, headers={"x-ratelimit-limit-requests": CANARY}),
]
# Each of these ends the run.
ENDING = {
    "revoked": Fault(status=401, code="invalid_api_key", message=f"Incorrect API key provided: {CANARY}"),
    "forbidden": Fault(status=403, message=ECHO),
    "no credit": Fault(status=402, body=ECHO),
    "no quota": Fault(status=429, code="insufficient_quota", message=ECHO),
    "no model": Fault(status=404, code="model_not_found", message=f"the model `{CANARY}` does not exist"),
    "echoed by a gateway": Fault(status=200, body=f"<html>{ECHO}</html>"),
    "echoed in an answer": Fault(
        status=200,
        body={
            "id": "1",
            "model": "made",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": ECHO}}],
        },
    ),
}


@pytest.fixture
def elsewhere() -> Iterator[ProviderServer]:
    """A server that the key is not for."""
    with ProviderServer() as running:
        yield running


def ran(folder: Path, server: ProviderServer, **more: str) -> "subprocess.CompletedProcess[bytes]":
    """A run with the key in its environment; what it said is kept beside what it wrote."""
    (folder / "p.yaml").write_text(PIPELINE.format(url=server.url), encoding="utf-8")
    (folder / "tmp").mkdir(exist_ok=True)
    settings = {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp"), "OPENAI_LOG": "debug"}
    done = subprocess.run(
        [sys.executable, "-m", "synth", "run", "p.yaml"],
        cwd=folder,
        env=os.environ | settings | {"CANARY_KEY": CANARY} | more,
        preexec_fn=(lambda: _at_most(int(more["MOST_BYTES"]))) if "MOST_BYTES" in more else None,
        capture_output=True,
        timeout=120,
        check=False,
    )
    number = len(list(folder.glob("said-*")))
    (folder / f"said-{number}").write_bytes(done.stdout + done.stderr)
    return done


def _at_most(size: int) -> None:
    """Let no file of this process grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def seen(folder: Path) -> list[str]:
    """Where the key, or half of it, is to be seen. A Parquet file is also looked at unpacked."""
    key = CANARY.encode()
    looks = [key, key[3:23], key[-20:], base64.b64encode(key)[:40], key.hex().encode()]
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes() + str(path).encode()
        if path.suffix == ".parquet":
            content += repr(pq.read_table(path).to_pylist()).encode()
        found += [f"{path}: {look!r}" for look in looks if look in content]
    return found


@pytest.fixture
def folder(project: Path, write_lines: WriteLines) -> Path:
    """A project with questions."""
    write_lines("questions.jsonl", *({"prompt": f"Question {number}?"} for number in range(ROWS)))
    return project


def test_a_key_that_is_there_is_found(folder: Path) -> None:
    (folder / "leak").write_text(f"x{CANARY}y", encoding="utf-8")
    assert seen(folder)


@pytest.mark.slow
def test_the_key_is_nowhere_after_failures_that_a_run_survives(folder: Path, server: ProviderServer) -> None:
    server.key, server.script = CANARY, PASSING
    server._faults.extend(PASSING)
    done = ran(folder, server)
    assert done.returncode == 0, done.stderr
    assert {entry.headers["authorization"] for entry in server.log} == {f"Bearer {CANARY}"}
    assert not server._faults, "some failures did not happen"
    assert b"HTTP 400" in done.stdout, "the failures are not told at all"
    assert seen(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDING)
def test_the_key_is_nowhere_after_a_failure_that_ends_the_run(
    name: str, folder: Path, server: ProviderServer
) -> None:
    server._faults.extend([None, None, ENDING[name]])
    done = ran(folder, server)
    assert done.returncode == 3, done.stderr
    assert b"Go on with" in done.stderr
    assert seen(folder) == []


@pytest.mark.slow
def test_the_key_goes_to_no_other_host_and_is_nowhere_after_a_redirect(
    folder: Path, server: ProviderServer, elsewhere: ProviderServer
) -> None:
    target = f"{elsewhere.url}/v1/chat/completions?key={CANARY}"
    server._faults.extend([None, Fault(status=307, headers={"Location": target}, body=target)])
    assert ran(folder, server).returncode == 3
    assert elsewhere.log == []
    assert seen(folder) == []


@pytest.mark.slow
def test_the_key_is_nowhere_after_a_full_disk_and_after_kills(folder: Path, server: ProviderServer) -> None:
    server.key = CANARY
    full = ran(folder, server, MOST_BYTES="40000")
    assert full.returncode == 5, full.stderr
    killed = ran(folder, server, SYNTH_CRASH_AT="ledger.committed:2")
    assert killed.returncode == -signal.SIGKILL
    killed = ran(folder, server, SYNTH_CRASH_AT="version.manifest")
    assert killed.returncode == -signal.SIGKILL
    assert seen(folder) == []
    assert ran(folder, server).returncode == 0
    assert seen(folder) == []


@pytest.mark.slow
def test_a_wrong_key_is_nowhere_either(folder: Path, server: ProviderServer) -> None:
    server.key = "another"
    done = ran(folder, server)
    assert done.returncode == 3
    assert b"check the key that api_key_env names" in done.stderr
    assert seen(folder) == []
