"""What the answers of a version are like: how long, how alike they begin, how many look like refusals.

Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073), section 4.3, on over-training: answers that say the
same kind words whatever was asked. So it is told for each round of revision how many words an answer has and
how many begin with the same words; another version of the data shows the same table to compare with.
"""

from dataclasses import dataclass, field
from typing import Any

from synth.rows import Answer, Row
from synth.store.counters import Frequent, Mean
from synth.store.harmless import is_harmless
from synth.store.refusals import looks_like_refusal

BEGINS = 5  # words
SHOWN = 5  # openings
KEPT = 500
LONGEST = 40  # characters of a word
LAST_ROUND = 16  # later ones count as this


def _openings() -> Frequent[str]:
    return Frequent(KEPT)


@dataclass(slots=True)
class Round:
    """Counts over the answers that were revised equally often.

    Attributes:
        answers: all of them; `empty` have no text, and count in nothing else.
        words: of an answer that has some.
        long_enough: answers of at least `BEGINS` words, of which `openings` counts the first ones.
        refusals: answers that look like refusals; `harmless` prompts are marked as such, and
            `over_refusals` are refusals of these.
    """

    answers: int = 0
    empty: int = 0
    words: Mean = field(default_factory=Mean)
    long_enough: int = 0
    openings: Frequent[str] = field(default_factory=_openings)
    refusals: int = 0
    harmless: int = 0
    over_refusals: int = 0

    def add(self, answer: Answer, *, harmless: bool) -> None:
        """Count `answer`; `harmless` if its prompt is marked so."""
        self.answers += 1
        words = answer.text.split()
        if not words:
            self.empty += 1
            return
        self.words.add(len(words))
        if len(words) >= BEGINS:
            self.long_enough += 1
            self.openings.add(" ".join(word[:LONGEST].casefold() for word in words[:BEGINS]))
        refuses = looks_like_refusal(answer.text)
        self.refusals += refuses
        self.harmless += harmless
        self.over_refusals += refuses and harmless

    def as_json(self) -> dict[str, Any]:
        """The numbers."""
        top = self.openings.top(SHOWN)
        return {
            "answers": self.answers,
            "empty": self.empty,
            "mean_words": self.words.value,
            "long_enough": self.long_enough,
            "openings": [{"begins": begins, "count": count} for begins, count in top],
            "openings_too_low_by_at_most": self.openings.lost,
            "refusals": self.refusals,
            "harmless_prompts": self.harmless,
            "over_refusals": self.over_refusals,
        }


@dataclass(slots=True)
class Answers:
    """The counts by round of revision; 0 for fresh answers."""

    rounds: dict[int, Round] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count the answers of `row`."""
        harmless = is_harmless(row)
        revised: list[int] = []
        for answer in row.answers:
            revised.append(0 if answer.parent is None else revised[answer.parent] + 1)
            self.rounds.setdefault(min(revised[-1], LAST_ROUND), Round()).add(answer, harmless=harmless)

    def as_json(self) -> list[dict[str, Any]]:
        """The numbers, round by round."""
        return [{"revised": revised, **each.as_json()} for revised, each in sorted(self.rounds.items())]
