"""Alpaca: new tasks with input and output, twenty to a reply, from a model that is shown three.

Taori et al. 2023, "Stanford Alpaca", its code at 761dc5b (``generate_instruction.py``): a request holds a
list of requirements and 3 seed tasks, never one that the model made; the reply goes on from the fourth task;
each block is an instruction, an input and an output; admitted is what differs from all, as in self-instruct.
The decoding is the original's: temperature 1, top_p 1, 3072 tokens, three stop sequences, of which "20."
also cuts a text in the middle of "2020.".

Differs: the original forbids the end-of-text token by a logit bias, for which a request of ours has no
field; each row says that it was left out. In the mode ``modern`` blocks are told apart by numbers at the
start of a line, "No input" and "N/A" are no input too, an empty output is dropped, "write a program" is
in any casing, and words are Unicode; the mode ``faithful`` does as the original does.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from synth import assets, seeds
from synth.growth import Asked, Growth, Known
from synth.instructions import UNFIT_ALPACA, Candidate, Form, blocks, reason_unfit
from synth.rows import Answer, Row
from synth.seeds import SeedTask
from synth.step import Bench, SeedTasksName

TASKS = 20


class Alpaca(Growth):
    """Make `count` new tasks, each with its answer.

    Needs: seed tasks. Gives: a row a task: instruction and input as the prompt, the output as its answer.
    Costs: 1 long call for up to 16 tasks, and up to `lag` more at the end.
    """

    seeds: SeedTasksName = "general"
    shown: int = Field(3, ge=1, lt=TASKS, description="seed tasks that a request shows")
    top_p: float | None = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(3072, ge=1)
    ascii_only: bool = Field(
        True, description="drop what does not begin in ASCII, as the original does; false for other scripts"
    )
    never_sent: ClassVar[tuple[str, ...]] = ("logit_bias",)
    yield_: ClassVar[float] = 10.0

    def tasks(self, folder: Path) -> list[SeedTask]:
        """The seed tasks, of which the first instance counts."""
        return seeds.read(assets.find("seeds", self.seeds, folder))

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """More to show than there is."""
        if (there := len(self.tasks(folder))) < self.shown:
            yield "shown", f"{self.seeds!r} has only {there} seed tasks"

    def asked(self, known: Known, number: int, bench: Bench) -> Asked:
        """The requirements, and 3 tasks in full."""
        dice = random.Random(bench.chance("request", number))
        shown = dice.sample(list(known.tasks), self.shown)
        text = bench.prompt("alpaca/tasks.md").fill(
            total=TASKS, tasks=[_shown(task) for task in shown], chat=not self.raw(bench)
        )
        return Asked(text, self.shown + 1, TASKS)

    def stops(self, end: int) -> tuple[str, ...]:
        """The original's three, of which two are equal."""
        return f"\n{end}", f"{end}.", f"{end}."

    def candidates(self, text: str, form: Form) -> list[Candidate]:
        """The blocks."""
        return blocks(text, form, self.mode)

    def reason_unfit(self, candidate: Candidate) -> str | None:
        """By the original's filters."""
        return reason_unfit(
            candidate.instruction, UNFIT_ALPACA, any_case=self.mode == "modern", ascii_only=self.ascii_only
        )

    def row(self, row: Row, candidate: Candidate, bench: Bench) -> Row:
        """`row` with its answer, and the three parts as the released data name them."""
        answer = Answer(candidate.output, bench.step, calls=row.calls, model=self.model)
        known = {"instruction": candidate.instruction, "input": candidate.input, "output": candidate.output}
        return row.answered(answer).noted(bench.step, **known)


def _shown(task: SeedTask) -> dict[str, str]:
    input_, output = task.instances[0]
    return {
        "instruction": " ".join(task.instruction.split()).rstrip(":"),
        "input": input_ or "<noinput>",
        "output": output,
    }
