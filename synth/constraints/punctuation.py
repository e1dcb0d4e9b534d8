"""Punctuation: no commas."""

from typing import ClassVar

from synth.constraints import Constraint


class NoComma(Constraint):
    """There is no comma."""

    id: ClassVar[str] = "punctuation:no_comma"

    def holds(self, text: str) -> bool:
        """Whether there is none."""
        return "," not in text

    def words(self) -> str:
        """The demand."""
        return "Do without commas altogether."
