"""Contamination: training prompts that hold a held-out prompt are counted where a run measures."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines
from rich.console import Console

from synth import screen
from synth.audit.contamination import Contamination, contamination
from synth.pipeline import Evaluate
from synth.run import Finished
from synth.trainings.dpo import DPO
from synth.trainings.sft import SFT

PIPELINE = """
name: measured
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: asked}
  - respond: {model: m, count: 2}
  - judge_pairs: {model: m, verdict: votes}
dataset: {views: [sft, preference, instructions]}
"""
# Twenty words, all different.
HELD_OUT = (
    "A train leaves the old station at noon with forty passengers; how many remain after it "
    "stops twice tomorrow evening?"
)
WORDS = HELD_OUT.split()
HALF, MORE = (f"Say what this is: {' '.join(WORDS[:count])}" for count in (10, 11))
Counted = Callable[..., Awaitable[str]]
PAIR = {"chosen": "Thirty.", "rejected": "No."}


@pytest.fixture
def exam(write_lines: WriteLines) -> Path:
    return write_lines(
        "exam.jsonl",
        {"id": "one", "prompt": HELD_OUT, **PAIR},
        {"id": "two", "prompt": "Name three rivers in Asia.", **PAIR},
    )


@pytest.fixture
def counted(pipeline: ReadPipeline, make: Make, write_lines: WriteLines, asked: Asked, exam: Path) -> Counted:
    """Train on rows of `prompts` as far as a run's last screen is concerned: what that screen says."""

    async def run(*prompts: object, text: str = PIPELINE, measures: bool = True) -> str:
        write_lines("asked.jsonl", *({"prompt": prompt} for prompt in prompts))
        read = pipeline(text)
        version, watch = await make(read)
        both = (SFT(base="b"), DPO.model_validate({"from": "sft"}))
        read = replace(read, train=both, evaluate=Evaluate(pairs="exam") if measures else None)
        console = Console(width=400, record=True, file=StringIO())
        screen.report(Finished(version, {}), watch, read, console)
        return console.export_text()

    return run


async def test_the_last_screen_says_how_many_training_prompts_hold_most_of_a_held_out_one(
    counted: Counted,
) -> None:
    talk = [
        {"role": "user", "content": "Set me a problem."},
        {"role": "assistant", "content": HELD_OUT},
        {"role": "user", "content": "Now solve it."},
    ]
    said = await counted(HELD_OUT.upper(), MORE, HALF, talk, "name three rivers in asia", "Tell me a story.")
    assert "contamination: 3 of 6 training prompts hold most of one of 2 held-out prompts;" in said
    assert "decontaminate: {held_out: exam}" in said


async def test_that_none_does_is_said_too_and_nothing_where_nothing_is_measured(counted: Counted) -> None:
    said = await counted(HALF, "Tell me a story.")
    assert "contamination: 0 of 2 training prompts hold most of one of 2 held-out prompts\n" in said
    assert "contamination" not in await counted(HELD_OUT, measures=False)


async def test_the_filter_drops_just_what_is_counted(counted: Counted) -> None:
    prompts = (MORE, HALF, "Name three rivers in Asia!")
    assert "contamination: 2 of 3" in await counted(*prompts)
    dropping = PIPELINE.replace("  - respond", "  - decontaminate: {held_out: exam}\n  - respond")
    assert "contamination: 0 of 1" in await counted(*prompts, text=dropping)


async def test_a_prompt_counts_once_however_many_rows_and_views_it_has(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, exam: Path
) -> None:
    write_lines("asked.jsonl", *[{"prompt": HELD_OUT}] * 3, {"prompt": "Tell me a story."})
    version, _ = await make(pipeline(PIPELINE))
    assert len(list(version.rows("sft"))) > 2
    assert contamination(version, ["sft", "preference", "instructions"], exam) == Contamination(1, 2, 2)


async def test_the_test_split_is_not_trained_on_and_does_not_count(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, exam: Path
) -> None:
    write_lines("asked.jsonl", *({"prompt": f"Story {number}? {HELD_OUT}"} for number in range(8)))
    version, _ = await make(pipeline(PIPELINE.replace("{views:", "{test_fraction: 0.25, views:")))
    assert contamination(version, ["sft"], exam) == Contamination(6, 6, 2)
