"""Ranked: all answers of a prompt with their places, for a reward model that learns from whole rankings.

Ouyang et al. 2022 (arXiv:2203.02155), section 3.5: all K(K-1)/2 comparisons of a prompt are one element of a
batch, weighted by their number, which a line a pair cannot say. Several rankings of the same answers are
one line, by mean place. Ties stay ties: they make no pair, and they count in K.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import pyarrow as pa
from pydantic import Field

from synth.rows import Judgment, Row
from synth.store.views import CHAT, LeftOut, View, chat, reply


class Ranked(View):
    """Prompt, completions and the place of each, 1 the best; equal places are a tie.

    ``rankings`` says of how many rankings ``places`` is the mean order. Equal texts show once.
    """

    columns = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", CHAT),
            ("completions", pa.list_(CHAT)),
            ("places", pa.list_(pa.int64())),
            ("judge", pa.string()),
            ("principle", pa.string()),
            ("rankings", pa.int64()),
        ]
    )

    judge: str | None = Field(None, description="id of the ranking step to go by; the last one if left out")

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the ranking of `row`, and why answers or rankings are no part of it."""
        ranked = [judgment for judgment in row.judgments if judgment.kind == "rank"]
        judge = self.judge or (ranked[-1].step if ranked else None)
        judged = [judgment for judgment in ranked if judgment.step == judge]
        if not judged:
            yield LeftOut("not_ranked")
        by_candidates = defaultdict[tuple[int, ...], list[Judgment]](list)
        for judgment in judged:
            if judgment.unreadable:
                yield LeftOut(judgment.unreadable)
            else:
                by_candidates[judgment.candidates].append(judgment)
        for several in by_candidates.values():
            yield from self._ranking(row, several)

    def _ranking(self, row: Row, judged: Sequence[Judgment]) -> Iterator[dict[str, Any] | LeftOut]:
        """The line of all readable rankings of the same answers."""
        means = _mean_places(judged)
        fit: list[int] = []
        for number in means:
            if reason := row.answers[number].unfit:
                yield LeftOut(reason)
            elif row.answers[number].text not in (row.answers[earlier].text for earlier in fit):
                fit.append(number)
        levels = sorted({means[number] for number in fit})
        if len(levels) < 2:
            yield LeftOut("tie" if len(fit) > 1 else "fewer_than_two_fit_answers")
            return
        yield {
            "id": f"{row.id}:{'-'.join(f'{number:04}' for number in fit)}",
            "prompt": chat(*row.prompt),
            "completions": [reply(row.answers[number].text) for number in fit],
            "places": [levels.index(means[number]) + 1 for number in fit],
            "judge": judged[0].step,
            "principle": judged[0].principle,
            "rankings": len(judged),
        }


def _mean_places(judged: Sequence[Judgment]) -> dict[int, Fraction]:
    """The mean place of each answer, exact, so that what ties does not hang on rounding."""
    places = zip(*(judgment.places for judgment in judged), strict=True)
    return {
        number: Fraction(sum(several), len(several))
        for number, several in zip(judged[0].candidates, places, strict=True)
    }
