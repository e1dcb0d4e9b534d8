"""The core stands alone: no torch, no embedded model, no trainer."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS_ONLY = {"torch", "transformers", "trl", "peft", "accelerate", "xllamacpp", "gguf", "ray"}

BLOCK = f"""
import sys
from importlib.machinery import PathFinder
usual = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {EXTRAS_ONLY!r} else usual(name, path, target)
PathFinder.find_spec = find_spec
from synth.cli import main
sys.argv = ["synth", *sys.argv[1:]]
raise SystemExit(main())
"""
PIPELINE = """
name: core
models: {writer: {provider: scripted}}
steps:
  - self_instruct: {model: writer, count: 5, max_similarity: 0.95}
  - respond: {model: writer, count: 2}
  - critique_revise: {model: writer, rounds: 1}
  - judge_pairs: {model: writer}
dataset: {views: [instructions, sft, preference, critiques]}
"""


def needed(requirement: Requirement, seen: set[str]) -> set[str]:
    """The names of all that `requirement` installs, itself included."""
    name = requirement.name.lower().replace("_", "-")
    if name in seen:
        return seen
    seen.add(name)
    try:
        lines = requires(requirement.name) or []
    except PackageNotFoundError:
        return seen
    extras = [*requirement.extras, ""]
    for further in map(Requirement, lines):
        if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
            needed(further, seen)
    return seen


def test_nothing_that_the_core_requires_brings_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed: set[str] = set()
    for line in project["dependencies"]:
        needed(Requirement(line), installed)
    assert {"openai", "datasets", "pandas", "numpy"} <= installed
    assert not installed & EXTRAS_ONLY


def blocked(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BLOCK, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_pipeline_that_needs_no_extra_runs_without_the_extras(tmp_path: Path) -> None:
    (tmp_path / "core.yaml").write_text(PIPELINE, encoding="utf-8")
    done = blocked(tmp_path, "run", "core.yaml")
    assert done.returncode == 0, done.stderr
    assert "datasets/core/v1-" in done.stdout
    for verb in (["list"], ["show", "core"], ["check", "core.yaml"], ["plan", "core.yaml"]):
        assert blocked(tmp_path, *verb).returncode == 0


def test_what_needs_an_extra_says_which_one(tmp_path: Path) -> None:
    local = PIPELINE.replace("{provider: scripted}", "{provider: local}")
    (tmp_path / "local.yaml").write_text(local, encoding="utf-8")
    done = blocked(tmp_path, "run", "local.yaml")
    assert done.returncode == 2
    assert "synth-feedback[local]" in done.stderr or "synth model fetch" in done.stderr
    assert "Traceback" not in done.stderr
