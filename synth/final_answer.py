r"""The final answer of a piece of reasoning, and whether two answers are the same one. No model is asked.

The forms are those of the known data sets: ``the answer is X``, as FLAN's chains of thought end (Longpre et
al. 2023, arXiv:2301.13688); ``#### 18``, as GSM8K's solutions do; ``\boxed{18}``, as MATH's do; and letters
of options. A heading such as ``#### Step 2`` is no answer, and the last number of a text is never taken
for one.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+(?:\.\d{1,60})?|\d{1,60}(?:\.\d{1,60})?|\.\d{1,60})(?![\d.,]*\d)"
_HASHES = re.compile(
    r"^[ \t]*####[ \t]*([-+]?[$€£]?[-+]?\.?\d[\d.,/]*[ \t]*%?(?:[ \t]+[^\W\d_]+)?|\(?[A-Z]\)?)[ \t.]*$",
    re.MULTILINE,
)
_STATED = re.compile(
    r"""(?: \b(?:answer|(?:correct|right|best)[ ](?:option|choice))\b
            [^.:!?\n]{0,60}? \b(?:is|are|would[ ]be)\b
          | ^[\s>*_\#-]{0,9} (?:(?:the|my|so|final|correct)[ ]){0,2} answer [*_]{0,2} [ ]?(?=[:=]) )
        [*_\s]* [:=]? [*_\s]*""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SENTENCE_END = re.compile(r"[.!?][^\w\s]*\s")
_ABBREVIATED = re.compile(r"(?:\b(?:St|Mr|Mrs|Ms|Dr|Prof|Mt|Ft|Jr|Sr|vs|approx)|(?:^|[\s.(])[A-Z])\Z")
_BECAUSE = re.compile(r"[,;]?\s+because\b")
_OPTION = re.compile(
    r"(?:(?i:option|choice)\s+)?"
    r"(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\)|([A-Z])[.:](?=\s)|([A-Za-z])\Z)[\s:.,-]*(.*)\Z",
    re.DOTALL,
)
_LETTER = re.compile(r"(?<!\w)(?:\(([A-Za-z])\)|\[([A-Za-z])\])")
_LATEX = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"(\d?)\s*\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}"), lambda hit: _fraction(*hit.groups())),
    (re.compile(r"(\d?)\s*\\[dt]?frac(\d)(\d)"), lambda hit: _fraction(*hit.groups())),
    (re.compile(r"\\[,!;: ]|\\left\b|\\right\b"), ""),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
    (re.compile(r"\*\*|__|`"), ""),
)
_WRAPPING = " \t\r\n\"'\u2018\u2019\u201c\u201d\u00ab\u00bb*_"
_EQUALS = re.compile(r"^.*(?<![<>!=])=(?!=)", re.DOTALL)
_ARTICLE = re.compile(r"^(?:the|an?)\s+")
_QUANTITY = re.compile(
    rf"([$€£]?)\s?({_NUMBER})(?:\s?/\s?({_NUMBER}))?\s?(%|°\s?[cf]?|(?<=\s)(?!pi\b)[^\W\d_]{{2,}}\D*|)"
)
_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "percent": "%", "per cent": "%"}
_FACTORS = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_LONGEST_BOX = 500
_MINUS = {0x2212: "-", 0xA0: " ", 0x202F: " "}


class Quantity(NamedTuple):
    """A number and its unit, "" for none."""

    value: Fraction
    unit: str


def final_answer(text: str) -> str | None:
    r"""The last answer that `text` marks as its own, without the mark, LaTeX and emphasis; None if none is.

    ``\boxed{…}`` and ``#### …`` count before words such as "the answer is", which may also speak of something
    else; of equals the last counts, since reasoning corrects itself. A text that is nothing but a number or
    the letter of an option is its own answer.
    """
    found = sorted([*_boxed(text), *((hit.start(), hit[1]) for hit in _HASHES.finditer(text))])
    for _, marked in reversed(found):
        if answer := _clean(marked):
            return answer
    for hit in reversed(list(_STATED.finditer(text))):
        if answer := _clean(_sentence(text[hit.end() :])):
            return answer
    whole = _clean(text)
    return whole if quantity(whole) or re.fullmatch(r"\(?[A-Z]\)?", whole) else None


def same_answer(one: str, other: str) -> bool:
    """Whether two answers say the same: the same option, the same number, or the same words.

    "(B) Paris" is the same as "B" and as "Paris", but not as "(C) Paris". Numbers are compared by value:
    1,234.50 is 1234.5 and 1/2 is 0.5; a unit counts only if both have one. Of words, case, a leading article
    and what stands around them do not count.
    """
    (letter, words), (other_letter, other_words) = option(one), option(other)
    if letter and other_letter:
        agree = not (words and other_words) or _same_words(words, other_words)
        return letter == other_letter and agree
    return _same_words(words or letter or "", other_words or other_letter or "")


def option(answer: str) -> tuple[str | None, str]:
    """The letter of an option that `answer` begins with, in upper case, and the words after it."""
    answer = _clean(answer)
    found = _OPTION.match(answer)
    if not found:
        return None, answer
    letter = found[1] or found[2] or found[3] or found[4]
    return letter.upper(), found[5].strip()


def quantity(answer: str) -> Quantity | None:
    """The number that `answer` is, with its unit; None if it is something else."""
    found = _QUANTITY.fullmatch(_plain(answer))
    if not found:
        return None
    sign, above, below, unit = found.groups()
    under = Fraction((below or "1").replace(",", ""))
    if under == 0:
        return None
    factor, _, rest = unit.partition(" ")
    by = _FACTORS.get(factor)
    unit = rest if by else unit
    named = _SIGNS.get(sign or unit, unit.strip().removesuffix("s"))
    return Quantity(Fraction(above.replace(",", "")) / under * (by or 1), named)


def _same_words(one: str, other: str) -> bool:
    number, other_number = quantity(one), quantity(other)
    if number and other_number:
        units = {number.unit, other_number.unit} - {""}
        return number.value == other_number.value and len(units) < 2
    return "".join(_plain(one).split()) == "".join(_plain(other).split())


def _plain(answer: str) -> str:
    """`answer` as it is compared."""
    text = unicodedata.normalize("NFKC", _clean(answer).translate(_MINUS)).casefold()
    return _ARTICLE.sub("", _EQUALS.sub("", text).strip(_WRAPPING))


def _clean(marked: str) -> str:
    """`marked` on one line, without what is only there for looks."""
    for pattern, instead in _LATEX:
        marked = pattern.sub(instead, marked)
    text = " ".join(marked.split())
    if text.count("$") == 2 and text.strip(_WRAPPING + ".").startswith("$"):
        text = text.replace("$", "")
    return text.strip(_WRAPPING).rstrip(".,;:!?").rstrip(_WRAPPING)


def _sentence(rest: str) -> str:
    """The first sentence of `rest`, as far as its line goes, without a reason that it gives."""
    line = rest.split("\n", 1)[0] + " "
    for end in _SENTENCE_END.finditer(line):
        if not _ABBREVIATED.search(line, 0, end.start()):
            line = line[: end.start()]
            break
    return _BECAUSE.split(line)[0]


def _boxed(text: str) -> Iterator[tuple[int, str]]:
    r"""Where every whole ``\boxed{…}`` begins, and what it holds, braces in it balanced."""
    for hit in re.finditer(r"\\f?boxed\s*\{", text):
        depth = 1
        for brace in re.finditer(r"(?<!\\)[{}]", text[hit.end() : hit.end() + _LONGEST_BOX]):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                yield hit.start(), text[hit.end() : hit.end() + brace.start()]
                break
