"""The open recipe of Constitutional AI: answer, critique and revision in one growing chat, one step only.

Hugging Face's llm-swarm at c3249df and alignment-handbook at 925acdf, whose authors call it Constitutional AI
with open models. It is another method than Bai et al. 2022 (arXiv:2212.08073): one principle, one revision,
and preference pairs without a judge, the revision chosen over the answer that it revises (the
`revision_pairs` view). Half of the prompts are for SFT and the other half for preferences, so that the two
do not overlap: give the views ``where: {constitutional_open.half: sft}`` and ``prefs``.

Differs: the principle is drawn from the row's id and the half from its root prompt, so that a rerun draws the
same, where the recipe's draws have no seed; prompts are read whole, where the recipe cuts them at ": ".
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from pydantic import Field

from synth.constitution import Principle
from synth.rows import APART, Answer, Message, Row, digest
from synth.step import Bench, ConstitutionName, Each, ModelName, answered


class ConstitutionalOpen(Each):
    """Answer a prompt and revise the answer once.

    Needs: a row with a prompt. Gives: the same row with two answers, and its half in the facts.
    Costs: 3 calls.
    """

    model: ModelName
    constitution: ConstitutionName = "harmless"
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(1500, ge=1)
    stop: tuple[str, ...] = Field(("User:", "###", "<|endoftext|>"), description="as the recipe has them")

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its answer and the revision."""
        principle = bench.constitution(self.constitution).draw(bench.chance(row.id))
        first = await self._say(row.prompt, row, bench)
        chat = [*row.prompt, Message("assistant", first.text), self._request("critique", principle, bench)]
        critique = await self._say(chat, row, bench)
        chat += [Message("assistant", critique.text), self._request("revise", principle, bench)]
        revised = await self._say(chat, row, bench)
        revision = replace(
            revised,
            parent=len(row.answers),
            principle=principle.id,
            critique=critique.text,
            calls=critique.calls + revised.calls,
        )
        yield row.answered(first, revision).noted(bench.step, half=half(row))

    def _request(self, name: str, principle: Principle, bench: Bench) -> Message:
        return Message("user", bench.prompt(f"constitutional_open/{name}.md").fill(principle=principle))

    async def _say(self, chat: Sequence[Message], row: Row, bench: Bench) -> Answer:
        reply = await bench.model(self.model).ask(
            chat,
            sample=row.occurrence + APART * len(row.answers),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=self.stop,
        )
        return answered(reply, bench, self.model)

    def calls(self, rows: float) -> float:
        """3 a row."""
        return rows * 3


def half(row: Row) -> str:
    """Which half of the root prompts `row` belongs to: ``sft`` or ``prefs``."""
    return "sft" if int(digest("half", row.root), 16) % 2 else "prefs"
