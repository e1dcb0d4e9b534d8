"""Preference: a chosen and a rejected answer, derived from raw judgements.

Labels are derived here and nowhere else, so that another rule is another view and not another bill. A
pair's soft label is the mean over the orders in which it was asked (Lee et al. 2023). Answers that were
scored alone are compared best against worst. What has no readable judgement, is a tie, or is a pair of which
the two orders name different answers, is left out and counted; so is a pair with an answer that is empty or
cut off. None becomes a label.

Differs from Lee et al.: they keep a pair whose orders disagree, with a soft label near one half, since their
reward model reads soft labels. A training that reads only which is chosen would take position for preference.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pydantic import Field

from synth.rows import Judgment, Row
from synth.store.views import CHAT, LeftOut, View, chat, reply, unfit


class Preference(View):
    """Explicit prompt, chosen, rejected; a line a pair.

    ``p_chosen`` is the soft label in (0.5, 1], null where answers were scored alone; ``score_gap`` is the
    difference of their scores, in nats a token, null for pairs; ``orders`` says how many orders were asked
    and ``agreed`` whether they named the same answer.
    """

    columns = pa.schema(
        [
            ("id", pa.string()),
            ("prompt", CHAT),
            ("chosen", CHAT),
            ("rejected", CHAT),
            ("judge", pa.string()),
            ("principle", pa.string()),
            ("p_chosen", pa.float64()),
            ("score_gap", pa.float64()),
            ("orders", pa.int64()),
            ("agreed", pa.bool_()),
        ]
    )

    judge: str | None = Field(None, description="id of the judging step to go by; the last one if left out")
    least_margin: float = Field(
        0.0,
        ge=0,
        description="a pair this close to even, or closer, is a tie: as a probability for pairs that were "
        "asked about, in nats a token for answers that were scored alone",
    )
    require_agreement: bool = Field(
        True,
        description="leave out a pair whose two orders name different answers; false keeps its averaged "
        "soft label, as Lee et al. do, for a training that reads p_chosen",
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the labelled pairs of `row`."""
        judge = self.judge or (row.judgments[-1].step if row.judgments else None)
        judgments = [judgment for judgment in row.judgments if judgment.step == judge]
        pairs = defaultdict[tuple[int, ...], list[Judgment]](list)
        for judgment in judgments:
            if judgment.kind == "pair":
                pairs[judgment.candidates].append(judgment)
        if not judgments:
            yield LeftOut("not_judged")
        for judged in pairs.values():
            yield self._asked(row, judged)
        scored = [judgment for judgment in judgments if judgment.kind == "likelihood"]
        if scored:
            yield self._scored(row, scored)

    def _asked(self, row: Row, judged: Sequence[Judgment]) -> dict[str, Any] | LeftOut:
        """The label of one pair, from the judgements of it."""
        values = [judgment.value for judgment in judged if judgment.value is not None]
        if len(values) < len(judged):
            return LeftOut(
                next(judgment.unreadable or "unreadable" for judgment in judged if judgment.unreadable)
            )
        if reason := unfit(row.answers[judged[0].candidates[0]]) or unfit(
            row.answers[judged[0].candidates[1]]
        ):
            return LeftOut(reason)
        p_first = sum(values) / len(values)
        if abs(p_first - 0.5) <= self.least_margin:
            return LeftOut("tie")
        first, second = judged[0].candidates
        better, worse = (first, second) if p_first > 0.5 else (second, first)
        agreed = all(value > 0.5 for value in values) or all(value < 0.5 for value in values)
        if self.require_agreement and not agreed:
            return LeftOut("orders_disagree")
        return self._line(row, better, worse, judged[0]) | {
            "p_chosen": max(p_first, 1 - p_first),
            "orders": len(values),
            "agreed": agreed if len(values) > 1 else None,
        }

    def _scored(self, row: Row, scored: Sequence[Judgment]) -> dict[str, Any] | LeftOut:
        """The best against the worst of answers that were scored alone."""
        by_score = sorted(
            (judgment.value, judgment.candidates[0])
            for judgment in scored
            if judgment.value is not None and not unfit(row.answers[judgment.candidates[0]])
        )
        if len(by_score) < 2:
            return LeftOut("fewer_than_two_fit_answers")
        (low, worse), (high, better) = by_score[0], by_score[-1]
        if high - low <= self.least_margin or row.answers[better].text == row.answers[worse].text:
            return LeftOut("tie")
        return self._line(row, better, worse, scored[0]) | {"score_gap": high - low}

    def _line(self, row: Row, better: int, worse: int, judgment: Judgment) -> dict[str, Any]:
        low, high = sorted((better, worse))
        return {
            "id": f"{row.id}:{low:04}-{high:04}",
            "prompt": chat(*row.prompt),
            "chosen": reply(row.answers[better].text),
            "rejected": reply(row.answers[worse].text),
            "judge": judgment.step,
            "principle": judgment.principle,
            "p_chosen": None,
            "score_gap": None,
            "orders": None,
            "agreed": None,
        }
