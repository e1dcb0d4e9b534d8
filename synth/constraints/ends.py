"""Start and end: a fixed last phrase, and quotation marks around the whole."""

from typing import ClassVar

from pydantic import Field

from synth.constraints import Constraint


class EndChecker(Constraint):
    """The reply ends with `end_phrase`, in any case; a double quotation mark may follow."""

    id: ClassVar[str] = "startend:end_checker"
    end_phrase: str = Field(pattern=r"\S")

    def holds(self, text: str) -> bool:
        """Whether it does."""
        return text.strip().strip('"').lower().endswith(self.end_phrase.strip().lower())

    def words(self) -> str:
        """The demand."""
        return f"Let these be the very last words, with nothing after them: {self.end_phrase}"


class Quotation(Constraint):
    """The reply stands in double quotation marks."""

    id: ClassVar[str] = "startend:quotation"

    def holds(self, text: str) -> bool:
        """Whether it begins and ends with one, and not with the same."""
        text = text.strip()
        return len(text) > 1 and text[0] == text[-1] == '"'

    def words(self) -> str:
        """The demand."""
        return "Put the whole reply in double quotation marks."
