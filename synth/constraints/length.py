"""Length constraints: how many words, sentences and paragraphs.

A word is a run of letters, digits and underscores, as in IFEval. Differs: sentences are told apart by the
rule in `sentences`, where IFEval uses nltk's punkt, whose model is a separate download.
"""

import re
from typing import ClassVar

from pydantic import Field, model_validator

from synth.constraints import Constraint, Relation, within
from synth.sentences import sentences

_PARAGRAPH_END = re.compile(r"\s?\*\*\*\s?")
_AFTER_WORD = re.compile(r"[.,?!'\"]")


class NumberSentences(Constraint):
    """There are so many sentences."""

    id: ClassVar[str] = "length_constraints:number_sentences"
    num_sentences: int = Field(ge=1)
    relation: Relation

    def holds(self, text: str) -> bool:
        """Whether there are."""
        return within(len(sentences(text)), self.relation, self.num_sentences)

    def words(self) -> str:
        """The demand."""
        return f"The number of sentences must be {self.relation} {self.num_sentences}."


class NumberWords(Constraint):
    """There are so many words."""

    id: ClassVar[str] = "length_constraints:number_words"
    num_words: int = Field(ge=1)
    relation: Relation

    def holds(self, text: str) -> bool:
        """Whether there are."""
        return within(len(re.findall(r"\w+", text)), self.relation, self.num_words)

    def words(self) -> str:
        """The demand."""
        return f"The number of words must be {self.relation} {self.num_words}."


class NumberParagraphs(Constraint):
    """There are exactly so many paragraphs, with ``***`` between them."""

    id: ClassVar[str] = "length_constraints:number_paragraphs"
    num_paragraphs: int = Field(ge=1)

    def holds(self, text: str) -> bool:
        """Whether there are; a paragraph between two others may not be blank."""
        written = [bool(part.strip()) for part in _PARAGRAPH_END.split(text)]
        return all(written[1:-1]) and sum(written) == self.num_paragraphs

    def words(self) -> str:
        """The demand."""
        return f"Write exactly {self.num_paragraphs} paragraphs and put *** between them as a divider."


class NthParagraphFirstWord(Constraint):
    """There are exactly so many paragraphs, a blank line between them, and one begins with a word."""

    id: ClassVar[str] = "length_constraints:nth_paragraph_first_word"
    num_paragraphs: int = Field(ge=1)
    nth_paragraph: int = Field(ge=1)
    first_word: str = Field(pattern=r"\S")

    @model_validator(mode="after")
    def _is_there(self) -> "NthParagraphFirstWord":
        if self.nth_paragraph > self.num_paragraphs:
            raise ValueError(f"nth_paragraph: there are only {self.num_paragraphs}")
        return self

    def holds(self, text: str) -> bool:
        """Whether it does. Blank paragraphs count for the place but not for the number, as in IFEval."""
        paragraphs = text.split("\n\n")
        if sum(bool(paragraph.strip()) for paragraph in paragraphs) != self.num_paragraphs:
            return False
        words = paragraphs[self.nth_paragraph - 1].split()
        return bool(words) and _bare(words[0]) == self.first_word.lower()

    def words(self) -> str:
        """The demand."""
        return (
            f"Write exactly {self.num_paragraphs} paragraphs with a blank line between them. "
            f"The first word of paragraph {self.nth_paragraph} must be “{self.first_word}”."
        )


def _bare(word: str) -> str:
    """`word` in lower case, without quotes before it and without what follows from its first mark on."""
    return _AFTER_WORD.split(word.lstrip("'").lstrip('"'), maxsplit=1)[0].lower()
