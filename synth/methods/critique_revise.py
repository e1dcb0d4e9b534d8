"""Critique and revise: an answer rewritten, one principle at a time, until it follows them.

Bai et al. 2022, "Constitutional AI: Harmlessness from AI Feedback" (arXiv:2212.08073), section 3.1, the
supervised stage: each round draws a principle, with replacement, asks for a critique of the last answer
and then for a revision, which takes its place: the next round begins anew with it as the reply, so that no
critique sees the answer before it. Worked examples come first, one of which leaves a good answer as it is.
Every revision is kept, and the `sft` view shows them all, or those of the first rounds (``up_to``).

As in section 3.5, ``critique: false`` asks for the revision at once. ``stop_if_nothing_found`` is not in the
paper: the critique may then say that it finds nothing, which ends the rounds.

Differs: the critique and the revision are turns of a chat rather than raw text, since it is meant for chat
models; examples are off unless asked for; an empty revision ends the rounds; and a critique that is cut off
at `max_tokens` is used as far as it goes, and said to be so in the row's facts.
"""

from collections.abc import AsyncGenerator
from typing import Annotated

from pydantic import Field

from synth import critique_examples
from synth.constitution import Principle
from synth.errors import Filtered
from synth.rows import APART, Answer, Message, Row
from synth.step import Bench, ConstitutionName, Each, ModelName, Names

NOTHING = "NOTHING"
CUT_OFF = "critiques_cut_off"  # the fact that names the revisions, by their places among a row's answers

ExamplesName = Annotated[str, Names("seeds", critique_examples.read)]


class CritiqueRevise(Each):
    """Rewrite the last answer of a row `rounds` times.

    Needs: a row with an answer. Gives: the same row with up to `rounds` more answers, each with its parent,
    its principle and its critique. Costs: 2 calls a round, 1 with ``critique: false``.
    """

    model: ModelName
    constitution: ConstitutionName = "harmless"
    rounds: int = Field(4, ge=1, description="the paper makes 4 revisions a prompt")
    critique: bool = Field(True, description="false: ask for the revision at once")
    examples: ExamplesName | None = Field(None, description="worked examples, such as `critique_examples`")
    stop_if_nothing_found: bool = Field(False, description="let a critique end the rounds; not in the paper")
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(512, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its revisions."""
        if not row.answers:
            raise Filtered("no_answer")
        cut_off: list[int] = []
        for number in range(self.rounds):
            if not row.answers[-1].text:
                break
            faults, revised = await self._revised(row, number, bench)
            if revised is None:
                row = row.noted(bench.step, nothing_found_in_round=number + 1)
                break
            row = row.answered(revised)
            if faults.finish == "length":
                cut_off.append(len(row.answers) - 1)
        yield row.noted(bench.step, **{CUT_OFF: cut_off}) if cut_off else row

    async def _revised(self, row: Row, number: int, bench: Bench) -> tuple[Answer, Answer | None]:
        """The critique of the last answer in round `number`, from 0, and the revision.

        The critique is empty if none was asked for; there is no revision if it found nothing.
        """
        principle = bench.constitution(self.constitution).draw(bench.chance(row.id, number))
        chat = [*self._shown(bench), *row.prompt, Message("assistant", row.answers[-1].text)]
        faults = Answer("")
        if self.critique:
            chat.append(Message("user", self._critique_request(principle, bench)))
            faults = await self._say(chat, row, bench)
            if self.stop_if_nothing_found and says_nothing(faults.text):
                return faults, None
            chat.append(Message("assistant", faults.text))
        chat.append(Message("user", self._revision_request(principle, bench)))
        better = await self._say(chat, row, bench)
        revised = Answer(
            text=better.text,
            step=bench.step,
            parent=len(row.answers) - 1,
            principle=principle.id,
            critique=faults.text if self.critique else None,
            finish=better.finish,
            calls=faults.calls + better.calls,
            model=self.model,
        )
        return faults, revised

    def _critique_request(self, principle: Principle, bench: Bench) -> str:
        return bench.prompt("critique_revise/critique.md").fill(
            principle=principle, may_find_nothing=NOTHING if self.stop_if_nothing_found else ""
        )

    def _revision_request(self, principle: Principle, bench: Bench) -> str:
        return bench.prompt("critique_revise/revise.md").fill(principle=principle)

    def _shown(self, bench: Bench) -> list[Message]:
        """The worked examples as earlier turns, each under the principle that it was written for."""
        turns: list[Message] = []
        for example in bench.file("seeds", self.examples, critique_examples.read) if self.examples else ():
            turns += [Message("user", example.prompt), Message("assistant", example.answer)]
            if self.critique:
                turns.append(Message("user", self._critique_request(example.principle, bench)))
                turns.append(Message("assistant", example.critique))
            turns.append(Message("user", self._revision_request(example.principle, bench)))
            turns.append(Message("assistant", example.revision))
        return turns

    async def _say(self, chat: list[Message], row: Row, bench: Bench) -> Answer:
        """What the model says: in every round, and in further steps, a fresh sample."""
        reply = await bench.model(self.model).ask(
            chat,
            sample=row.occurrence + APART * len(row.answers),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return Answer(reply.text.strip(), finish=reply.finish, calls=(reply.key,))

    def calls(self, rows: float) -> float:
        """2 a round, or 1."""
        return rows * (1 + self.critique) * self.rounds


def says_nothing(critique: str) -> bool:
    """Whether a critique says, as it was asked to, that there is nothing to criticise."""
    return critique.strip(" \n.*\"'`").upper() == NOTHING
