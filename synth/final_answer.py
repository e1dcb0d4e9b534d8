r"""The final answer of a piece of reasoning, and whether two answers are the same one. No model is asked.

The forms are those of the known data sets: ``the answer is X``, as FLAN's chains of thought end (Longpre et
al. 2023, arXiv:2301.13688); ``#### 18``, as GSM8K's solutions do; ``\boxed{18}``, as MATH's do; and letters
of options. A heading such as ``#### Step 2`` is no answer, and the last number of a text is never taken
for one.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
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
_LETTER = re.compile(r"(?<!\w)[(\[]([A-Za-z])[)\]]")
_ALSO = re.compile(r"(?:or|and|/|&)\s*(?:option\s+)?[(\[]?([A-Za-z])(?!\w)", re.IGNORECASE)
_LATEX: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))"), ""),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"(\d?)\s*\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}"), lambda hit: _fraction(hit)),
    (re.compile(r"(\d?)\s*\\[dt]?frac(\d)(\d)"), lambda hit: _fraction(hit)),
    (re.compile(r"\\[,!;: ]|\\left\b|\\right\b"), ""),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
    (re.compile(r"\*\*|__|`"), ""),
)
_WRAPPING = " \t\r\n\"'\u2018\u2019\u201c\u201d\u00ab\u00bb*_"
_EQUALS = re.compile(r"(?<![<>!=])=(?![=>])")
_SEVERAL = re.compile(r",(?!\d{3}(?!\d))|;|\b(?:or|and)\b")
_RAISED = re.compile(r"[\u2070\u00b9\u00b2\u00b3\u2074-\u207b]+")
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e])")
_LOOSE_SPACE = re.compile(r"(?<!\d) | (?!\d)")
_MARKS = re.compile(r"[(),;:]|\.(?!\d)")
_ARTICLE = re.compile(r"^(?:the|an?)\s+")
_QUANTITY = re.compile(
    rf"([$€£]?)\s?(?:([-+]?\d{{1,60}})\s(?:and\s)?(?=\d{{1,60}}\s?/))?({_NUMBER})(?:\s?/\s?({_NUMBER}))?\s?(%|°\s?[cf]?|(?<=\s)(?!pi\b)[^\W\d_]{{2,}}\D*|)"
)
_SIGNS = {"$": "dollar", "€": "euro", "£": "pound", "percent": "%", "per cent": "%"}
_FACTORS = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9}
_LONGEST_BOX = 500
_MINUS = {0x2212: "-", 0xA0: " ", 0x202F: " "}
_SLASH = {0x2044: "/"}


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


def known_answer(value: object) -> str | None:
    """The right answer that a file gives as `value`, text or a number; None if it gives none.

    Of a text that reasons, as GSM8K's do, it is the final answer; of another, all of it.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        return None
    return final_answer(value) or value.strip()


def same_answer(one: str, other: str) -> bool:
    """Whether two answers say the same: the same option, the same number, or the same words.

    "(B) Paris" is the same as "B" and as "Paris", but not as "(C) Paris"; one that names two options is the
    same only as itself. Numbers are compared by value: 1,234.50 is 1234.5, 1/2 is 0.5, 3 1/2 is 3.5; a unit
    counts only if both have one. Nor does what stands before an answer's only = count, or, of words, case, a
    leading article and what stands around them.
    """
    if len(letters(one)) > 1 or len(letters(other)) > 1:
        return _same_words(one, other)
    (letter, words), (other_letter, other_words) = option(one), option(other)
    if letter and other_letter:
        agree = not (words and other_words) or _same_words(words, other_words)
        return letter == other_letter and agree
    return _same_words(words or letter or "", other_words or other_letter or "")


def compared(answer: str, known: str) -> bool | None:
    """Whether `answer` is the one that is `known`; None where code cannot tell.

    It cannot tell where the answer holds the known one among other things ("5 or 6", "5 = x"), where its
    letter says one thing and its words another, where one is a bare letter and the other bare words, or
    where one is a number and the other may be one, in words or as a sum ("eighteen", "2 * 9", "1e3").
    """
    if same_answer(answer, known):
        return True
    (letter, words), (known_letter, known_words) = option(answer), option(known)
    if letter and known_letter:
        contradicts = letter == known_letter or _holds(words, known_words)
        return None if contradicts or len(letters(answer)) > 1 else False
    bare = bool(letter and not words) or bool(known_letter and not known_words)
    number, known_number = quantity(words), quantity(known_words)
    if number and known_number:
        return None if _is_share(number, known_number) or _is_share(known_number, number) else False
    spelt = known_number or (number and not re.search(r"\d", known_words))
    return None if bare or spelt or _holds(answer, known_words or known) else False


def option(answer: str) -> tuple[str | None, str]:
    """The letter of an option that `answer` begins with, in upper case, and the words after it."""
    answer = _clean(answer)
    found = _OPTION.match(answer)
    if not found:
        return None, answer
    *several, words = found.groups()
    return next(letter for letter in several if letter).upper(), words.strip()


def letters(answer: str) -> set[str]:
    """The letters of all options that `answer` marks as such, in upper case."""
    letter, words = option(answer)
    also = _ALSO.match(words) if letter else None
    found = [letter, also and also[1], *_LETTER.findall(_clean(answer))]
    return {each.upper() for each in found if each}


def quantity(answer: str) -> Quantity | None:
    """The number that `answer` is, with its unit; None if it is something else."""
    found = _QUANTITY.fullmatch(_plain(answer))
    if not found:
        return None
    sign, whole, above, below, unit = found.groups()
    value = _number(whole, above, below)
    if value is None:
        return None
    factor, _, rest = unit.partition(" ")
    by = _FACTORS.get(factor)
    unit = rest if by else unit
    named = _SIGNS.get(sign or unit, unit.strip().removesuffix("s"))
    return Quantity(value * (by or 1), named)


def _number(whole: str | None, above: str, below: str | None) -> Fraction | None:
    """`whole` and the fraction of `above` and `below`; None if that is no number."""
    under = Fraction((below or "1").replace(",", ""))
    if under == 0:
        return None
    part = Fraction(above.replace(",", "")) / under
    if whole is None:
        return part
    if not 0 < part < 1:
        return None
    return Fraction(whole) + (-part if whole.startswith("-") else part)


def _same_words(one: str, other: str) -> bool:
    number, other_number = quantity(one), quantity(other)
    if number and other_number:
        units = {number.unit, other_number.unit} - {""}
        return number.value == other_number.value and len(units) < 2
    # Between digits white space says something: 1 2 is not 12.
    return _LOOSE_SPACE.sub("", _plain(one)) == _LOOSE_SPACE.sub("", _plain(other))


def _is_share(one: Quantity, other: Quantity) -> bool:
    """Whether `one` is `other`, a percentage, as a share."""
    return (one.unit, other.unit) == ("", "%") and one.value * 100 == other.value


def _holds(answer: str, known: str) -> bool:
    """Whether the words of `known` stand somewhere in `answer`, or are its own but for white space."""
    inside, around = _plain(known), _folded(answer)
    row, whole = (" ".join(_MARKS.sub(" ", text).split()) for text in (inside, around))
    return bool(row) and (f" {row} " in f" {whole} " or row.replace(" ", "") == whole.replace(" ", ""))


def _plain(answer: str) -> str:
    """`answer` as it is compared."""
    text = _folded(answer)
    if len(_EQUALS.findall(text)) == 1 and not _SEVERAL.search(text):
        text = _EQUALS.split(text)[1]
    return _ARTICLE.sub("", text.strip(_WRAPPING))


def _folded(answer: str) -> str:
    """`answer` in one form of each letter and digit, raised digits after ^."""
    text = _VULGAR.sub(" ", _RAISED.sub(r"^\g<0>", _clean(answer).translate(_MINUS)))
    return unicodedata.normalize("NFKC", text).translate(_SLASH | _MINUS).casefold()


def _fraction(hit: re.Match[str]) -> str:
    r"""A fraction of LaTeX on one line, after the whole number before it: 3\frac{1}{2} is 3 1/2."""
    whole, above, below = hit.groups()
    parts = [part if re.fullmatch(r"-?[\w.,]+", part) else f"({part})" for part in (above, below)]
    return f"{whole} {'/'.join(parts)}" if whole else "/".join(parts)


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
