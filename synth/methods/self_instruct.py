"""Self-instruct: new instructions from a model that is shown old ones, kept only if they are new.

Wang et al. 2022, "Self-Instruct" (arXiv:2212.10560), section 2.2 and its code at 0b26cca
(``bootstrap_instructions.py``), the first of its stages: a request shows 8 instructions, 6 that people wrote
and 2 that the model made; what it goes on with is split into numbered lines, filtered, and admitted if its
ROUGE-L with every known one is at most 0.7. The next stages are `classify_tasks` and `make_instances`.

In both modes, as in the original, the stop "16." also cuts a text in the middle of "in 2016.".

Differs in the mode ``modern``: an instruction keeps its case, where the original capitalises it; words are
Unicode; of a reply that was cut off only the last line is dropped, where the original drops the whole. The
mode ``faithful`` does as the original does. In both, a model that only chats is asked to go on with the
list, gets no stop sequence, and what it says is cut where the list would have ended; each row says so.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from synth import assets
from synth.growth import Asked, Growth, Known
from synth.instructions import Candidate, Form, listed, reason_unfit
from synth.seeds import SeedTask, read_instructions
from synth.step import Bench, Names

MORE = 7

InstructionsName = Annotated[str, Names("seeds", read_instructions)]


class SelfInstruct(Growth):
    """Make `count` new instructions.

    Needs: seed tasks, or prompts to start from, one a line. Gives: a row an instruction, with the instruction
    as its prompt. Costs: 1 call for every few instructions, and up to `lag` more at the end.
    """

    seeds: InstructionsName = "general"
    human: int = Field(6, ge=0, description="instructions shown that people wrote, at least")
    machine: int = Field(2, ge=0, description="instructions shown that the model made, at most")
    temperature: float = Field(0.7, ge=0)
    top_p: float | None = Field(0.5, gt=0, le=1)
    presence_penalty: float | None = Field(2.0, ge=-2, le=2)
    classification_only: bool = Field(
        False, description="show only seed tasks that are classifications, and ask for more of them"
    )
    list_of: str | None = Field(
        None, description="what the model is told that the list holds; tasks for a language model if left out"
    )
    ascii_only: bool = Field(
        True, description="drop what does not begin in ASCII, as the original does; false for other scripts"
    )
    yield_: ClassVar[float] = 2.0

    def tasks(self, folder: Path) -> list[SeedTask]:
        """The seed tasks that may be shown."""
        known = read_instructions(assets.find("seeds", self.seeds, folder))
        return [task for task in known if task.is_classification or not self.classification_only]

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Nothing to show."""
        if self.classification_only and not self.tasks(folder):
            yield "classification_only", f"none of the seed tasks of {self.seeds!r} is a classification"
        if not self.human + self.machine:
            yield "human", "nothing would be shown: human and machine are both 0"

    def stops(self, end: int) -> tuple[str, ...]:
        """The original's four."""
        return "\n\n", f"\n{end}", f"{end}.", f"{end} ."

    def asked(self, known: Known, number: int, bench: Bench) -> Asked:
        """8 instructions in random order, numbered, and the next number."""
        shown = self._shown(known, bench.chance("request", number))
        prompt = bench.prompt(f"self_instruct/instructions{'' if self.raw(bench) else '_chat'}.md")
        text = prompt.fill(
            instructions=shown,
            classification=self.classification_only,
            list_of=self.list_of,
            more=MORE,
        )
        return Asked(text, len(shown) + 1, len(shown) + 1 + MORE)

    def _shown(self, known: Known, chance: str) -> list[str]:
        dice = random.Random(chance)
        tasks = [task.instruction for task in known.tasks]
        own = dice.sample(known.admitted, min(self.machine, len(known.admitted)))
        shown = own + dice.sample(tasks, min(self.human + self.machine - len(own), len(tasks)))
        dice.shuffle(shown)
        return [" ".join(instruction.split()).rstrip(":") for instruction in shown]

    def candidates(self, text: str, form: Form) -> list[Candidate]:
        """The numbered lines."""
        return listed(text, form, self.mode)

    def reason_unfit(self, candidate: Candidate) -> str | None:
        """By the original's filters."""
        return reason_unfit(candidate.instruction, ascii_only=self.ascii_only)
