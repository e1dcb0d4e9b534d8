"""What a judge's reply says of two answers: a probability, or why it cannot be read. Never a default."""

import math
import re

from synth.errors import BadReply, bad_reply
from synth.models.base import Reply

VERDICT = {
    "type": "object",
    "properties": {"better": {"enum": ["A", "B"]}},
    "required": ["better"],
    "additionalProperties": False,
}

# Our own choice: with less than this on both letters together, their ratio says nothing of a choice.
LEAST_MASS = 0.01

_MARKS = r"[\"'*`]*"
_ALONE = re.compile(r"[\s\"'*`(\[]*([AB])[\s\"'*`)\].:]*")
# The letter is a capital, since "a" is also an article, and ends its sentence: "A or B" is no choice.
_NAMED = re.compile(
    rf"\b(?i:answer|verdict|choice){_MARKS}(?: is)?\s*:?{_MARKS}\s*"
    r"[\"'*`(\[]*([AB])[\"'*`)\]]*(?=\.|!|\n|\s*$)"
)


def read_logprobs(reply: Reply) -> tuple[float | None, bool, str | None]:
    """What the first token's probabilities say: of the answer shown first, censored, why unreadable.

    A reply that names neither letter has no probability: it is counted, and never becomes a tie.
    """
    try:
        return *p_of_a(reply), None
    except BadReply:
        return None, False, "no_verdict"


def p_of_a(reply: Reply) -> tuple[float, bool]:
    """Probability in [0, 1] that the reply's first token is A rather than B; and whether it is a bound.

    All tokens that read as a letter count, with space or bracket or without. If one letter is not among
    the returned tokens, each token of it has at most the least returned probability, and all together at
    most what is left over; the smaller of the two is used as a bound, and flagged.

    Raises:
        BadReply: there are no tokens, or the reply was not about to be a letter.
    """
    mass, bound = token_mass(reply, 0, ("A", "B"))
    if sum(mass.values()) < LEAST_MASS:
        raise bad_reply("A or B", reply.text)
    a, b = (mass[letter] or bound for letter in "AB")
    return a / (a + b), not all(mass.values())


def token_mass(reply: Reply, place: int, words: tuple[str, ...]) -> tuple[dict[str, float], float]:
    """Probability in [0, 1] of each of `words` as the token at `place` of `reply`, however it is spelt.

    Also the bound for a word that was not returned: it has at most the least returned probability, and all
    such words together have at most what is left over.

    Raises:
        BadReply: there is no such token.
    """
    if len(reply.tokens) <= place or not reply.tokens[place].top:
        raise bad_reply("log-probabilities of the first tokens", reply.text)
    top = reply.tokens[place].top
    mass = {word: sum(math.exp(p) for token, p in top.items() if reads(token) == word) for word in words}
    left_over = max(0.0, 1 - sum(map(math.exp, top.values())))
    missing = max(1, sum(not p for p in mass.values()))
    return mass, min(math.exp(min(top.values())), left_over / missing)


def reads(token: str) -> str:
    """`token` without the space, brackets and marks that tokenizers and styles put around a word."""
    return token.strip(" \n\t()[]*\"'.:▁Ġ")


def read_letter(reply: Reply) -> tuple[str | None, str | None]:
    """The letter that a reply settles on, and why there is none: ``no_verdict`` or ``cut_off``.

    It says nothing else, or names the letter as its answer at the end of a sentence. A letter that is only
    mentioned on the way does not count, and neither does a reply that names both.
    """
    alone = _ALONE.fullmatch(reply.text)
    named = {alone[1]} if alone else set(_NAMED.findall(reply.text))
    if len(named) != 1:
        return None, "no_verdict"
    if reply.finish == "length" and not alone:
        return None, "cut_off"
    return named.pop(), None
