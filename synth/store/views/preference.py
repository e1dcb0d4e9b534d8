"""Preference: a chosen and a rejected answer, derived from raw judgements.

What judgements come to is said in `synth.labels` and `synth.scores`; here they become lines. Pairs that were
asked about give a line each, and so does every two answers of a ranking. Answers that were scored alone are
compared best against worst, or, as Zephyr does (Tunstall et al. 2023, arXiv:2310.16944, section 4), best
against another at random. What has no readable judgement, is a tie, or is a pair of which the two orders
name different answers, is left out and counted; so is a pair with an answer that is empty or cut off.
None becomes a label.

`label_noise` is AlpacaFarm's (Dubois et al. 2023, arXiv:2305.14387): a share of labels is turned round, by a
hash of the line, so always the same ones. The judgements stay clean.
"""

from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from synth.labels import Label, Rule, judged_pairs, label, panel
from synth.rows import Judgment, Row, digest
from synth.scores import ALONE, Scores, scores
from synth.store.views import CHAT, LeftOut, View, chat, reply


class Preference(View):
    """Explicit prompt, chosen, rejected; a line a pair.

    ``p_chosen`` is the soft label, null where answers were scored alone; in (0.5, 1], or below one half
    where noise turned the label round (``flipped``). ``score_gap`` is the difference of scores, null for
    pairs, and ``score_margin`` that gap as a part of the scale, in (0, 1], null for likelihoods. ``orders``
    says how many orders or rankings were read, ``agreed`` whether they named the same answer.
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
            ("score_margin", pa.float64()),
            ("orders", pa.int64()),
            ("agreed", pa.bool_()),
            ("flipped", pa.bool_()),
        ]
    )

    judge: str | list[str] | None = Field(
        None,
        description="id of the judging step to go by, or several, a panel; the last one if left out",
    )
    rule: Rule = Field(
        "agree",
        description="agree: leave out a pair whose orders name different answers; mean: keep its averaged "
        "soft label, as RLAIF does, for a training that reads p_chosen",
    )
    rejected: Literal["worst", "random"] = Field(
        "worst", description="of answers scored alone: the worst, or any but the best"
    )
    aspect: str | None = Field(
        None,
        description='of answers scored alone: one to go by, "" the answer as a whole; the mean if left out',
    )
    least_margin: float = Field(
        0.0,
        ge=0,
        description="a pair this close to even, or closer, is a tie: as a probability for pairs that were "
        "asked about, in points or nats a token for answers that were scored alone",
    )
    label_noise: float = Field(0.0, ge=0, le=0.5, description="share of labels that are turned round")

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the labelled pairs of `row`."""
        for line in self._lines(row):
            yield line if isinstance(line, LeftOut) else self._noisy(line)

    def _lines(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        judges = self._judges(row)
        judgments = [judgment for judgment in row.judgments if judgment.step in judges]
        if not judgments:
            yield LeftOut("not_judged")
        yield from self._asked(row, judges)
        for judge in judges:
            if any(judgment.kind in ALONE for judgment in judgments if judgment.step == judge):
                yield self._scored(row, scores(row, judge, self.aspect))

    def _judges(self, row: Row) -> list[str]:
        if self.judge is None:
            return [row.judgments[-1].step] if row.judgments else []
        return [self.judge] if isinstance(self.judge, str) else self.judge

    def _asked(self, row: Row, judges: list[str]) -> Iterator[dict[str, Any] | LeftOut]:
        """The label of every pair that one of `judges` was asked about, or that it ranked."""
        by_judge = {judge: judged_pairs(row, judge) for judge in judges}
        for pair in sorted({pair for pairs in by_judge.values() for pair in pairs}):
            asked = {judge: pairs[pair] for judge, pairs in by_judge.items() if pair in pairs}
            labels = {judge: label(pair, judgments) for judge, judgments in asked.items()}
            yield self._labelled(row, pair, panel(labels, self.rule), asked)

    def _labelled(
        self, row: Row, pair: tuple[int, int], said: Label | str, asked: dict[str, list[Judgment]]
    ) -> dict[str, Any] | LeftOut:
        """The line of one pair."""
        reason = said if isinstance(said, str) else None
        if reason and reason not in ("tie", "orders_disagree"):
            return LeftOut(reason)
        if unfit_ := row.answers[pair[0]].unfit or row.answers[pair[1]].unfit:
            return LeftOut(unfit_)
        if isinstance(said, str):
            return LeftOut(said)
        if abs(said.p_first - 0.5) <= self.least_margin:
            return LeftOut("tie")
        first, second = pair
        if row.answers[first].text == row.answers[second].text:
            return LeftOut("identical_answers")
        better, worse = (first, second) if said.p_first > 0.5 else (second, first)
        principle = next(iter(asked.values()))[0].principle if len(asked) == 1 else None
        return self._line(row, better, worse, judge="+".join(asked), principle=principle) | {
            "p_chosen": max(said.p_first, 1 - said.p_first),
            "orders": said.orders,
            "agreed": said.agreed,
        }

    def _scored(self, row: Row, scored: Scores) -> dict[str, Any] | LeftOut:
        """The best of answers that were scored alone, against the worst or against any other."""
        by_score = sorted(
            ((score, number) for number, score in scored.of.items() if not row.answers[number].unfit),
            key=lambda one: (-one[0], one[1]),
        )
        if len(by_score) < 2:
            return LeftOut("fewer_than_two_fit_answers")
        [(_, better), *others] = by_score
        worse = others[-1][1] if self.rejected == "worst" else self._any(row, scored, others)
        if scored.gap(better, worse) <= self.least_margin or _same(row, better, worse):
            return LeftOut("tie")
        principle = next(one.principle for one in row.judgments if one.step == scored.judge)
        return self._line(row, better, worse, judge=scored.judge, principle=principle) | {
            "score_gap": scored.gap(better, worse),
            "score_margin": scored.margin(better, worse),
        }

    def _any(self, row: Row, scored: Scores, others: list[tuple[float, int]]) -> int:
        """One of `others`, by a hash of the row: always the same one."""
        numbers = sorted(number for _, number in others)
        return numbers[int(digest("rejected", row.id, scored.judge), 16) % len(numbers)]

    def _line(
        self, row: Row, better: int, worse: int, *, judge: str, principle: str | None
    ) -> dict[str, Any]:
        low, high = sorted((better, worse))
        return {
            "id": f"{row.id}:{low:04}-{high:04}",
            "prompt": chat(*row.prompt),
            "chosen": reply(row.answers[better].text),
            "rejected": reply(row.answers[worse].text),
            "judge": judge,
            "principle": principle,
            "p_chosen": None,
            "score_gap": None,
            "score_margin": None,
            "orders": None,
            "agreed": None,
            "flipped": False,
        }

    def _noisy(self, line: dict[str, Any]) -> dict[str, Any]:
        """`line`, or, for a share of lines that a hash picks, the same with its label turned round."""
        if int(digest("noise", line["id"]), 16) / 16**24 >= self.label_noise:
            return line
        p_chosen = None if line["p_chosen"] is None else 1 - line["p_chosen"]
        turned = {"chosen": line["rejected"], "rejected": line["chosen"], "p_chosen": p_chosen}
        return line | turned | {"flipped": True}


def _same(row: Row, one: int, other: int) -> bool:
    return row.answers[one].text == row.answers[other].text
