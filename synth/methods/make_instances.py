"""Make instances: inputs and outputs for an instruction, several from one reply.

Wang et al. 2022, "Self-Instruct" (arXiv:2212.10560), sections 2.2 and 2.3 and its code at 0b26cca
(``generate_instances.py``, ``prepare_for_finetuning.py``). For a classification the label comes first and
then an input for it, since inputs made first would nearly all have one label; for other tasks the input
comes first. Greedy, presence penalty 1.5, 300 tokens for a classification and 350 else, at most 5 instances.
The prompt of an instance is written in a form drawn for it; half of the inputs lose their field name.

Differs: the original takes 300 tokens for the whole batch if one of it is a classification; its two few-shot
texts and its forms are in our own words, and a row is a chat, so that no end-of-text is written. A seed task
is no row of ours: a pipeline joins those that it wants. How a reply is read, `synth.instances` says.
"""

import random
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from pydantic import Field

from synth import instances
from synth.errors import Filtered
from synth.growth import adapted, is_stopped
from synth.instances import Instance, Instances
from synth.instructions import Mode
from synth.models.base import Reply
from synth.models.client import Model
from synth.rows import Answer, Message, Row
from synth.step import Bench, Each, ModelName

FORMS = {True: 6, False: 4}  # ways to write a task down, with an input and without
HALF = 0.5  # of the inputs lose their field name


class MakeInstances(Each):
    """Turn an instruction into up to `most` rows, each with an input, if it needs one, and an answer.

    Needs: a row whose prompt is an instruction; `classify_tasks` before it, or else no task counts as a
    classification. Gives: a row an instance. Costs: 1 call.
    """

    model: ModelName
    most: int = Field(5, ge=1, description="instances of an instruction")
    mode: Mode = Field(
        "modern", description="faithful: splits replies as the original code does, flaws included"
    )
    presence_penalty: float | None = Field(1.5, ge=-2, le=2)
    max_tokens: int = Field(350, ge=1)
    max_tokens_classification: int = Field(300, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield a row an instance."""
        instruction = row.prompt[-1].content.strip()
        classification = is_classification(row)
        reply = await self._ask(instruction, row, bench, classification=classification)
        text = self._cut(reply.text, bench.model(self.model))
        cut_off = reply.finish == "length" and reply.text.endswith(text)
        found = instances.read(text, self.mode, classification=classification, cut_off=cut_off)
        if not found.kept:
            raise Filtered("conflicting_outputs" if found.conflict else "no_instance")
        for new in self._rows(row, found, reply, bench):
            yield new

    async def _ask(self, instruction: str, row: Row, bench: Bench, *, classification: bool) -> Reply:
        model = bench.model(self.model)
        raw = model.can("complete")
        prompt = bench.prompt(f"make_instances/{'output' if classification else 'input'}_first.md")
        text = prompt.fill(instruction=instruction, most=self.most, chat=not raw)
        return await model.ask(
            [Message("user", f"{text}\n" if raw else text)],
            kind="complete" if raw else "chat",
            sample=row.occurrence,
            stop=(f"Example {self.most + 1}", "Task:") if raw else (),
            temperature=0.0,
            presence_penalty=self.presence_penalty,
            max_tokens=self.max_tokens_classification if classification else self.max_tokens,
            **({"top_p": 0.0, "frequency_penalty": 0.0} if self.mode == "faithful" else {}),
        )

    def _cut(self, text: str, model: Model) -> str:
        """`text` as far as it would have gone, had the model been given the stop sequences."""
        if is_stopped(model):
            return text
        return instances.up_to_line(text, f"Example {self.most + 1}", "Task:")

    def _rows(self, row: Row, found: Instances, reply: Reply, bench: Bench) -> Iterator[Row]:
        """The rows of what was found: at most `most`, drawn, and no prompt with the same output twice."""
        dice = random.Random(bench.chance(row.id))
        places = sorted(dice.sample(range(len(found.kept)), min(self.most, len(found.kept))))
        told: dict[tuple[str, str], Instance] = {}
        for place in places:
            prompt = self._prompt(row, found.kept[place], bench.chance(row.id, place + 1), bench)
            told.setdefault((prompt, found.kept[place][1]), found.kept[place])
        found.dropped["beyond_most"] += len(found.kept) - len(places)
        found.dropped["duplicate"] += len(places) - len(told)
        known = {
            "instruction": row.prompt[-1].content.strip(),
            "order": "output_first" if is_classification(row) else "input_first",
            "instances": len(told),
            "dropped": dict(+found.dropped),
            "origin": adapted(bench.model(self.model), "line"),
        }
        for number, ((prompt, output), (input_, _)) in enumerate(told.items()):
            answer = Answer(output, bench.step, calls=(reply.key,), model=self.model)
            new = row.child(
                bench.step,
                number,
                prompt=(*row.prompt[:-1], Message("user", prompt)),
                answers=(answer,),
                calls=(*row.calls, reply.key),
            )
            yield new.noted(bench.step, **known, instance=number, input=input_, output=output)

    def _prompt(self, row: Row, instance: Instance, chance: str, bench: Bench) -> str:
        """The task of `instance` written down, as `chance` has it."""
        dice = random.Random(chance)
        bare = dice.random() < HALF
        input_ = instances.without_field_name(instance[0], self.mode) if bare else instance[0]
        form = dice.randrange(FORMS[bool(input_)])
        blanks = {"instruction": row.prompt[-1].content.strip(), "input": input_, "form": form}
        return bench.prompt("make_instances/encoded.md").fill(**blanks)

    def calls(self, rows: float) -> float:
        """1 a row."""
        return rows

    def rows_out(self, rows: float, folder: Path) -> float:
        """Between one and two a row, as in the paper's data."""
        return rows * 1.6


def is_classification(row: Row) -> bool:
    """What the last step that looked at it says of the task of `row`."""
    known = [facts for facts in row.facts.values() if isinstance(facts, dict)]
    said = [facts["is_classification"] for facts in known if "is_classification" in facts]
    return bool(said and said[-1])
