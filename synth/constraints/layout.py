"""Detectable format: bullets, highlights, sections, JSON, a title, a fixed choice.

Differs: a line that is nothing but ``*`` is always a bullet, a section's name is a text and not a regular
expression, and NaN is no JSON.
"""

import re
from typing import ClassVar

import orjson
from pydantic import Field

from synth.constraints import Constraint

CHOICES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*")
_FENCE = re.compile(r"\A```(?:json|Json|JSON)?|```\Z")


class NumberBulletLists(Constraint):
    """Exactly so many lines begin as bullets: with ``-``, or with one ``*``."""

    id: ClassVar[str] = "detectable_format:number_bullet_lists"
    num_bullets: int = Field(ge=1)

    def holds(self, text: str) -> bool:
        """Whether there are."""
        lines = [line.lstrip() for line in text.split("\n")]
        bullets = [line for line in lines if line.startswith(("-", "*")) and not line.startswith("**")]
        return len(bullets) == self.num_bullets

    def words(self) -> str:
        """The demand."""
        return f"Give exactly {self.num_bullets} bullet points, each on a line that begins with “* ”."


class ConstrainedResponse(Constraint):
    """One of three fixed sentences is there."""

    id: ClassVar[str] = "detectable_format:constrained_response"

    def holds(self, text: str) -> bool:
        """Whether one is."""
        return any(choice in text for choice in CHOICES)

    def words(self) -> str:
        """The demand."""
        return f"Reply with one of these sentences: {' / '.join(CHOICES)}"


class NumberHighlightedSections(Constraint):
    """At least so many passages are *highlighted* or **highlighted**."""

    id: ClassVar[str] = "detectable_format:number_highlighted_sections"
    num_highlights: int = Field(ge=1)

    def holds(self, text: str) -> bool:
        """Whether there are; a blank passage is none."""
        passages = [*_HIGHLIGHT.findall(text), *_DOUBLE_HIGHLIGHT.findall(text)]
        return sum(bool(passage.strip()) for passage in passages) >= self.num_highlights

    def words(self) -> str:
        """The demand."""
        return f"Set at least {self.num_highlights} passages off with Markdown, *like this*."


class MultipleSections(Constraint):
    """At least so many sections, each begun by a name and a number."""

    id: ClassVar[str] = "detectable_format:multiple_sections"
    section_spliter: str = Field(pattern=r"\S", description="the name; IFEval spells the parameter so")
    num_sections: int = Field(ge=1)

    def holds(self, text: str) -> bool:
        """Whether there are; the name's case counts."""
        found = re.findall(rf"{re.escape(self.section_spliter.strip())}\s?\d+", text)
        return len(found) >= self.num_sections

    def words(self) -> str:
        """The demand."""
        name = self.section_spliter
        return (
            f"Divide the reply into {self.num_sections} sections, headed {name} 1, {name} 2 and so on, "
            "each heading on its own line."
        )


class JsonFormat(Constraint):
    """All of it is JSON, in a code fence or bare."""

    id: ClassVar[str] = "detectable_format:json_format"

    def holds(self, text: str) -> bool:
        """Whether it is."""
        try:
            orjson.loads(_FENCE.sub("", text.strip()).strip())
        except orjson.JSONDecodeError:
            return False
        return True

    def words(self) -> str:
        """The demand."""
        return "Let the reply as a whole be valid JSON; a Markdown code fence around it is fine."


class Title(Constraint):
    """A title in double angular brackets."""

    id: ClassVar[str] = "detectable_format:title"

    def holds(self, text: str) -> bool:
        """Whether a line has one that is not blank."""
        return any(map(_has_title, text.split("\n")))

    def words(self) -> str:
        """The demand."""
        return "Give the reply a title inside double angular brackets, <<like so>>."


def _has_title(line: str) -> bool:
    start, end = line.find("<<"), line.rfind(">>")
    return 0 <= start < end - 2 and bool(line[start : end + 2].lstrip("<").rstrip(">").strip())
