"""Rank: several answers put in order at one look, ties allowed.

Ouyang et al. 2022, "Training language models to follow instructions with human feedback" (arXiv:2203.02155),
section 3.2 and appendix A: labellers rank K = 4 to 9 outputs of a prompt, and may call some equally good; a
ranking is up to K(K-1)/2 comparisons at the price of one.

Differs: a model ranks, and is asked for the places as JSON; the answers stand in an order that is drawn for
each asking and undone before anything is kept, since a judge that sees nine answers has nine places to
prefer. The ranking is kept whole: no pair is made of it here.
"""

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pydantic import Field

from synth.errors import Filtered
from synth.lineup import Lineup, lineups, same_texts
from synth.rows import Judgment, Message, Row
from synth.step import Bench, ConstitutionName, Each, ModelName
from synth.structured import closed, tell_json


class Rank(Each):
    """Put all answers of a row in order.

    Needs: a row with at least two answers, and at most `most` of unlike text. Gives: the same row with
    `samples` raw judgements, each of all its answers. Costs: `samples` calls, another for each whose reply
    cannot be read; none where all texts are equal.
    """

    model: ModelName
    constitution: ConstitutionName | None = Field(None, description="one principle is drawn a row")
    least: int = Field(2, ge=2, description="a row with fewer answers is dropped; the paper ranks at least 4")
    most: int = Field(9, ge=2, le=26, description="a row with more unlike answers is dropped; the paper's K")
    samples: int = Field(
        1, ge=1, description="how often to ask, each time in another order while there is one"
    )
    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(256, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its rankings."""
        groups = same_texts(row)
        if len(row.answers) < self.least:
            raise Filtered("too_few_answers")
        if len(groups) > self.most:
            raise Filtered("too_many_answers")
        if len(groups) == 1:
            [same] = groups
            yield row.judged(Judgment(bench.step, "rank", same, same, None, unreadable="identical_answers"))
            return
        shown = enumerate(lineups(row, bench.chance(row.id), self.samples))
        judged = [self._judged(row, line, sample, bench) for sample, line in shown]
        yield row.judged(*await bench.ask_all(judged))

    async def _judged(self, row: Row, line: Lineup, sample: int, bench: Bench) -> Judgment:
        principle = bench.principle(self.constitution, bench.chance(f"{row.id}:principle"))
        asked = bench.prompt("rank/rank.md").fill(conversation=row.prompt, answers=line, principle=principle)
        told = await tell_json(
            bench.model(self.model),
            [Message("user", asked)],
            places_of(line.letters),
            sample=sample,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return Judgment(
            bench.step,
            "rank",
            line.candidates,
            line.order,
            None,
            unreadable="no_ranking" if told.error else None,
            principle=principle.id if principle else None,
            calls=told.calls,
            places=() if told.error else dense(tuple(line.by_answer(told.value).values())),
            sample=sample,
            model=self.model,
        )

    def calls(self, rows: float) -> float:
        """`samples` a row."""
        return rows * self.samples


def places_of(letters: str) -> Mapping[str, Any]:
    """JSON Schema of a place for each letter; none can be left out."""
    place = {"enum": list(range(1, len(letters) + 1))}
    return closed(**dict.fromkeys(letters, place))


def dense(places: tuple[int, ...]) -> tuple[int, ...]:
    """The same order and ties in places without gaps: 1, 1, 3 and 1, 1, 2 say the same."""
    ranks = {place: rank for rank, place in enumerate(sorted(set(places)), start=1)}
    return tuple(ranks[place] for place in places)
