"""Preference: a chosen and a rejected answer, derived from raw judgements.

What judgements come to is said in `synth.labels` and `synth.scores`; here they become lines. Pairs that were
asked about give a line each, and so does every two answers of a ranking. Answers that were scored alone are
compared best against worst; or, as Zephyr does (Tunstall et al. 2023, arXiv:2310.16944), best against
another at random; or all against all, as FactTune does (Tian et al. 2023, arXiv:2311.08401). In a panel a
judge that scores answers alone votes for the one with the higher score.

What has no readable judgement, is a tie, or is a pair of which the two orders name different answers, is
left out and counted; so is a pair with an answer that is empty or cut off. None becomes a label.

`label_noise` is AlpacaFarm's (Dubois et al. 2023, arXiv:2305.14387): a share of labels is turned round, by a
hash of the line, so always the same ones. The judgements stay clean.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from synth.labels import Label, Rule, judged_pairs, label, panel, votes
from synth.rows import Row, digest
from synth.scores import ALONE, Scores, scores
from synth.store.views import CHAT, LeftOut, View, chat, reply

ROUNDING = 1e-12  # means of floats that should be one half come out so far from it


class Preference(View):
    """Explicit prompt, chosen, rejected; a line a pair.

    ``p_chosen`` is the soft label in (0.5, 1], null where answers were scored alone; ``flipped`` says that
    noise turned the two texts round, under the same p_chosen. ``score_gap`` is the difference of scores, null
    for pairs, and ``score_margin`` that gap as a part of the scale, in (0, 1], null for likelihoods.
    ``orders`` says how many orders or rankings were read, ``agreed`` whether they named the same answer.
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
    rejected: Literal["worst", "random", "all"] = Field(
        "worst",
        description="of answers scored alone: the worst, any but the best, or all pairs of unequal scores",
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
        elif len(judges) == 1 and any(judgment.kind in ALONE for judgment in judgments):
            yield from self._scored(row, scores(row, judges[0], self.aspect))
        else:
            yield from self._asked(row, judges)

    def _judges(self, row: Row) -> list[str]:
        if self.judge is None:
            return [row.judgments[-1].step] if row.judgments else []
        return [self.judge] if isinstance(self.judge, str) else self.judge

    def _asked(self, row: Row, judges: list[str]) -> Iterator[dict[str, Any] | LeftOut]:
        """The label of every pair that one of `judges` was asked about, ranked, or scored both answers of."""
        labels: dict[tuple[int, int], dict[str, Label | str]] = defaultdict(dict)
        for judge in judges:
            asked = {pair: label(pair, said) for pair, said in judged_pairs(row, judge).items()}
            for pair, said in (asked or votes(scores(row, judge, self.aspect).of)).items():
                labels[pair][judge] = said
        for pair, by_judge in sorted(labels.items()):
            yield self._labelled(row, pair, panel(by_judge, self.rule), list(by_judge))

    def _labelled(
        self, row: Row, pair: tuple[int, int], said: Label | str, judges: list[str]
    ) -> dict[str, Any] | LeftOut:
        """The line of one pair."""
        if isinstance(said, str) and said != "orders_disagree":
            return LeftOut(said)
        if reason := row.answers[pair[0]].unfit or row.answers[pair[1]].unfit:
            return LeftOut(reason)
        if isinstance(said, str):
            return LeftOut(said)
        if abs(said.p_first - 0.5) <= self.least_margin + ROUNDING:
            is_tie = said.even or said.agreed is not False
            return LeftOut("tie" if is_tie else "orders_disagree")
        first, second = pair
        if row.answers[first].text == row.answers[second].text:
            return LeftOut("identical_answers")
        better, worse = (first, second) if said.p_first > 0.5 else (second, first)
        return self._line(row, better, worse, judges) | {
            "p_chosen": max(said.p_first, 1 - said.p_first),
            "orders": said.orders,
            "agreed": said.agreed,
        }

    def _scored(self, row: Row, scored: Scores) -> Iterator[dict[str, Any] | LeftOut]:
        """The best of answers that were scored alone against the worst or any other, or all against all."""
        by_score = [
            number
            for number in sorted(scored.of, key=lambda number: (-scored.of[number], number))
            if not row.answers[number].unfit
        ]
        if len(by_score) < 2:
            yield LeftOut("fewer_than_two_fit_answers")
        elif self.rejected == "all":
            yield from (self._compared(row, scored, *pair) for pair in combinations(by_score, 2))
        else:
            best, *others = by_score
            worse = others[-1] if self.rejected == "worst" else self._any(row, scored, others)
            yield self._compared(row, scored, best, worse)

    def _compared(self, row: Row, scored: Scores, better: int, worse: int) -> dict[str, Any] | LeftOut:
        """The line of two answers that were scored alone."""
        gap = scored.gap(better, worse)
        if gap <= self.least_margin or row.answers[better].text == row.answers[worse].text:
            return LeftOut("tie")
        return self._line(row, better, worse, [scored.judge]) | {
            "score_gap": gap,
            "score_margin": scored.margin(better, worse),
        }

    def _any(self, row: Row, scored: Scores, others: list[int]) -> int:
        """One of `others`, by a hash of the row: always the same one."""
        numbers = sorted(others)
        return numbers[int(digest("rejected", row.id, scored.judge), 16) % len(numbers)]

    def _line(self, row: Row, better: int, worse: int, judges: list[str]) -> dict[str, Any]:
        principles = {
            judgment.principle
            for judgment in row.judgments
            if judgment.step in judges and {better, worse} & set(judgment.candidates)
        }
        low, high = sorted((better, worse))
        return {
            "id": f"{row.id}:{low:04}-{high:04}",
            "prompt": chat(*row.prompt),
            "chosen": reply(row.answers[better].text),
            "rejected": reply(row.answers[worse].text),
            "judge": "+".join(judges),
            "principle": principles.pop() if len(principles) == 1 else None,
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
        turned = {"chosen": line["rejected"], "rejected": line["chosen"]}
        return line | turned | {"flipped": True}
