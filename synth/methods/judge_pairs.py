"""Judge pairs: which of two answers is better, asked of a model in both orders.

Bai et al. 2022 (arXiv:2212.08073), section 4.1: one principle a comparison, and the label is the
normalised probability of (A) against (B). Asking in both orders is Lee et al. 2023, "RLAIF"
(arXiv:2309.00267): the two distributions are averaged, so that a judge that only ever likes the first place
comes out near one half, and exactly there if it is as sure of it in both orders.

Differs: a chat rather than raw text with few-shot examples. Every raw judgement is kept with its order,
and nothing is averaged here: a view derives the label.
"""

import random
from collections.abc import AsyncGenerator, Iterator, Mapping
from itertools import combinations
from typing import Literal

from pydantic import Field

from synth.constitution import Principle
from synth.errors import Filtered
from synth.models.base import Capability, Reply, schema_text
from synth.rows import Judgment, Message, Row
from synth.step import Bench, ConstitutionName, Each, ModelName
from synth.verdict import VERDICT, read_verdict

TOP = 20


class JudgePairs(Each):
    """Compare answers of a row, two by two.

    Needs: a row with at least two answers. Gives: the same row with a raw judgement a call.
    Costs: 2 calls a pair, 1 with ``both_orders: false``; none for a pair of equal texts.
    """

    model: ModelName
    constitution: ConstitutionName | None = Field(None, description="one principle is drawn a comparison")
    pairs: Literal["samples", "revision", "all"] = Field(
        "samples",
        description="samples: the first two fresh answers; revision: the last revision and the answer "
        "that it began as; all: every two answers",
    )
    both_orders: bool = True
    verdict: Literal["logprobs", "schema"] = Field(
        "logprobs", description="read the letters' probabilities, or a letter from JSON"
    )

    def wants(self) -> Mapping[str, frozenset[Capability]]:
        """Log-probabilities or JSON by schema, as `verdict` says."""
        return {"model": frozenset([self.verdict])}

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its judgements."""
        pairs = list(self._pairs(row))
        if not pairs:
            raise Filtered("no_pair")
        asked = [
            self._judged(row, pair, order, bench)
            for pair in pairs
            for order in self._orders(row, pair, bench)
        ]
        yield row.judged(*await bench.ask_all(asked))

    def _pairs(self, row: Row) -> Iterator[tuple[int, int]]:
        fresh = [number for number, answer in enumerate(row.answers) if answer.parent is None]
        revised = [number for number, answer in enumerate(row.answers) if answer.parent is not None]
        if self.pairs == "all":
            yield from combinations(range(len(row.answers)), 2)
        elif self.pairs == "samples" and len(fresh) > 1:
            yield fresh[0], fresh[1]
        elif self.pairs == "revision" and revised:
            yield _origin(row, revised[-1]), revised[-1]

    def _orders(self, row: Row, pair: tuple[int, int], bench: Bench) -> list[tuple[int, int]]:
        """Both orders; or one that chance picks, so that no kind of answer always stands first."""
        orders = [pair, (pair[1], pair[0])]
        if self.both_orders:
            return orders
        return [random.Random(bench.chance(f"{row.id}:{pair[0]}-{pair[1]}:order")).choice(orders)]

    async def _judged(
        self, row: Row, pair: tuple[int, int], order: tuple[int, int], bench: Bench
    ) -> Judgment:
        """The judgement of `pair`, shown to the judge in `order`."""
        principle = self._principle(row, pair, bench)
        name = principle.id if principle else None
        texts = [row.answers[number].text for number in order]
        if texts[0] == texts[1]:
            return Judgment(bench.step, "pair", pair, order, None, "identical_answers", principle=name)
        question = bench.prompt("judge_pairs/judge.md").fill(
            conversation=row.prompt,
            first=texts[0],
            second=texts[1],
            principle=principle,
            verdict=self.verdict,
        )
        reply = await self._ask(question, bench)
        p_shown_first, censored, unreadable = read_verdict(reply, self.verdict)
        value = p_shown_first if order == pair or p_shown_first is None else 1 - p_shown_first
        return Judgment(
            bench.step,
            "pair",
            pair,
            order,
            value,
            unreadable,
            censored,
            principle=name,
            calls=(reply.key,),
            model=self.model,
        )

    def _principle(self, row: Row, pair: tuple[int, int], bench: Bench) -> Principle | None:
        """The same one for both orders of a pair."""
        if self.constitution is None:
            return None
        return bench.constitution(self.constitution).draw(bench.chance(f"{row.id}:{pair[0]}-{pair[1]}"))

    async def _ask(self, question: str, bench: Bench) -> Reply:
        model, messages = bench.model(self.model), [Message("user", question)]
        if self.verdict == "schema":
            return await model.ask(messages, schema=schema_text(VERDICT), max_tokens=32, temperature=0.0)
        return await model.ask(messages, top_logprobs=TOP, max_tokens=1, temperature=0.0)

    def calls(self, rows: float) -> float:
        """2 a pair; with ``pairs: all`` three answers are assumed."""
        return rows * (1 + self.both_orders) * (3 if self.pairs == "all" else 1)


def _origin(row: Row, number: int) -> int:
    """The fresh answer that answer `number` was revised from, however often."""
    parent = row.answers[number].parent
    return number if parent is None else _origin(row, parent)
