"""Keywords: words and letters that must, or must not, be there.

Differs: a keyword is a text, where IFEval's checker reads it as a regular expression. A keyword is found
inside a longer word, a forbidden word only as a whole one, both in any case: as there.
"""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from synth.constraints import Constraint, Relation, times, within

Word = Annotated[str, Field(min_length=1, pattern=r"\S")]


class Existence(Constraint):
    """Every one of `keywords` is there."""

    id: ClassVar[str] = "keywords:existence"
    keywords: tuple[Word, ...] = Field(min_length=1)

    def holds(self, text: str) -> bool:
        """Whether all are found."""
        return all(_found(keyword, text) for keyword in self.keywords)

    def words(self) -> str:
        """The demand."""
        return f"Use each of these words: {_listed(self.keywords)}."


class Frequency(Constraint):
    """`keyword` is there so often."""

    id: ClassVar[str] = "keywords:frequency"
    keyword: Word
    frequency: int = Field(ge=1)
    relation: Relation

    def holds(self, text: str) -> bool:
        """Whether it is found so often, without overlap."""
        return within(len(_found(self.keyword, text)), self.relation, self.frequency)

    def words(self) -> str:
        """The demand."""
        return f"Use the word “{self.keyword}” {self.relation} {times(self.frequency)}."


class ForbiddenWords(Constraint):
    """None of `forbidden_words` is there as a whole word."""

    id: ClassVar[str] = "keywords:forbidden_words"
    forbidden_words: tuple[Word, ...] = Field(min_length=1)

    def holds(self, text: str) -> bool:
        """Whether none is found."""
        return not any(
            re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
            for word in self.forbidden_words
        )

    def words(self) -> str:
        """The demand."""
        return f"Never use any of these words: {_listed(self.forbidden_words)}."


class LetterFrequency(Constraint):
    """`letter`, any one character, is there so often, in either case."""

    id: ClassVar[str] = "keywords:letter_frequency"
    letter: str = Field(min_length=1, max_length=1)
    let_frequency: int = Field(ge=1)
    let_relation: Relation

    def holds(self, text: str) -> bool:
        """Whether it is found so often."""
        return within(text.lower().count(self.letter.lower()), self.let_relation, self.let_frequency)

    def words(self) -> str:
        """The demand."""
        kind = "letter" if self.letter.isalpha() else "character"
        return f"Let the {kind} “{self.letter}” occur {self.let_relation} {times(self.let_frequency)}."


def _found(keyword: str, text: str) -> list[str]:
    return re.findall(re.escape(keyword), text, re.IGNORECASE)


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"“{word}”" for word in words)
