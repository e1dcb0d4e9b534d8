"""Critique and revise: an answer rewritten, one principle at a time, until it follows them.

Bai et al. 2022, "Constitutional AI: Harmlessness from AI Feedback" (arXiv:2212.08073), section 3.1, the
supervised stage: each round draws a principle, with replacement, asks for a critique of the last answer
and then for a revision, which takes its place: the next round begins anew with it as the reply, so that no
critique sees the answer before it. Every revision is kept.

Differs: the critique and the revision are turns of a chat rather than raw text with few-shot examples,
since it is meant for chat models; and an empty revision ends the rounds.
"""

from collections.abc import AsyncGenerator

from pydantic import Field

from synth.errors import Filtered
from synth.rows import APART, Answer, Message, Row
from synth.step import Bench, ConstitutionName, Each, ModelName


class CritiqueRevise(Each):
    """Rewrite the last answer of a row `rounds` times.

    Needs: a row with an answer. Gives: the same row with `rounds` more answers, each with its parent,
    its principle and its critique. Costs: 2 calls a round.
    """

    model: ModelName
    constitution: ConstitutionName = "harmless"
    rounds: int = Field(4, ge=1, description="the paper makes 4 revisions a prompt")
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(512, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its revisions."""
        if not row.answers:
            raise Filtered("no_answer")
        for number in range(self.rounds):
            if row.answers[-1].text:
                row = row.answered(await self._revised(row, number, bench))
        yield row

    async def _revised(self, row: Row, number: int, bench: Bench) -> Answer:
        """The revision of the last answer of `row` in round `number`, from 0."""
        principle = bench.constitution(self.constitution).draw(bench.chance(row.id, number))
        critique = bench.prompt("critique_revise/critique.md").fill(principle=principle)
        revise = bench.prompt("critique_revise/revise.md").fill(principle=principle)

        chat = [*row.prompt, Message("assistant", row.answers[-1].text), Message("user", critique)]
        faults = await self._say(chat, row, number, bench)
        chat += [Message("assistant", faults.text), Message("user", revise)]
        better = await self._say(chat, row, number, bench)
        return Answer(
            text=better.text,
            step=bench.step,
            parent=len(row.answers) - 1,
            principle=principle.id,
            critique=faults.text,
            finish=better.finish,
            calls=faults.calls + better.calls,
            model=self.model,
        )

    async def _say(self, chat: list[Message], row: Row, number: int, bench: Bench) -> Answer:
        """What the model says in round `number`: a fresh sample, even of a chat that was there before."""
        reply = await bench.model(self.model).ask(
            chat,
            sample=row.occurrence + APART * number,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return Answer(reply.text.strip(), finish=reply.finish, calls=(reply.key,))

    def calls(self, rows: float) -> float:
        """2 a round."""
        return rows * 2 * self.rounds
