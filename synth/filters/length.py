"""Length: drop rows whose last answer is too short or too long."""

from pydantic import Field

from synth.filters import Filter
from synth.rows import Row


class Length(Filter):
    """Keep rows whose last answer has between `least` and `most` words, both included.

    Needs: a row with an answer. Gives: the row as it is. Costs: nothing.
    """

    least: int = Field(1, ge=0)
    most: int = Field(2000, ge=1)

    def reason_to_drop(self, row: Row) -> str | None:
        """``no_answer``, ``too_short`` or ``too_long``."""
        if not row.answers:
            return "no_answer"
        words = len(row.answers[-1].text.split())
        if words < self.least:
            return "too_short"
        return "too_long" if words > self.most else None
