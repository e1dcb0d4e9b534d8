"""Self-instruct: new instructions from a model that is shown old ones, kept only if they are new.

Wang et al. 2022, "Self-Instruct" (arXiv:2212.10560), section 2.2 and its code at 0b26cca, the first of its
stages: a request shows 8 instructions, 6 that people wrote and 2 that the model made; what it goes on
with is split into numbered lines, filtered, and admitted if its ROUGE-L with every known one is at most
0.7.

As in the original, an instruction that does not begin in ASCII is dropped, and the stop "16." also cuts a
text in the middle of "in 2016.".

Differs: an instruction keeps its case, where the original capitalises it, and words are Unicode; of a reply
that was cut off only the last line is dropped, where the original drops the whole; models that only chat
are asked to go on with the list. Whether an instruction is a classification, and instances for it, are
not made here: `respond` answers it.

The pool is the same however many requests are in flight: request n is drawn from the pool as it stood
when reply n - `lag` had been admitted, and replies are admitted in the order of requests.
"""

import random
import re
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import Field

from synth import assets, seeds, stream
from synth.errors import RowError
from synth.models.base import Reply
from synth.rouge import Pool
from synth.rows import Message, Row, digest, made
from synth.step import Bench, ModelName, SeedTasksName, Source

MORE = 7
_NUMBER = re.compile(r"(?:^|\n)[ \t]*(?:\*\*)?\d+[ \t]?[.)](?:\*\*)?[ \t]+")
UNFIT = re.compile(r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.IGNORECASE)
FEWEST_WORDS, MOST_WORDS = 4, 150
YIELD = 2.0  # admitted instructions a request; only `synth plan` uses it


class SelfInstruct(Source):
    """Make `count` new instructions.

    Needs: seed tasks. Gives: a row an instruction, with the instruction as its prompt.
    Costs: 1 call for every few instructions, and up to `lag` more at the end.
    """

    model: ModelName
    seeds: SeedTasksName = "general"
    count: int = Field(100, ge=1)
    human: int = Field(6, ge=0, description="instructions shown that people wrote, at least")
    machine: int = Field(2, ge=0, description="instructions shown that the model made, at most")
    max_similarity: float = Field(0.7, ge=0, le=1, description="ROUGE-L F above which one is not new")
    temperature: float = Field(0.7, ge=0)
    top_p: float | None = Field(0.5, gt=0, le=1)
    presence_penalty: float | None = Field(2.0, ge=-2, le=2)
    max_tokens: int = Field(1024, ge=1)
    lag: int = Field(8, ge=1, description="requests in flight; it decides what each one is shown")
    give_up_after: int = Field(50, ge=1, description="requests in a row without a new instruction")

    async def begin(self, bench: Bench) -> AsyncGenerator[Row]:
        """Yield a row for every instruction that is admitted."""
        tasks = [task.instruction for task in seeds.read(assets.find("seeds", self.seeds, bench.folder))]
        admitted: list[str] = []

        def request(number: int) -> Coroutine[Any, Any, Reply]:
            return self._ask(self._shown(tasks, admitted, bench.chance("request", number)), number, bench)

        async with aclosing(stream.lagged(request, self.lag)) as replies:
            async for row in self._grow(replies, Pool(tasks), admitted, bench):
                yield row

    async def _grow(
        self, replies: AsyncGenerator[Reply | RowError], pool: Pool, admitted: list[str], bench: Bench
    ) -> AsyncGenerator[Row]:
        """Admit what is new in `replies`, until there is enough or nothing new comes any more."""
        number = last_with_new = -1
        async for reply in replies:
            number += 1
            for row in self._admit(reply, number, pool, bench):
                admitted.append(row.prompt[-1].content)
                last_with_new = number
                yield row
                if len(admitted) == self.count:
                    return
            if number - last_with_new == self.give_up_after:
                idle = f"{self.give_up_after} requests in a row failed or gave nothing new"
                bench.journal.note(bench.step, f"{len(admitted)} of {self.count}: {idle}")
                return

    def _shown(self, tasks: list[str], admitted: list[str], chance: str) -> list[str]:
        """The instructions that a request shows, in random order."""
        dice = random.Random(chance)
        own = dice.sample(admitted, min(self.machine, len(admitted)))
        people = dice.sample(tasks, min(self.human + self.machine - len(own), len(tasks)))
        shown = own + people
        dice.shuffle(shown)
        return [" ".join(instruction.split()).rstrip(":") for instruction in shown]

    async def _ask(self, shown: list[str], number: int, bench: Bench) -> Reply:
        model = bench.model(self.model)
        raw = model.can("complete")
        prompt = bench.prompt(f"self_instruct/instructions{'' if raw else '_chat'}.md")
        end = len(shown) + MORE + 1
        return await model.ask(
            [Message("user", prompt.fill(instructions=shown, more=MORE))],
            kind="complete" if raw else "chat",
            sample=number,
            stop=("\n\n", f"\n{end}", f"{end}.", f"{end} .") if raw else (),
            temperature=self.temperature,
            top_p=self.top_p,
            presence_penalty=self.presence_penalty,
            max_tokens=self.max_tokens,
        )

    def _admit(self, reply: Reply | RowError, number: int, pool: Pool, bench: Bench) -> Iterator[Row]:
        """The rows of reply `number` that are new. Whatever is looked at has its fate in the journal."""
        if isinstance(reply, RowError):
            bench.journal.failed(bench.step, digest("made", bench.step, (number,)), reply)
            return
        raw = bench.model(self.model).can("complete")
        for place, text in enumerate(candidates(reply, goes_on=raw)):
            row = made(bench.step, (number, place), [Message("user", text)], (reply.key,))
            reason = self._reason_to_drop(text, pool)
            if reason:
                bench.journal.filtered(bench.step, row.id, reason, text)
            else:
                pool.add(text)
                yield row

    def _reason_to_drop(self, text: str, pool: Pool) -> str | None:
        reason = reason_unfit(text)
        if reason is None and pool.nearest(text)[0] > self.max_similarity:
            reason = "too_similar"
        return reason

    def calls(self, rows: float) -> float:
        """One for every few instructions, and what is in flight at the end."""
        return rows / YIELD + self.lag

    def rows_out(self, rows: float, folder: Path) -> float:
        """`count`."""
        return self.count


def candidates(reply: Reply, *, goes_on: bool) -> list[str]:
    """The instructions in a reply: its numbered items, white space collapsed.

    Args:
        goes_on: the reply goes on with a list whose last number was shown, so that its first words are an
            instruction. In a chat they are a preamble.
    """
    items = _NUMBER.split(reply.text)
    if reply.finish == "length":
        items = items[:-1]
    if not goes_on:
        items = items[1:]
    # What comes after an empty line is no part of the item but what a chat says at its end.
    texts = (" ".join(item.strip().split("\n\n")[0].split()) for item in items)
    return [text for text in texts if text]


def reason_unfit(text: str) -> str | None:
    """Why `text` is no instruction for a text-only model; None if it may be one."""
    words = len(text.split())
    if words < FEWEST_WORDS:
        return "too_short"
    if words > MOST_WORDS:
        return "too_long"
    if UNFIT.search(text):
        return "not_for_text"
    if text.lower().startswith("write a program"):
        return "write_a_program"
    if not text[0].isalnum():
        return "starts_with_punctuation"
    return None if text[0].isascii() else "not_ascii"
