"""Judge by likelihood: how likely the model itself would be to give each answer.

The score of an answer is its mean log-probability a token, given the prompt, under the model. Nothing
is asked, so no order is shown and agreement under swapping does not apply. It is no judge of harm or
truth: it tells fluent and fitting answers from garbled and beside-the-point ones, which is what a model
too small to be asked can still do. No paper's method; `docs/results.md` says how far it goes.
"""

from collections.abc import AsyncGenerator, Mapping

from synth.errors import Filtered
from synth.models.base import Capability
from synth.rows import Judgment, Row
from synth.step import Bench, Each, ModelName


class JudgeLikelihood(Each):
    """Score every answer of a row alone.

    Needs: a row with an answer. Gives: the same row with a raw judgement an answer, in nats a token.
    Costs: 1 call an answer, which generates nothing.
    """

    model: ModelName

    def wants(self) -> Mapping[str, frozenset[Capability]]:
        """Scores of given text."""
        return {"model": frozenset(["score"])}

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its judgements."""
        if not row.answers:
            raise Filtered("no_answer")
        yield row.judged(*await bench.ask_all([self._judged(row, n, bench) for n in range(len(row.answers))]))

    async def _judged(self, row: Row, number: int, bench: Bench) -> Judgment:
        text = row.answers[number].text
        if not text:
            return Judgment(bench.step, "likelihood", (number,), (number,), None, "empty_answer")
        reply = await bench.model(self.model).ask(row.prompt, kind="score", target=text)
        mean = sum(token.logprob for token in reply.tokens) / len(reply.tokens)
        return Judgment(
            bench.step, "likelihood", (number,), (number,), mean, calls=(reply.key,), model=self.model
        )

    def calls(self, rows: float) -> float:
        """3 answers a row are assumed."""
        return rows * 3
