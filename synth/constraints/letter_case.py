"""Change of case: all capitals, no capitals, or so many words in capitals.

Differs: words are split by the pattern below, where IFEval uses nltk's tokenizer, whose model is a separate
download. As there, an apostrophe parts a word: IT'S counts as two. Text whose language cannot be told fails.
"""

import re
from typing import Any, ClassVar

from pydantic import Field

from synth.constraints import Constraint, Relation, times, within
from synth.constraints.language import language, require

_WORD = re.compile(r"[^\W_](?:[\w.&/-]*\w)?")


class CapitalWordFrequency(Constraint):
    """So many words are wholly in capitals."""

    id: ClassVar[str] = "change_case:capital_word_frequency"
    capital_frequency: int = Field(ge=1)
    capital_relation: Relation

    def holds(self, text: str) -> bool:
        """Whether there are."""
        capitals = sum(word.isupper() for word in _WORD.findall(text))
        return within(capitals, self.capital_relation, self.capital_frequency)

    def words(self) -> str:
        """The demand."""
        return f"Write words wholly in CAPITALS {self.capital_relation} {times(self.capital_frequency)}."


class _English(Constraint):
    """In English. Raises `UserError` as `language.require` does."""

    def model_post_init(self, _: Any) -> None:
        """Nothing is made that could not be checked here."""
        require()


class EnglishCapital(_English):
    """All of it is English in capitals."""

    id: ClassVar[str] = "change_case:english_capital"

    def holds(self, text: str) -> bool:
        """Whether it is."""
        return text.isupper() and language(text) == "en"

    def words(self) -> str:
        """The demand."""
        return "Write the whole reply in English and only in capital letters."


class EnglishLowercase(_English):
    """All of it is English without a capital."""

    id: ClassVar[str] = "change_case:english_lowercase"

    def holds(self, text: str) -> bool:
        """Whether it is."""
        return text.islower() and language(text) == "en"

    def words(self) -> str:
        """The demand."""
        return "Write the whole reply in English and without a single capital letter."
