"""What all judges of pairs share: which answers to compare, in what order, how often, by which principle.

A judge of pairs says how it asks about one question (`PairJudge.judge`); everything else is here. So both
orders, repeated samples and a panel of models go with every kind of judge.
"""

import random
from abc import abstractmethod
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from synth.constitution import Principle
from synth.errors import Filtered
from synth.rows import APART, Judgment, Row
from synth.step import Bench, ConstitutionName, Each, ModelName

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask a judge: which of two answers of `row` is better.

    Attributes:
        pair: their indices, in their own order; `order`: the same, as the judge sees them.
        model: the pipeline's name of the judge.
        principle: what to go by, None for quality as such.
        sample: which of several askings this is.
        number: which of the row's pairs it is about.
    """

    row: Row
    pair: Pair
    order: Pair
    model: str
    principle: Principle | None
    sample: int = 0
    number: int = 0

    @property
    def texts(self) -> tuple[str, str]:
        """The answers as the judge sees them."""
        first, second = (self.row.answers[number].text for number in self.order)
        return first, second

    def unswapped(self, p_shown_first: float | None) -> float | None:
        """The probability that the pair's own first answer is better."""
        if p_shown_first is None or self.order == self.pair:
            return p_shown_first
        return 1 - p_shown_first

    def judged(self, step: str, value: float | None, **known: Any) -> Judgment:
        """The raw judgement `value`, a probability of what was shown first, with what else is `known`."""
        return Judgment(
            step,
            "pair",
            self.pair,
            self.order,
            self.unswapped(value),
            principle=self.principle.id if self.principle else None,
            sample=self.sample,
            model=self.model,
            **known,
        )


class PairJudge(Each):
    """Compare answers of a row, two by two. Override `judge`."""

    model: ModelName | list[ModelName] = Field(
        description="of several, one is drawn for each pair, as AlpacaFarm's pool of annotators is"
    )
    constitution: ConstitutionName | None = Field(None, description="one principle is drawn a comparison")
    pairs: Literal["samples", "revision", "all"] = Field(
        "samples",
        description="samples: the first two fresh answers; revision: the last revision and the answer "
        "that it began as; all: every two answers",
    )
    both_orders: bool = Field(True, description="false: chance picks one of the two orders for each pair")
    samples: int = Field(1, ge=1, description="how often each question is asked")
    temperature: float = Field(0.0, ge=0, description="0, since samples of a judge were worse than its best")

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and not self.temperature:
            raise ValueError("samples: more than one is only another if temperature is above 0")
        return self

    @abstractmethod
    async def judge(self, question: Question, bench: Bench) -> list[Judgment]:
        """The raw judgements that come of asking `question`."""

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its judgements."""
        pairs = list(self._pairs(row))
        if not pairs:
            raise Filtered("no_pair")
        questions = [
            question
            for number, pair in enumerate(pairs)
            for question in self._questions(row, pair, number, bench)
        ]
        judged = await bench.ask_all([self._judged(question, bench) for question in questions])
        yield row.judged(*(judgment for several in judged for judgment in several))

    async def _judged(self, question: Question, bench: Bench) -> list[Judgment]:
        """What comes of a question; equal or empty answers are not asked about."""
        if not all(question.texts):
            return self.unasked(question, "empty_answer", bench)
        if question.texts[0] == question.texts[1]:
            return self.unasked(question, "identical_answers", bench)
        return await self.judge(question, bench)

    def unasked(self, question: Question, reason: str, bench: Bench) -> list[Judgment]:
        """The raw judgements of a question that is not put to the judge, for `reason`."""
        return [question.judged(bench.step, None, unreadable=reason)]

    def sample(self, question: Question) -> int:
        """The sample index to ask under; at temperature 0 equal questions are one call."""
        if not self.temperature:
            return question.sample
        return question.sample + question.row.occurrence * self.samples + APART * question.number

    def _questions(self, row: Row, pair: Pair, number: int, bench: Bench) -> Iterator[Question]:
        """Every order and sample of a pair, with one judge and one principle for all of them."""
        about = f"{row.id}:{pair[0]}-{pair[1]}"
        names = [self.model] if isinstance(self.model, str) else self.model
        model = random.Random(bench.chance(f"{about}:judge")).choice(names)
        principle = bench.principle(self.constitution, bench.chance(about))
        for order in self._orders(pair, bench.chance(f"{about}:order")):
            for sample in range(self.samples):
                yield Question(row, pair, order, model, principle, sample, number)

    def _pairs(self, row: Row) -> Iterator[Pair]:
        fresh = [number for number, answer in enumerate(row.answers) if answer.parent is None]
        revised = [number for number, answer in enumerate(row.answers) if answer.parent is not None]
        if self.pairs == "all":
            yield from combinations(range(len(row.answers)), 2)
        elif self.pairs == "samples" and len(fresh) > 1:
            yield fresh[0], fresh[1]
        elif self.pairs == "revision" and revised:
            yield row.origin(revised[-1]), revised[-1]

    def _orders(self, pair: Pair, chance: str) -> list[Pair]:
        """Both orders; or one that chance picks, so that no kind of answer always stands first."""
        orders = [pair, (pair[1], pair[0])]
        return orders if self.both_orders else [random.Random(chance).choice(orders)]

    def questions(self, rows: float) -> float:
        """About how many questions `rows` rows give; three answers a row are assumed for all pairs."""
        return rows * (1 + self.both_orders) * self.samples * (3 if self.pairs == "all" else 1)


def shown(question: Question) -> Mapping[str, Any]:
    """The blanks of a judge's prompt: the conversation, the two answers and the principle."""
    first, second = question.texts
    return {
        "conversation": question.row.prompt,
        "first": first,
        "second": second,
        "principle": question.principle,
    }
