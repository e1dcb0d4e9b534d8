"""Judge by evidence: reasons written down first, then a score for each of two answers, several times.

Wang et al. 2023, "Large Language Models are not Fair Evaluators" (arXiv:2305.17926), section 3: multiple
evidence calibration asks for the evidence before the scores and averages k = 3 samples at temperature 1;
balanced position calibration averages both orders. An answer's mean over its judgements is the view's to
take. The paper's third part sends the pairs that split the judge most to people: their judgements are kept
here one by one, each with its `order` and `sample`, so that those which disagree can be found.

Differs: JSON in place of lines of text.
"""

from dataclasses import replace
from typing import Any

from pydantic import Field

from synth.pairs import PairJudge, Question, shown
from synth.rows import Judgment, Message
from synth.step import Bench
from synth.structured import tell_json

SCALE = (1.0, 10.0)
_SCORE = {"type": "number", "minimum": 1, "maximum": 10}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"evidence": {"type": "string"}, "score_1": _SCORE, "score_2": _SCORE},
    "required": ["evidence", "score_1", "score_2"],
    "additionalProperties": False,
}


class JudgeEvidence(PairJudge):
    """Score two answers side by side, after the evidence.

    Needs: a row with at least two answers. Gives: the same row with a raw judgement an answer and question.
    Costs: 2 x `samples` calls a pair, half with ``both_orders: false``.
    """

    samples: int = Field(3, ge=1, description="the paper takes 3")
    temperature: float = Field(1.0, ge=0, description="the paper takes 1")
    max_tokens: int = Field(1024, ge=1)

    async def judge(self, question: Question, bench: Bench) -> list[Judgment]:
        """Two raw judgements, one an answer, from one call."""
        asked = bench.prompt("judge_evidence/judge.md").fill(**shown(question))
        told = await tell_json(
            bench.model(question.model),
            [Message("user", asked)],
            SCHEMA,
            sample=self.sample(question),
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        scores = (None, None) if told.error else (told.value["score_1"], told.value["score_2"])
        said = "" if told.error else told.value["evidence"]
        return [
            replace(
                one, value=score, unreadable="no_scores" if told.error else None, calls=told.calls, said=said
            )
            for one, score in zip(self.unasked(question, "", bench), scores, strict=True)
        ]

    def unasked(self, question: Question, reason: str, bench: Bench) -> list[Judgment]:
        """Two raw judgements without a score, in the order shown."""
        return [
            Judgment(
                bench.step,
                "score",
                (number,),
                question.order,
                None,
                unreadable=reason,
                principle=question.principle.id if question.principle else None,
                bounds=SCALE,
                sample=question.sample,
                model=question.model,
            )
            for number in question.order
        ]

    def calls(self, rows: float) -> float:
        """One a question."""
        return self.questions(rows)
