"""From a row to its calls."""

from pathlib import Path

import pytest
from conftest import Make, ReadPipeline, WriteLines
from rich.console import Console

from synth.errors import UserError
from synth.explain import explain, shown
from synth.project import Project
from synth.store.version import Version

TEXT = """
name: told
models:
  m: {provider: scripted}
steps:
  - jsonl: {path: prompts}
  - respond: {model: m, count: 2}
  - critique_revise: {model: m, constitution: harmless, rounds: 1}
  - judge_pairs: {model: m, constitution: harmless}
dataset: {views: [instructions, critiques, preference]}
"""


@pytest.fixture
async def version(pipeline: ReadPipeline, make: Make, write_lines: WriteLines) -> Version:
    write_lines("prompts.jsonl", *({"prompt": f"Question {number}?"} for number in range(3)))
    return (await make(pipeline(TEXT)))[0]


async def test_every_part_of_a_row_names_its_step_and_its_call(version: Version, project: Path) -> None:
    [line, *_] = version.rows("critiques")
    row, parts = explain(version, line["id"], Project(project).ledger)
    assert line["id"].startswith(row)
    steps = [part.step for part in parts]
    assert steps == ["respond"] * 2 + ["critique_revise"] * 2 + ["judge_pairs"] * 2
    texts = [part.outcome.reply.text for part in parts if part.outcome and part.outcome.reply]
    assert len(texts) == len(parts)
    assert line["critique"] in texts
    assert line["revision"] in texts


async def test_what_is_shown_holds_views_prompts_models_and_tokens(version: Version, project: Path) -> None:
    [line, *_] = version.rows("instructions")
    console = Console(width=250, record=True)
    row, parts = explain(version, line["id"][:8], Project(project).ledger)
    shown(version, row, parts, console)
    said = console.export_text()
    assert "view critiques, train" in said
    assert "calls behind it" in said
    assert line["prompt"][0]["content"] in said
    assert all(part.call[:12] in said for part in parts)
    assert "scripted" in said


async def test_calls_that_the_ledger_here_does_not_have_are_said(version: Version, project: Path) -> None:
    [line, *_] = version.rows("instructions")
    Project(project).ledger.rename(project / "elsewhere")
    elsewhere = Project(project / "new")
    from synth.models.ledger import Ledger

    Ledger(elsewhere.ledger).close()
    console = Console(width=250, record=True)
    row, parts = explain(version, line["id"], elsewhere.ledger)
    shown(version, row, parts, console)
    assert console.export_text().count("not in this ledger") == len(parts)


@pytest.mark.parametrize(("row", "what"), [("zz", "no row of"), ("", "no row of")])
async def test_a_row_that_is_not_there_is_said(version: Version, project: Path, row: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        explain(version, row, Project(project).ledger)


async def test_a_beginning_that_several_rows_share_names_them(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *({"prompt": f"Question {number}?"} for number in range(40)))
    version, _ = await make(pipeline(TEXT))
    starts = [line["id"][0] for line in version.rows("instructions")]
    shared = next(start for start in starts if starts.count(start) > 1)
    with pytest.raises(UserError, match=f"{starts.count(shared)} rows of .* begin with"):
        explain(version, shared, Project(project).ledger)
