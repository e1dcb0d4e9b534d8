"""How far sampled answers to one question agree, and what that says of how sure a model is.

Tian et al. 2023 (arXiv:2311.08401), section 3.2, and ``parsing.py`` of its code at 93fb47f: answers fall into
classes by rules of thumb, and the confidence is read off the shares of the classes.

Differs: an answer that does not know agrees with none, where the code takes it for any other. Two quantities
are the same by value, so that 1.50 is 1.5 and 1.5 is not 5, an ending of it; an ending begins at a word, so
that "unholy" is not "holy", and not after a comma, so that "Akron, Ohio" is not "Ohio": the code has that
rule too, but turns commas into blanks before. A letter of an option and LaTeX are read as in `final_answer`.
"No Country" is not "no", which needs a mark or a pronoun after it. Marks within words part them. Only the
first line of an answer counts, and an empty one does not.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from synth.final_answer import quantity, same_answer
from synth.questions import words

Measure = Literal["max_conf", "exp_conf", "neg_entropy"]

_AROUND = " \t.!?*\"'()"
_UNKNOWN = "(?:unknown|unsure|unclear|uncertain|not (?:known|sure|clear|certain))"
_KNOWS_NOT = re.compile(
    "(?:(?:i am |i'm )?sorry,? (?:but )?)?"
    rf"(?:{_UNKNOWN}|n/a|no idea|(?:it is|it's|that is|that's) {_UNKNOWN}\b.*"
    rf"|(?:i am|i'm) (?:\w+ly )?(?:{_UNKNOWN}|unable|not able|not aware)\b.*"
    r"|i (?:\w+ly )?(?:do not|don't) (?:know|have|recall|remember)\b.*"
    r"|(?:i )?(?:cannot|can not|can't) (?:be )?(?:answer|say|tell|determine|confirm|recall|find)d?\b.*)",
    re.IGNORECASE,
)
_YES_OR_NO = re.compile(
    r"(yes|no)(?:\s*[,.;:!]\s.*|\s+(?:i|you|he|she|it|we|they|this|that|there)\b.*)", re.IGNORECASE
)


def class_shares(answers: Sequence[str]) -> list[float]:
    """The shares of the classes of answers that say the same, the first class first; they sum to 1.

    An answer belongs to the first class whose first member it says the same as. One that only says that it
    does not know is a class of its own; an empty one is left out.
    """
    firsts: list[str] = []
    sizes: Counter[int] = Counter()
    plain = [text for text in map(_first_line, answers) if text]
    for text in plain:
        knows = not _knows_not(text)
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
    other's end, or one in the plural. Of two quantities the value alone decides."""
    one, other = _short(one), _short(other)
    first, second = words(one), words(other)
    if not first or not second or same_answer(one, other) or (quantity(one) and quantity(other)):
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


def _knows_not(answer: str) -> bool:
    """Whether the whole of `answer` says that it is none: "Unknown Pleasures" and "Na" are answers."""
    plain = " ".join(answer.replace("\u2019", "'").split()).strip(_AROUND)
    return _KNOWS_NOT.fullmatch(plain) is not None


def _short(answer: str) -> str:
    """`answer`, or the yes or no that it begins with: "Yes, he was" is yes."""
    found = _YES_OR_NO.fullmatch(answer.strip(_AROUND))
    return found[1] if found else answer


def _first_line(answer: str) -> str:
    return answer.strip().split("\n")[0].strip()
