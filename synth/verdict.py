"""What a judge's reply says of two answers: a probability, or why it cannot be read. Never a default."""

import math

import orjson
from jsonschema import Draft202012Validator

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


def read_verdict(reply: Reply, verdict: str) -> tuple[float | None, bool, str | None]:
    """What a reply says: probability in [0, 1] of the answer shown first, censored, why unreadable.

    A reply that names neither letter has no probability: it is counted, and never becomes a tie.
    """
    try:
        if verdict == "logprobs":
            return *p_of_a(reply), None
        return p_of_json(reply), False, None
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
    if not reply.tokens:
        raise bad_reply("log-probabilities of the first token", reply.text)
    top = reply.tokens[0].top
    mass = {
        letter: sum(math.exp(p) for token, p in top.items() if _reads(token) == letter) for letter in "AB"
    }
    if sum(mass.values()) < LEAST_MASS:
        raise bad_reply("A or B", reply.text)
    left_over = max(0.0, 1 - sum(map(math.exp, top.values())))
    bound = min(math.exp(min(top.values())), left_over)
    a, b = (mass[letter] or bound for letter in "AB")
    return a / (a + b), not all(mass.values())


def _reads(token: str) -> str:
    return token.strip(" \n\t()[]*\"'.:▁Ġ")


def p_of_json(reply: Reply) -> float:
    """1.0 for ``{"better": "A"}``, 0.0 for B.

    Raises:
        BadReply: the reply is not that JSON.
    """
    try:
        said = orjson.loads(reply.text)
    except orjson.JSONDecodeError as error:
        raise bad_reply('{"better": "A"} or {"better": "B"}', reply.text) from error
    if not Draft202012Validator(VERDICT).is_valid(said):
        raise bad_reply('{"better": "A"} or {"better": "B"}', reply.text)
    return 1.0 if said["better"] == "A" else 0.0
