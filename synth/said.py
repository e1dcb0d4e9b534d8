r"""What a judge says in free text: the verdict that it names last, or a number in brackets. Never a guess.

The forms are those of Zheng et al. 2023 (MT-Bench, arXiv:2306.05685), ``[[A]]`` and ``[[7]]``, and of Zeng et
al. 2023 (LLMBar, arXiv:2310.07641), ``Output (a)``. Differs from both programs, FastChat's and LLMBar's: they
take the first form of a list that occurs anywhere in the text, so that a judge that mentions A and decides
for B has said A. `first_listed` reads their way, to replay what they published.

Spellings are looked for whatever their case, with Markdown between their words or not, and not inside of
longer words.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

Label = TypeVar("Label")

NO_VERDICT = "no_verdict"
NAMES_SEVERAL = "names_several"
DENIED = "denied"
OUT_OF_SCALE = "out_of_scale"

_SENTENCE_END = re.compile(r"[.!?…;\n。！？；](?!\d)")  # noqa: RUF001 - full stops of other scripts
# Only what stands directly before a verdict: "does not follow the instruction, so B" denies nothing.
_DENYING = re.compile(
    r"(?:(?:\b(?:not|cannot|never)|n['’]t)(?:\s+\w+)?(?:\s+(?:that|if|whether))?"  # noqa: RUF001 - as typed
    r"|\b(?:neither|nor|whether|if|unless))[\s*_`\"']*$",
    re.IGNORECASE,
)
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_DOUBLE, _SINGLE = re.compile(rf"\[\[{_NUMBER}\]\]"), re.compile(rf"(?<!\[)\[{_NUMBER}\](?!\])")


def verdict(
    text: str, spellings: Mapping[str, Label], *, alone: bool = False
) -> tuple[Label | None, str | None]:
    """The label of the spelling that `text` names last, and why there is none.

    A sentence that names several labels is no choice between them; nor is a verdict that is denied ("I
    cannot say whether ..."; in English only).

    Args:
        spellings: how a verdict may be written, such as ``[[A]]``, and the label that it stands for.
        alone: a text that names several labels anywhere is no choice either; for spellings with which a judge
            also speaks of the answers, such as ``Output (a)``.

    Returns:
        ``(label, None)``, or None with ``no_verdict``, ``names_several`` or ``denied``. A tie is a label only
        if a spelling for it was named.
    """
    found = list(_any_of(spellings).finditer(text))
    if not found:
        return None, NO_VERDICT
    labels = {_plain(spelling): label for spelling, label in spellings.items()}
    named = [labels[_plain(match[0])] for match in found]
    for match, label in zip(found, named, strict=True):
        if label != named[-1] and (alone or _same_sentence(text, match, found[-1])):
            return None, NAMES_SEVERAL
    if _DENYING.search(text, 0, found[-1].start()):
        return None, DENIED
    return named[-1], None


def rating(
    text: str, bounds: tuple[float, float] = (float("-inf"), float("inf"))
) -> tuple[float | None, str | None]:
    """The number that `text` gives last as ``[[7.5]]``, or else as ``[7]``, and why there is none.

    Args:
        bounds: the ends of the scale.

    Returns:
        ``(number, None)``, or None with ``no_verdict``, ``names_several`` or ``out_of_scale``.
    """
    found = list(_DOUBLE.finditer(text)) or list(_SINGLE.finditer(text))
    if not found:
        return None, NO_VERDICT
    number = float(found[-1][1])
    for match in found:
        if float(match[1]) != number and _same_sentence(text, match, found[-1]):
            return None, NAMES_SEVERAL
    if not bounds[0] <= number <= bounds[1]:
        return None, OUT_OF_SCALE
    return number, None


def first_listed(text: str, spellings: Mapping[str, Label], *, at_line_start: bool = False) -> Label | None:
    """The label of the first of `spellings` that occurs in `text`, as FastChat and LLMBar read.

    Only to replay what they published: it prefers what is listed first.
    """
    begin = r"(?:^|\n) ?" if at_line_start else ""
    return next(
        (label for spelling, label in spellings.items() if re.search(begin + re.escape(spelling), text)), None
    )


def _same_sentence(text: str, one: re.Match[str], later: re.Match[str]) -> bool:
    return not _SENTENCE_END.search(text, one.start(), later.start())


def _any_of(spellings: Mapping[str, Label]) -> re.Pattern[str]:
    """Any of `spellings`; of two that begin alike, the longer."""
    assert spellings, "no spelling is any text's"
    longest_first = sorted(spellings, key=len, reverse=True)
    return re.compile("|".join(map(_loosely, longest_first)), re.IGNORECASE)


def _loosely(spelling: str) -> str:
    words = r"[\s*_`]+".join(re.escape(word) for word in spelling.split())
    before = r"(?<!\w)" if re.match(r"\w", spelling) else ""
    after = r"(?!\w)" if re.search(r"\w$", spelling) else ""
    return before + words + after


def _plain(text: str) -> str:
    return re.sub(r"[\s*_`]+", " ", text).casefold()
