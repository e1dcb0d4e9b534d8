"""Combination: two replies in one, and the request repeated before the reply."""

from typing import ClassVar

from pydantic import Field

from synth.constraints import Constraint

DIVIDER = "******"


class TwoResponses(Constraint):
    """Two different replies, six asterisks between them."""

    id: ClassVar[str] = "combination:two_responses"

    def holds(self, text: str) -> bool:
        """Whether there are; nothing blank may stand between two dividers."""
        parts = [part.strip() for part in text.split(DIVIDER)]
        written = [part for part in parts if part]
        return all(parts[1:-1]) and len(written) == 2 and written[0] != written[1]

    def words(self) -> str:
        """The demand."""
        return f"Reply twice, in two different ways, with {DIVIDER} between the two replies and nowhere else."


class RepeatPrompt(Constraint):
    """The reply begins with `prompt_to_repeat`, in any case."""

    id: ClassVar[str] = "combination:repeat_prompt"
    prompt_to_repeat: str = Field(pattern=r"\S")

    def holds(self, text: str) -> bool:
        """Whether it does."""
        return text.strip().lower().startswith(self.prompt_to_repeat.strip().lower())

    def words(self) -> str:
        """The demand."""
        return (
            "Begin by repeating the request above, word for word and with nothing before it, then reply. "
            "This paragraph is not part of the request."
        )
