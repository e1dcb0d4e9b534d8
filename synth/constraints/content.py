"""Detectable content: placeholders and a postscript."""

import re
from typing import ClassVar

from pydantic import Field

from synth.constraints import Constraint


class NumberPlaceholders(Constraint):
    """At least so many placeholders in square brackets."""

    id: ClassVar[str] = "detectable_content:number_placeholders"
    num_placeholders: int = Field(ge=1)

    def holds(self, text: str) -> bool:
        """Whether there are."""
        return sum(map(_placeholders, text.split("\n"))) >= self.num_placeholders

    def words(self) -> str:
        """The demand."""
        return (
            f"Leave at least {self.num_placeholders} blanks for the reader to fill in, "
            "each named in square brackets like [date]."
        )


class Postscript(Constraint):
    """There is a postscript, begun by the marker."""

    id: ClassVar[str] = "detectable_content:postscript"
    postscript_marker: str = Field(pattern=r"\S")

    def holds(self, text: str) -> bool:
        """Whether the marker is there, in any case, with or without a space after each of its full stops."""
        parts = map(re.escape, self.postscript_marker.strip().split("."))
        return bool(re.search(r"\.\s?".join(parts), text, re.IGNORECASE))

    def words(self) -> str:
        """The demand."""
        return f"Close with a postscript that begins with {self.postscript_marker}"


def _placeholders(line: str) -> int:
    count, end = 0, 0
    while (start := line.find("[", end)) >= 0 and (end := line.find("]", start)) >= 0:
        count += 1
    return count
