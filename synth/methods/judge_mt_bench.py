"""Judge as MT-Bench does: a comparison in words that ends in [[A]], [[B]] or [[C]].

Zheng et al. 2023, "Judging LLM-as-a-Judge" (arXiv:2306.05685), sections 3.1 and 3.4: the judge explains, then
names the better reply or a tie; each pair is judged in both orders, and an answer wins only if both name it,
else it is a tie; maths, reasoning and code are judged beside a reference answer, which the judge made first.
That rule is the `preference` view's ``rule: agree``: here every verdict is kept as it was given.

Differs: the reference is a right answer that the row knows; the paper's grading of single answers is not
built; the last verdict of a reply counts, where the reference code takes the first that its tests meet;
a verdict that cannot be read is counted, and never a tie.
"""

from pydantic import Field

from synth import said
from synth.pairs import PairJudge, Question, shown
from synth.rows import Judgment, Message
from synth.step import Bench

SPELLINGS = {"[[A]]": "first", "[[B]]": "second", "[[C]]": "tie"}
P_FIRST = {"first": 1.0, "second": 0.0, "tie": 0.5}


class JudgeMtBench(PairJudge):
    """Compare answers of a row, two by two, in words.

    Needs: a row with at least two answers; for `reference`, that column among the row's facts. Gives: the
    same row with a raw judgement a question. Costs: 2 calls a pair, 1 with ``both_orders: false``.
    """

    reference: str | None = Field(None, description="the fact that holds a right answer to judge by")
    max_tokens: int = Field(2048, ge=1)

    async def judge(self, question: Question, bench: Bench) -> list[Judgment]:
        """One raw judgement, with what was said for it."""
        asked = bench.prompt("judge_mt_bench/judge.md").fill(
            **shown(question), reference=self._reference(question)
        )
        reply = await bench.model(question.model).ask(
            [Message("user", asked)],
            sample=self.sample(question),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        label, unreadable = said.verdict(reply.text, SPELLINGS)
        if reply.finish == "length" and label is not None:
            label, unreadable = None, "cut_off"
        value = P_FIRST[label] if label else None
        return [
            question.judged(
                bench.step, value, unreadable=unreadable, calls=(reply.key,), said=reply.text.strip()
            )
        ]

    def _reference(self, question: Question) -> str | None:
        """The right answer that the row knows of; rows without one are judged without."""
        if self.reference is None:
            return None
        known = question.row.facts.get(self.reference)
        return None if known is None else str(known)

    def calls(self, rows: float) -> float:
        """One a question."""
        return self.questions(rows)
