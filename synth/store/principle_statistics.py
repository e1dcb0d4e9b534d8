"""What each principle did: how often it was drawn, what its revisions changed, how judges liked them.

Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073), sections 3 and 6: critiques and revisions by drawn
principles; and what goes wrong with them, answers that only refuse and answers that say the same words again.

The change is 1 - ROUGE-L F of the words before and after, over revisions that are not empty. A revision is
compared with the fresh answer that it came from, however many rounds lie between, so what a judge says of a
pair counts for the principle of the last round.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth import rouge
from synth.labels import Label, judged_pairs, label
from synth.methods.critique_revise import CUT_OFF
from synth.rows import Judgment, Row
from synth.store.counters import Mean
from synth.store.harmless import is_harmless
from synth.store.refusals import looks_like_refusal
from synth.store.views.critiques import flag

VERDICTS = ("revision", "original", "tie", "orders_disagree", "unreadable", "not_asked")


@dataclass(slots=True)
class Principle:
    """Counts over the revisions of one principle.

    Attributes:
        drawn: its revisions; `changed` of them are neither equal to the answer before nor empty.
        change: how far they are from the answer before, in [0, 1]; `length`: their words over its words.
        flags: as in the view `critiques`; and ``cut_off_critique`` where the model did not end the critique.
        harmless: revisions on prompts that are marked as harmless; `refused`: those of them that look like
            refusals, and `newly_refused` where the answer before did not.
        verdicts: what judges said of revision and original, one of `VERDICTS` a pair and judge.
    """

    drawn: int = 0
    changed: int = 0
    change: Mean = field(default_factory=Mean)
    length: Mean = field(default_factory=Mean)
    flags: Counter[str] = field(default_factory=Counter)
    harmless: int = 0
    refused: int = 0
    newly_refused: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, number: int) -> None:
        """Count answer `number` of `row`, which is a revision."""
        revision = row.answers[number]
        before = row.answers[revision.parent or 0].text
        self.drawn += 1
        odd = flag(revision, before)
        if odd:
            self.flags[odd] += 1
        facts = row.facts.get(revision.step)
        if isinstance(facts, Mapping) and number in facts.get(CUT_OFF, ()):
            self.flags["cut_off_critique"] += 1
        if revision.text:
            self.changed += revision.text != before
            self.change.add(1 - rouge.f_measure(rouge.tokens(before), rouge.tokens(revision.text)))
            if before.split():
                self.length.add(len(revision.text.split()) / len(before.split()))
        if is_harmless(row):
            self._refusal(before, revision.text)

    def _refusal(self, before: str, after: str) -> None:
        self.harmless += 1
        if looks_like_refusal(after):
            self.refused += 1
            self.newly_refused += not looks_like_refusal(before)

    def as_json(self) -> dict[str, Any]:
        """The numbers."""
        return {
            "drawn": self.drawn,
            "changed": self.changed,
            "mean_change": self.change.value,
            "mean_length_ratio": self.length.value,
            "flags": dict(sorted(self.flags.items())),
            "harmless_prompts": self.harmless,
            "refused_harmless": self.refused,
            "newly_refused_harmless": self.newly_refused,
            "verdicts": {name: self.verdicts[name] for name in VERDICTS if self.verdicts[name]},
        }


@dataclass(slots=True)
class Principles:
    """The counts of every principle that revised an answer, by its id; "" for none."""

    by_id: dict[str, Principle] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count the revisions of `row`, and what judges said of them."""
        for number, answer in enumerate(row.answers):
            if answer.parent is not None:
                self.by_id.setdefault(answer.principle or "", Principle()).add(row, number)
        for number, said in _verdicts(row):
            self.by_id[row.answers[number].principle or ""].verdicts[said] += 1

    def as_json(self) -> dict[str, Any]:
        """The numbers by principle."""
        return {name: principle.as_json() for name, principle in sorted(self.by_id.items())}


def _verdicts(row: Row) -> Iterator[tuple[int, str]]:
    """Each revision that a judge compared with the fresh answer that it came from, and what it said."""
    for step in dict.fromkeys(judgment.step for judgment in row.judgments):
        for pair, judgments in judged_pairs(row, step).items():
            revision = _revision(row, pair)
            if revision is not None:
                yield revision, _verdict(pair, revision, judgments)


def _revision(row: Row, pair: tuple[int, int]) -> int | None:
    """The answer of `pair` that was revised from the other one, which is fresh; None if neither was."""
    first, second = pair
    if row.origin(first) == second:
        return first
    return second if row.origin(second) == first else None


def _verdict(pair: tuple[int, int], revision: int, judgments: list[Judgment]) -> str:
    said = label(pair, judgments)
    if isinstance(said, str):
        return "unreadable" if any(judgment.calls for judgment in judgments) else "not_asked"
    if all(one.p_first == 0.5 for judgment in judgments if isinstance(one := label(pair, [judgment]), Label)):
        return "tie"
    if said.agreed is False or said.p_first == 0.5:
        return "orders_disagree"
    return "revision" if (said.p_first > 0.5) == (pair[0] == revision) else "original"
