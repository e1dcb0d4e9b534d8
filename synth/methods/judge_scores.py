"""Judge scores: how good each answer is from 1 to 10, read from the probabilities of the ten numbers.

Lee et al. 2023, "RLAIF" (arXiv:2309.00267), section 2.2.2, direct RLAIF: the judge is asked to rate an
answer, and its score is the mean of 1 to 10 under the probabilities that it gives to the ten numbers, which
are divided by their sum first. The paper uses it as the reward itself, moved to [-1, 1]; `scaled` does that.

Differs: asked once, offline, rather than during training. Where a tokenizer writes "10" as two tokens, the
probability of "1" is shared out by what the second token says; if the reply did not begin with "1", nobody
knows how, and the judgement is marked as a bound.
"""

from collections.abc import AsyncGenerator, Mapping

from pydantic import Field

from synth.errors import BadReply, Filtered, bad_reply
from synth.models.base import Capability, Reply
from synth.rows import Judgment, Message, Row
from synth.step import Bench, ConstitutionName, Each, ModelName
from synth.verdict import LEAST_MASS, token_mass

TOP = 20
SCALE = (1.0, 10.0)
NUMBERS = tuple(str(number) for number in range(1, 11))


class JudgeScores(Each):
    """Score every answer of a row alone, from 1 to 10.

    Needs: a row with an answer. Gives: the same row with a raw judgement an answer. Costs: 1 call an answer.
    """

    model: ModelName
    constitution: ConstitutionName | None = Field(None, description="one principle is drawn for each row")

    def wants(self) -> Mapping[str, frozenset[Capability]]:
        """Log-probabilities."""
        return {"model": frozenset(["logprobs"])}

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its judgements."""
        if not row.answers:
            raise Filtered("no_answer")
        yield row.judged(*await bench.ask_all([self._judged(row, n, bench) for n in range(len(row.answers))]))

    async def _judged(self, row: Row, number: int, bench: Bench) -> Judgment:
        principle = bench.principle(self.constitution, bench.chance(row.id))
        asked = bench.prompt("judge_scores/score.md").fill(
            conversation=row.prompt, reply=row.answers[number].text, principle=principle
        )
        reply = await bench.model(self.model).ask(
            [Message("user", asked)], top_logprobs=TOP, max_tokens=2, temperature=0.0
        )
        value, censored, unreadable = read_score(reply)
        return Judgment(
            bench.step,
            "score",
            (number,),
            (number,),
            value,
            unreadable,
            censored,
            principle=principle.id if principle else None,
            calls=(reply.key,),
            bounds=SCALE,
            model=self.model,
        )

    def calls(self, rows: float) -> float:
        """2 answers a row are assumed."""
        return rows * 2


def read_score(reply: Reply) -> tuple[float | None, bool, str | None]:
    """The mean of 1 to 10 by their probabilities, whether it is a bound, and why it cannot be read."""
    try:
        mass, is_bound = number_mass(reply)
    except BadReply:
        return None, False, "no_score"
    return expected(mass), is_bound, None


def number_mass(reply: Reply) -> tuple[dict[str, float], bool]:
    """Probability of each of the ten numbers as what `reply` says first; and whether some is a bound.

    A number that was not returned is taken at its bound.

    Raises:
        BadReply: no tokens, or the reply was not about to be a number.
    """
    mass, bound = token_mass(reply, 0, NUMBERS)
    if sum(mass.values()) < LEAST_MASS:
        raise bad_reply("a number from 1 to 10", reply.text)
    split = _tens(reply)
    is_bound = not all(mass[number] for number in NUMBERS[:-1]) or (not mass["10"] and split is None)
    if split is not None:
        mass["10"] += mass["1"] * split
        mass["1"] *= 1 - split
    elif not mass["10"]:
        mass["10"] = bound
    return {number: mass[number] or bound for number in NUMBERS}, is_bound


def _tens(reply: Reply) -> float | None:
    """How likely a 0 comes after a first token that is a bare 1; None if the reply did not begin so."""
    if len(reply.tokens) < 2 or reply.tokens[0].text.strip() != "1":
        return None
    return token_mass(reply, 1, ("0",))[0]["0"] or None


def expected(mass: Mapping[str, float]) -> float:
    """The mean number under `mass`, which need not sum to 1."""
    return sum(int(number) * p for number, p in mass.items()) / sum(mass.values())


def scaled(score: float) -> float:
    """A score of 1 to 10 moved to [-1, 1], as the paper's reward."""
    return (score - 1) / 9 * 2 - 1
