"""Best of n: of several samples that were scored alone, the best one is known, or kept and the others not.

Best of n as in Stiennon et al. 2020 (arXiv:2009.01325); rejection sampling as in Llama 2 (Touvron et al.
2023, arXiv:2307.09288, section 3.2.3); expert iteration as in AlpacaFarm (Dubois et al. 2023,
arXiv:2305.14387). What is learnt from is the completion of the highest score. The row also says what its n
samples were worth: the bound on how far the best of them lies from the model, and for n = 1, 2, 4 and so on
an unbiased estimate of the score of the best.

Differs: samples of equal text are one candidate, with the mean of their scores, but each counts as a draw in
the bound and the estimates, which are of draws. A draw that is cut off or has no score counts in n, and
leaves the row without estimates, since they would be of another choice. An answer that came from a file is
no sample: it can be the best only if that is asked for, and is never part of n.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field

from synth import best_of_n
from synth.errors import Filtered
from synth.rows import Answer, Row
from synth.scores import Scores, scores
from synth.step import Bench, Each, StepName


class BestOf(Each):
    """Find the best and the worst of a row's scored answers.

    Needs: a row whose answers a judging step scored alone. Gives: the same row with facts about its samples,
    in which answers go by the index that they had; with ``keep: best`` the best is its only answer, and
    judgements of several answers are gone. Costs: nothing.
    """

    judge: StepName | None = Field(None, description="the scoring step to go by; the last one if left out")
    aspect: str | None = Field(None, description='one aspect to go by, "" the whole; the mean if left out')
    keep: Literal["all", "best"] = Field("all", description="best: the other answers leave the row")
    include_reference: bool = Field(False, description="an answer that came from a file may be the best")
    least_margin: float = Field(
        0.0,
        ge=0,
        description="a row whose best is above its worst by less is dropped, in points of the judge",
    )
    drop_no_variance: bool = Field(
        False, description="drop a row of several answers that all have the same score"
    )

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with what its samples were worth. Of equal scores the first answer wins."""
        found = scores(row, self.judge, self.aspect)
        candidates = self._candidates(row, found)
        worth = _merged(row, found, candidates)
        if not worth:
            raise Filtered("no_scored_answer")
        best = max(worth, key=worth.__getitem__)
        worst = min(worth, key=worth.__getitem__)
        no_variance = len(candidates) > 1 and worth[best] == worth[worst]
        if self.drop_no_variance and no_variance:
            raise Filtered("no_variance")
        if worth[best] - worth[worst] < self.least_margin:
            raise Filtered("below_least_margin")
        row = row.noted(
            bench.step,
            judge=found.judge,
            best=best,
            worst=worst,
            best_is_reference=_is_reference(row.answers[best]),
            distinct=len(worth),
            zero_variance=no_variance,
            **_drawn(row, worth, candidates),
        )
        yield _only(row, best) if self.keep == "best" else row

    def _candidates(self, row: Row, found: Scores) -> list[int]:
        """The answers that may be the best, in their order."""
        return [
            number
            for number in sorted(found.of)
            if not row.answers[number].unfit
            and (self.include_reference or not _is_reference(row.answers[number]))
        ]


def _drawn(row: Row, worth: Mapping[int, float], candidates: Sequence[int]) -> dict[str, Any]:
    """What is known of the samples as draws; nothing is estimated unless all are draws of the same kind.

    The bound counts every draw, also those that cannot be chosen, and does not hold where an answer from a
    file stood among them. The estimates need the worth of every draw.
    """
    drawn = [number for number, answer in enumerate(row.answers) if not _is_reference(answer)]
    kinds = {(answer.model, answer.step, answer.parent) for answer in (row.answers[one] for one in drawn)}
    alike = len(kinds) == 1 and all(row.answers[number].parent is None for number in drawn)
    alone = set(candidates) <= set(drawn)
    by_text = {row.answers[number].text: value for number, value in worth.items()}
    values = [by_text[row.answers[number].text] for number in drawn if number in candidates]
    whole = alike and len(values) == len(drawn)
    return {
        "n": len(drawn),
        "kl_bound": best_of_n.kl_bound(len(drawn)) if alike and alone else None,
        "expected_best": {
            str(n): best_of_n.expected_best(values, n) for n in best_of_n.doublings(len(drawn)) if whole
        },
    }


def _merged(row: Row, found: Scores, candidates: list[int]) -> dict[int, float]:
    """The scores of unlike texts, each under its first answer; of equal texts the exact mean."""
    values: dict[str, list[Fraction]] = {}
    first: dict[str, int] = {}
    for number in candidates:
        text = row.answers[number].text
        values.setdefault(text, []).append(Fraction(found.of[number]))
        first.setdefault(text, number)
    return {first[text]: float(sum(several) / len(several)) for text, several in values.items()}


def _only(row: Row, number: int) -> Row:
    """`row` with one answer, and what was said of that one alone."""
    answer = replace(row.answers[number], parent=None)
    judgments = [
        replace(judgment, candidates=(0,), order=(0,))
        for judgment in row.judgments
        if judgment.candidates == (number,)
    ]
    return replace(row, answers=(answer,), judgments=tuple(judgments))


def _is_reference(answer: Answer) -> bool:
    """Whether no model of ours wrote `answer`."""
    return not answer.model
