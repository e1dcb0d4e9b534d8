"""Seed tasks as rows: what people wrote, with its answer, to be joined to what a model made of it.

Wang et al. 2022, "Self-Instruct", code at 0b26cca (``prepare_for_finetuning.py``, ``--include_seed_tasks``).
"""

from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path

from synth import assets
from synth import seeds as seed_tasks
from synth.instructions import Candidate
from synth.rows import Answer, Message, Row, sourced
from synth.step import Bench, SeedTasksName, Source


class SeedTasks(Source):
    """Read the seed tasks in `seeds`.

    Needs: nothing. Gives: a row an instance: instruction and input as the prompt, the output as its answer.
    Costs: nothing.
    """

    seeds: SeedTasksName = "general"

    async def begin(self, bench: Bench) -> AsyncGenerator[Row]:
        """Yield a row an instance."""
        seen: Counter[str] = Counter()
        for task in bench.file("seeds", self.seeds, seed_tasks.read):
            for input_, output in task.instances:
                prompt = (Message("user", Candidate(task.instruction, input_).asks),)
                known = {"instruction": task.instruction, "input": input_, "output": output}
                kind = {"is_seed": True, "is_classification": task.is_classification}
                known_to = {bench.step: known | kind}
                row = sourced(prompt, seen[prompt[0].content], known_to)
                seen[prompt[0].content] += 1
                yield row.answered(Answer(output, bench.step))

    def rows_out(self, rows: float, folder: Path) -> float:
        """As many as the file has instances."""
        tasks = seed_tasks.read(assets.find("seeds", self.seeds, folder))
        return sum(len(task.instances) for task in tasks)
