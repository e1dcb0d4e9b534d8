"""Constrain: a prompt put under constraints, answered as it is and with one constraint relaxed, as a pair.

Lambert et al. 2024, "Tulu 3" (arXiv:2411.15124), its preferences for precise instruction following
(``tulu-3-pref-personas-instruction-following``): a reply to a prompt that lacks one constraint is the
rejected reply to the prompt that has it. Constraints are IFEval's (Zhou et al. 2023, arXiv:2311.07911).

Differs: constraints are drawn by chance and said in our words, where a model writes the prompt for a persona
and rewrites it to relax one; and code checks both replies, where Tulu 3 takes them as they come. What is no
pair by that check is dropped.
"""

import random
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import replace

from pydantic import Field

from synth.constraints import Constraint
from synth.constraints.draw import asked, draw, relaxed
from synth.constraints.modes import Mode, follows, tells_apart
from synth.errors import Filtered
from synth.rows import APART, Answer, Judgment, Message, Row
from synth.step import Bench, Each, ModelName


class Constrain(Each):
    """Put a row's prompt under constraints, and make a pair of which only one answer follows them all.

    Needs: a row whose prompt demands nothing of the kind. Gives: a child with the constraints in its prompt,
    the answer to that, the answer to the relaxed prompt, and a raw judgement of kind ``check`` for each and
    every constraint; as facts the constraints, as `verify` reads them, and which of them was relaxed. A row
    whose answers are no such pair is dropped. Costs: 2 calls.
    """

    model: ModelName
    count: int = Field(3, ge=1, le=6, description="constraints a prompt; fewer where no others go together")
    mode: Mode = Field("strict", description="how both answers are checked, as in `verify`")
    temperature: float = Field(1.0, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield the pair. Answers that the row had reply to another prompt, and are left behind."""
        dice = random.Random(bench.chance(row.id))
        drawn = draw(row.prompt[-1].content, self.count, dice)
        fewer = dice.choice(list(relaxed(drawn)))
        prompt = _put_under(row.prompt, drawn)
        chosen, rejected = await bench.ask_all(
            [self._answer(row, messages, bench) for messages in (prompt, _put_under(row.prompt, fewer))]
        )
        if unfit := chosen.unfit or rejected.unfit:
            raise Filtered(unfit)
        if not tells_apart(drawn, chosen.text, rejected.text, self.mode):
            passes = all(follows(constraint, chosen.text, self.mode) for constraint in drawn)
            raise Filtered("rejected_passes" if passes else "chosen_fails")
        child = row.child(bench.step, 0, prompt=prompt, answers=(chosen, rejected), judgments=())
        yield child.judged(*self._checks(drawn, (chosen, rejected), bench.step)).noted(
            bench.step,
            instruction_id_list=[constraint.id for constraint in drawn],
            kwargs=[constraint.model_dump(mode="json") for constraint in drawn],
            relaxed=next(constraint.id for constraint in drawn if constraint not in fewer),
            prompt=row.prompt[-1].content,
        )

    async def _answer(self, row: Row, messages: Sequence[Message], bench: Bench) -> Answer:
        reply = await bench.model(self.model).ask(
            messages,
            sample=row.occurrence + APART * len(row.answers),
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
        )
        return Answer(
            reply.text.strip(), bench.step, finish=reply.finish, calls=(reply.key,), model=self.model
        )

    def _checks(
        self, drawn: Sequence[Constraint], answers: Sequence[Answer], step: str
    ) -> Iterator[Judgment]:
        """What each answer follows. No type is drawn twice, so its name is the aspect."""
        for number, answer in enumerate(answers):
            for constraint in drawn:
                passed = follows(constraint, answer.text, self.mode)
                yield Judgment(step, "check", (number,), (number,), float(passed), aspect=constraint.id)

    def calls(self, rows: float) -> float:
        """Two a row."""
        return 2 * rows


def _put_under(prompt: Sequence[Message], constraints: Sequence[Constraint]) -> tuple[Message, ...]:
    """`prompt`, its last turn followed by what is demanded of the reply."""
    last = prompt[-1]
    text = asked(last.content, constraints) if constraints else last.content
    return (*prompt[:-1], replace(last, content=text))
