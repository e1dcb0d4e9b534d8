"""Answer style: what LIMA lets pass as the answer of an assistant, out of what people wrote to a forum.

Zhou et al. 2023, "LIMA" (arXiv:2305.11206), section 2.1: answers of fewer than 1,200 or more than 4,096
characters go, and so do those in the first person and those that speak of other answers. Differs: the paper
names a few of the phrases only, and the others are ours; and code is not read for words, since ``my`` in it
is no person.
"""

import re

from pydantic import Field

from synth.filters import Filter
from synth.rows import Row

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
# A whole word, and no part of I/O, type-I or /my/path.
_FIRST_PERSON = re.compile(r"(?<![\w/-])(?:I|[Mm]y|MY)(?![\w/-])")
_OTHERS = re.compile(
    r"\bas (?:\w+ )?(?:mentioned|noted|stated|said|suggested|pointed out)\b"
    r"|\bstack ?(?:exchange|overflow)\b"
    r"|\b(?:other|previous|accepted|above|earlier|top|existing) answers?\b"
    r"|\banswers? (?:above|below)\b"
    r"|'s answer\b|\bin (?:the|your|a) comments?\b|\bup-?vot|\bthe OP\b",
    re.IGNORECASE,
)


class AnswerStyle(Filter):
    """Keep rows whose last answer is of fair length, speaks of no I, and stands by itself.

    Needs: a row with an answer. Gives: the row as it is. Costs: nothing.
    """

    least: int = Field(1200, ge=0, description="fewest characters")
    most: int = Field(4096, ge=1, description="most characters")
    first_person: bool = Field(False, description="let 'I' and 'my' pass")
    other_answers: bool = Field(False, description="let pass what speaks of other answers, or of the forum")

    def reason_to_drop(self, row: Row) -> str | None:
        """``no_answer``, ``too_short``, ``too_long``, ``first_person`` or ``refers_to_others``."""
        if not row.answers:
            return "no_answer"
        text = row.answers[-1].text
        if not self.least <= len(text) <= self.most:
            return "too_short" if len(text) < self.least else "too_long"
        prose = _CODE.sub(" ", text)
        if not self.first_person and _FIRST_PERSON.search(prose):
            return "first_person"
        return "refers_to_others" if not self.other_answers and _OTHERS.search(prose) else None
