"""Classify tasks: whether an instruction is a classification, which decides how its instances are made.

Wang et al. 2022, "Self-Instruct" (arXiv:2212.10560), section 2.2 and its code at 0b26cca
(``identify_clf_or_not.py``): 12 solved examples of classifications and 19 of other tasks, greedy, at most 3
tokens. Only the words Yes, yes and YES, and nothing beside them, make a classification.

Differs: the examples are seed tasks of ours. In the mode ``modern`` neither top_p nor penalties are sent,
which change nothing in a greedy reply and which some servers refuse at 0; ``faithful`` sends them.
"""

import heapq
from collections.abc import AsyncGenerator, Sequence

from pydantic import Field

from synth import seeds
from synth.growth import adapted
from synth.instructions import Mode
from synth.rows import Message, Row, digest
from synth.seeds import SeedTask
from synth.step import Bench, Each, ModelName, SeedTasksName

STOPS = ("\n", "Task")
POSITIVE = ("Yes", "yes", "YES")
GREEDY = {"top_p": 0.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}


class ClassifyTasks(Each):
    """Say of each instruction whether it is a classification.

    Needs: a row whose prompt is an instruction. Gives: the same row, with ``is_classification`` and what the
    model said in its facts. Costs: 1 short call.
    """

    model: ModelName
    seeds: SeedTasksName = Field("general", description="where the solved examples come from")
    positive: int = Field(12, ge=0, description="solved examples that are classifications, at most")
    negative: int = Field(19, ge=0, description="solved examples that are not, at most")
    mode: Mode = "modern"
    max_tokens: int = Field(3, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with the answer."""
        model = bench.model(self.model)
        raw = model.can("complete")
        tasks = bench.file("seeds", self.seeds, seeds.read)
        prompt = bench.prompt("classify_tasks/classify.md").fill(
            examples=self._examples(tasks), instruction=row.prompt[-1].content.strip(), chat=not raw
        )
        reply = await model.ask(
            [Message("user", prompt)],
            kind="complete" if raw else "chat",
            sample=row.occurrence,
            stop=STOPS if raw else (),
            temperature=0.0,
            max_tokens=self.max_tokens,
            **(GREEDY if self.mode == "faithful" else {}),
        )
        yield row.noted(
            bench.step,
            is_classification=answered(reply.text, raw=raw) in POSITIVE,
            said=reply.text,
            call=reply.key,
            origin=adapted(model, "line"),
        )

    def _examples(self, tasks: Sequence[SeedTask]) -> list[SeedTask]:
        """The same for every row and every run: those whose digests come first, which mixes both kinds."""
        wanted = {True: self.positive, False: self.negative}
        chosen = [
            task
            for kind, count in wanted.items()
            for task in heapq.nsmallest(count, (t for t in tasks if t.is_classification is kind), key=_place)
        ]
        return sorted(chosen, key=_place)

    def calls(self, rows: float) -> float:
        """1 a row."""
        return rows


def answered(text: str, *, raw: bool) -> str:
    """What was said before the first stop sequence, whether or not the model was given any.

    A completion (`raw`) that begins with a new line says nothing; a chat may begin with some.
    """
    return (text if raw else text.lstrip()).split("\n")[0].split("Task")[0].strip()


def _place(task: SeedTask) -> str:
    return digest("example", task.instruction)
