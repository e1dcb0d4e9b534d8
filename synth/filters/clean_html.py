"""Clean HTML: a post of a forum as a chat would write it, with its code blocks and lists and no other marks.

Zhou et al. 2023, "LIMA: Less Is More for Alignment" (arXiv:2305.11206), section 2.1: links, images and all
other HTML go, code blocks and lists stay. Of a link its words are kept. Differs: what stays is written as
Markdown, since that is what a chat shows; an exponent or an index stays one, as 10⁶, x_i or x^(a + b); and
what is no post at all, such as a script, goes as a whole.
"""

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field

from synth.errors import Filtered
from synth.rows import Row
from synth.step import Bench, Each

if TYPE_CHECKING:
    from bs4 import Tag

KEPT = ["p", "br", "pre", "code", "ul", "ol", "li"]
LINES = ["h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "div", "tr", "dt", "dd"]
GONE = ["script", "style", "img", "svg", "iframe"]

ABOVE = str.maketrans("0123456789+-\u2212=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
BELOW = str.maketrans("0123456789+-\u2212=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
# A raised ending such as that of 21st, or the number of a note: no exponent.
_NO_EXPONENT = re.compile(r"(?:st|nd|rd|th|\[.*\])?", re.IGNORECASE)

# wikiHow's answers are articles, and say so (section 2.1).
_ARTICLE = re.compile(r"\bThis article\b")


class CleanHtml(Each):
    """Clean the answers of a row, and those of its `columns` that are HTML.

    Needs: a row. Gives: the same row, its texts changed; so it belongs before any judging. Costs: nothing.
    """

    answers: bool = Field(True, description="clean the answers too")
    columns: list[str] = Field(default_factory=list, description="columns of the source that hold HTML")
    article_is_answer: bool = Field(
        False, description="'This article' becomes 'The following answer', as LIMA does with wikiHow"
    )

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row`, cleaned; one whose answer holds nothing but marks is dropped."""
        facts = {**row.facts, **{name: self._cleaned(row.facts.get(name)) for name in self.columns}}
        row = replace(row, facts=facts)
        if self.answers and row.answers:
            answers = [replace(answer, text=self._cleaned(answer.text)) for answer in row.answers]
            if not answers[-1].text:
                raise Filtered("empty_answer")
            row = replace(row, answers=tuple(answers))
        yield row

    def _cleaned(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = cleaned(value)
        return _ARTICLE.sub("The following answer", text) if self.article_is_answer else text


def cleaned(html: str) -> str:
    """`html` as text; code blocks, code in a line and lists as Markdown."""
    # Here, since loading them takes longer than `synth --help` may.
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    post = BeautifulSoup(html, "html.parser")
    for tag in post(GONE):
        tag.decompose()
    # The inner ones first.
    for tag in reversed(post(["sup", "sub"])):
        tag.replace_with(_on_the_line(tag))
    post.smooth()
    for tag in post(LINES):
        tag.name = "p"
    for tag in post(["td", "th"]):
        tag.name = "span"
        tag.append(" ")
    converter = MarkdownConverter(
        convert=KEPT, bullets="-", escape_asterisks=False, escape_underscores=False, escape_misc=False
    )
    lines = str(converter.convert_soup(post)).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip()


def _on_the_line(tag: "Tag") -> str:
    """What is raised or lowered, in characters that are so themselves if all of it has them."""
    text = tag.get_text()
    table, mark = (ABOVE, "^") if tag.name == "sup" else (BELOW, "_")
    if _NO_EXPONENT.fullmatch(text.strip()):
        return text
    if all(ord(character) in table for character in text):
        return text.translate(table)
    return mark + (text if text.isascii() and text.isalnum() else f"({text})")
