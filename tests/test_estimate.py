"""Plans: what is said of tokens and money before anything is bought."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Make, ReadPipeline, WriteLines
from rich.console import Console

from synth import run, screen
from synth.estimate import Forecast, forecast
from synth.pipeline import Pipeline
from synth.project import Project

ROWS = 8
TEXT = """
name: planned
models:
  m: {{provider: scripted{price}}}
steps:
  - jsonl: {{path: prompts}}
  - respond: {{model: m, max_tokens: 50}}
  - critique_revise: {{model: m, constitution: harmless, rounds: 1, max_tokens: 40}}
dataset: {{views: [sft]}}
"""
PRICE = ", price: {input: 100, output: 1000}"

Read = Callable[[str], Pipeline]


@pytest.fixture
def read(pipeline: ReadPipeline, write_lines: WriteLines) -> Read:
    write_lines("prompts.jsonl", *({"prompt": f"{number}" + 39 * "x"} for number in range(ROWS)))
    return lambda price: pipeline(TEXT.format(price=price))


async def planned(read: Pipeline, project: Path, limit: int | None = None) -> dict[str, Forecast]:
    watch = await run.plan(read, Project(project), limit)
    return {each.step: each for each in forecast(read, watch, limit)}


async def test_tokens_are_those_of_the_real_prompts_and_of_answers_as_long_as_allowed(
    read: Read, project: Path
) -> None:
    plan = await planned(read(PRICE), project)
    assert plan["respond"].prompt == ROWS * 40 // 4
    assert (plan["respond"].least, plan["respond"].most) == (0, ROWS * 50)
    assert plan["respond"].usd == pytest.approx((ROWS * 10 * 100e-6, ROWS * (10 * 100e-6 + 50 * 1000e-6)))
    assert plan["critique_revise"].prompt is None, "no row reaches it without an answer"
    assert plan["jsonl"].usd == (0.0, 0.0)


async def test_what_was_found_says_how_long_answers_are(read: Read, project: Path, make: Make) -> None:
    _, watch = await make(read(PRICE), limit=4)
    bought = watch.tallies["respond", "m"]
    plan = await planned(read(PRICE), project)
    assert plan["respond"].to_buy == ROWS - 4
    assert plan["respond"].least == pytest.approx(4 * bought.completion_tokens / 4)
    assert plan["critique_revise"].prompt is not None
    done = await planned(read(PRICE), project, limit=4)
    assert {each.to_buy for each in done.values()} == {0}
    assert {each.usd for each in done.values()} == {(0.0, 0.0)}


async def test_the_screen_says_what_is_not_known(read: Read, project: Path) -> None:
    console = Console(width=200, record=True)
    text = read(PRICE)
    screen.planned(text, await run.plan(text, Project(project)), None, console)
    said = console.export_text()
    assert "tokens to send" in said
    assert "USD: not known" in said
    assert "Nothing was bought" in said
