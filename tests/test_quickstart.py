"""The main job with the embedded model, short: what it makes, a model trained on it answers with."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from synth.errors import UserError
from synth.models.base import Request
from synth.models.embedded.weights import locate
from synth.providers.local import Local
from synth.rows import Message
from synth.store import version

ROOT = Path(__file__).parents[1]
REQUIRED = os.environ.get("SYNTH_REQUIRE_MODEL") == "1"


def fetched() -> bool:
    try:
        return locate("smollm2-135m").checkpoint is not None
    except UserError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not fetched() and not REQUIRED, reason="smollm2-135m is not on this machine"),
]


def synth(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "synth", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the quickstart's steps ran on three instructions, and nothing was trained."""
    folder = tmp_path_factory.mktemp("quickstart")
    text = (ROOT / "pipelines" / "quickstart.yaml").read_text(encoding="utf-8")
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "quickstart.yaml").write_text(
        text.partition("\ntrain:")[0] + "\n", encoding="utf-8"
    )
    synth(folder, "run", "quickstart", "--limit", "3")
    return folder


def test_the_quickstart_s_steps_run_on_the_embedded_model(project: Path) -> None:
    made = version.find("quickstart", project / "datasets")
    assert made.manifest["rows"] == 3
    assert made.manifest["steps"][0]["continued"] == 3
    assert made.manifest["judges"]["judge_pairs"]["judgments"] == 6
    assert made.manifest["judges"]["judge_likelihood"]["judgments"] == 9
    assert sum(made.manifest["views"]["critiques"]["rows"].values()) == 3


def test_a_second_run_makes_no_call_and_the_same_version(project: Path) -> None:
    said = synth(project, "run", "quickstart", "--limit", "3")
    assert ", 0 bought" in said
    assert "was there already" in said
    assert len(list((project / "datasets" / "quickstart").glob("v*"))) == 1


SCRIPTED = """
name: scripted
models: {m: {provider: scripted}}
steps:
  - self_instruct: {model: m, count: 4}
  - respond: {model: m, count: 2}
  - judge_likelihood: {model: m}
dataset: {views: [preference]}
"""


async def test_a_model_trained_on_a_version_answers_through_the_local_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path
    (project / "scripted.yaml").write_text(SCRIPTED, encoding="utf-8")
    synth(project, "run", "scripted.yaml")
    said = synth(
        project,
        *("train", "dpo", "scripted", "--base", "smollm2-135m"),
        *("--set", "steps=1", "--set", "batch_size=1", "--set", "accumulate=1", "--set", "max_length=96"),
    )
    trained = re.search(r"models/scripted/dpo-[0-9a-f]{12}", said)
    assert trained
    monkeypatch.chdir(project)
    provider = Local(model=trained[0])
    assert not provider.problems()
    request = Request(
        provider.endpoint,
        provider.name_in_key,
        (Message("user", "Say hello."),),
        max_tokens=8,
        temperature=0.0,
    )
    try:
        reply = await provider.answer(request)
    finally:
        await provider.close()
    assert reply.text.strip()
    assert str(project) not in reply.model
