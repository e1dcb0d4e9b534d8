"""How far sampled answers to one question agree, and what that says of how sure a model is.

Tian et al. 2023 (arXiv:2311.08401), section 3.2, and ``parsing.py`` of its code at 93fb47f: answers fall into
classes by rules of thumb, and the confidence is read off the shares of the classes.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from synth.final_answer import same_answer
from synth.questions import words

Measure = Literal["max_conf", "exp_conf", "neg_entropy"]

_KNOWS_NOT = re.compile(
    r"\W*(?:unknown|unsure|not (?:sure|known|certain)|n/?a|sorry"
    r"|i(?: do not|['\u2019 ]?m not| don['\u2019]?t) )\b",
    re.IGNORECASE,
)


def class_shares(answers: Sequence[str]) -> list[float]:
    """The shares of the classes of answers that say the same, the first class first; they sum to 1.

    An answer belongs to the first class whose first member it says the same as. One that does not know is
    a class of its own; one without a word is left out.
    """
    firsts: list[str] = []
    sizes: Counter[int] = Counter()
    plain = [text for text in map(_first_line, answers) if text]
    for text in plain:
        knows = not _KNOWS_NOT.match(text)
        place = next((n for n, first in enumerate(firsts) if knows and equivalent(text, first)), len(firsts))
        if place == len(firsts):
            firsts.append(text)
        sizes[place] += 1
    return [sizes[place] / len(plain) for place in range(len(firsts))]


def measured(shares: Sequence[float], measure: Measure) -> float:
    """How sure a model is whose answers fall into classes of these `shares`; natural logarithms."""
    match measure:
        case "max_conf":
            return max(shares)
        case "exp_conf":
            return math.fsum(share * share for share in shares)
        case "neg_entropy":
            return math.fsum(share * math.log(share) for share in shares)


def equivalent(one: str, other: str) -> bool:
    """Whether two short answers say the same: as final answers do, or by the same words, or one at the
    other's end, or one in the plural."""
    first, second = words(one), words(other)
    if not first or not second or same_answer(one, other):
        return same_answer(one, other)
    return set(first) == set(second) or _ends(one, other) or _ends(other, one) or _plural(first, second)


def _ends(whole: str, end: str) -> bool:
    """Whether `whole` ends with the words of `end`, and not after a comma: "Akron, Ohio" is not Ohio."""
    words_, tail = words(whole), words(end)
    if len(words_) <= len(tail) or words_[-len(tail) :] != tail:
        return False
    before = re.escape(words_[-len(tail) - 1])
    return not re.search(rf"{before}\s*,\s*{re.escape(tail[0])}", whole, re.IGNORECASE)


def _plural(first: list[str], second: list[str]) -> bool:
    return " ".join(first) in (" ".join(second) + "s", " ".join(second).removesuffix("s"))


def _first_line(answer: str) -> str:
    return answer.strip().split("\n")[0].strip()
