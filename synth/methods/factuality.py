"""Factuality: every answer is taken apart into claims, and scored by how many of them hold.

Tian et al. 2023, "Fine-tuning Language Models for Factuality" (arXiv:2311.08401), section 3 and its code at
93fb47f. ``by: samples`` needs no reference (section 3.2): to each claim a question, `samples` answers of the
base model to it at temperature 1 and top_p 0.9, and the claim's confidence is the share of the largest class
of answers that say the same; or one of two other measures. ``by: passage`` has one (section 3.1): the share
of claims that a passage supports, which is FActScore (Min et al. 2023, arXiv:2305.14251); its penalty for
short answers is `gamma`, 10 there. All pairs of answers, less ties, are what the preference view makes of
the scores with ``rejected: all``.

Differs: the passage is in the row's facts and not retrieved. A claim and its question come of one call. The
base model is asked as a chat, without examples. `consensus` says where classes differ from the code's.
``by: memory`` is a control: the same judge, without the passage.
"""

import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from pydantic import Field

from synth.consensus import Measure, class_shares, measured
from synth.errors import Filtered
from synth.questions import words
from synth.rows import Judgment, Message, Row
from synth.sentences import sentences
from synth.step import Bench, Each, ModelName
from synth.structured import Told, closed, tell_json

VERDICTS = ("supported", "contradicted", "not_mentioned")
ANSWERS, CLAIMS = 10, 6  # what `synth plan` assumes of a row and of an answer
SHORT = 32  # tokens of a sampled answer


@dataclass(frozen=True, slots=True)
class Weighed:
    """What became of one claim: what is `known` of it; its `value` in the score, None if unreadable."""

    known: dict[str, Any]
    value: float | None
    calls: tuple[str, ...]


class Factuality(Each):
    """Score every answer of a row by its claims, each alone.

    Needs: a row with answers; with ``by: passage`` the passage among its facts. Gives: the same row with a
    raw judgement an answer, in [0, 1], and among the facts the claims of each answer, their number and
    whether it abstained. An answer that abstains, or whose claims cannot be read, has no score.
    Costs: 1 call an answer, and for each of its claims, at most `most_claims`, `samples` calls of the base
    model or 1 of the judge.
    """

    model: ModelName = Field(description="takes answers apart, and judges claims")
    by: Literal["samples", "passage", "memory"] = "samples"
    base: ModelName | None = Field(
        None, description="samples: the model to be tuned, whose confidence counts; `model` if left out"
    )
    samples: int = Field(20, ge=1, description="answers a question")
    measure: Measure = Field(
        "max_conf",
        description="of a claim's classes: the largest share, the sum of squares, or minus the entropy",
    )
    passage: str = Field("passage", description="passage: the key among the facts that holds it")
    gamma: int = Field(0, ge=0, description="up to so many claims an answer is penalised; FActScore uses 10")
    most_claims: int = Field(20, ge=1, description="claims of an answer that are looked at, the first ones")
    max_tokens: int = Field(1024, ge=1, description="for the list of claims")

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """A penalty that would be a reward, or that no answer could escape."""
        if self.gamma and self.measure == "neg_entropy" and self.by == "samples":
            yield (
                "gamma",
                "a penalty multiplies a score, and minus an entropy is below 0; leave one of them out",
            )
        if self.gamma > self.most_claims:
            yield (
                "gamma",
                f"no answer is asked for more than most_claims = {self.most_claims} claims, so all would be "
                "penalised; expected at most that",
            )

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its scores."""
        if not row.answers:
            raise Filtered("no_answer")
        if self.by == "passage" and not str(row.facts.get(self.passage) or "").strip():
            raise Filtered("no_passage")
        scored = await bench.ask_all([self._scored(row, number, bench) for number in range(len(row.answers))])
        judgments, known = zip(*scored, strict=True)
        yield row.judged(*judgments).noted(bench.step, answers=list(known))

    async def _scored(self, row: Row, number: int, bench: Bench) -> tuple[Judgment, dict[str, Any]]:
        """The judgement of one answer, and what is known of its claims."""
        known: dict[str, Any] = {"answer": number, "abstained": False, "claims": []}
        if not row.answers[number].text:
            return self._judgment(number, None, "empty_answer", (), bench), known
        listed = await self._listed(row, number, bench)
        if listed.value is None:
            return self._judgment(number, None, "claims_unreadable", listed.calls, bench), known
        stated = _distinct(listed.value["claims"])
        known |= {
            "abstained": listed.value["abstains"],
            "left_out": max(0, len(stated) - self.most_claims),
        }
        if known["abstained"] or not stated:
            why = "abstained" if known["abstained"] else "no_claims"
            return self._judgment(number, None, why, listed.calls, bench), known
        weighed = await bench.ask_all(
            [self._weighed(each, row, bench) for each in stated[: self.most_claims]]
        )
        calls = (*listed.calls, *(key for each in weighed for key in each.calls))
        value, counted = self._value(weighed, len(stated))
        reason = "no_claim_readable" if value is None else None
        return self._judgment(number, value, reason, calls, bench), known | counted

    async def _listed(self, row: Row, number: int, bench: Bench) -> Told:
        """What answer `number` claims."""
        questions = self.by == "samples"
        ask = bench.prompt("factuality/claims.md").fill(
            conversation=row.prompt,
            reply=row.answers[number].text,
            most=self.most_claims,
            questions=questions,
        )
        return await tell_json(
            bench.model(self.model),
            [Message("user", ask)],
            _list_schema(questions),
            temperature=0.0,
            max_tokens=self.max_tokens,
        )

    def _value(self, weighed: Sequence[Weighed], count: int) -> tuple[float | None, dict[str, Any]]:
        """The score of an answer that makes `count` claims, of which some were weighed; and what is known."""
        values = [each.value for each in weighed if each.value is not None]
        known = {"claims": [each.known for each in weighed], "count": count, "readable": len(values)}
        if not values:
            return None, known
        mean = fmean(values)
        # An answer is as long as it is, whether or not the judge's verdicts can be read.
        return mean * penalty(count, self.gamma), known | {"mean": mean}

    async def _weighed(self, stated: dict[str, str], row: Row, bench: Bench) -> Weighed:
        """How far one claim holds."""
        if self.by == "samples":
            return await self._sampled(stated, bench)
        return await self._judged(stated["claim"], row, bench)

    async def _sampled(self, stated: dict[str, str], bench: Bench) -> Weighed:
        """How sure the base model is of what a claim says. Equal questions share their answers."""
        question = bench.prompt("factuality/answer.md").fill(question=stated["question"])
        model = bench.model(self.base or self.model)
        replies = await bench.ask_all(
            [
                model.ask(
                    [Message("user", question)],
                    sample=number,
                    temperature=1.0,
                    top_p=0.9,
                    max_tokens=SHORT,
                )
                for number in range(self.samples)
            ]
        )
        shares = class_shares([reply.text for reply in replies])
        value = measured(shares, self.measure) if shares else None
        known = {**stated, "confidence": value, "classes": len(shares)}
        return Weighed(known, value, tuple(reply.key for reply in replies))

    async def _judged(self, claim: str, row: Row, bench: Bench) -> Weighed:
        """Whether the passage, or else the judge's memory, supports a claim."""
        evidence = sentences(str(row.facts[self.passage])) if self.by == "passage" else []
        numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(evidence, 1))
        ask = bench.prompt("factuality/support.md").fill(claim=claim, passage=numbered)
        told = await tell_json(
            bench.model(self.model),
            [Message("user", ask)],
            _verdict_schema(len(evidence)),
            temperature=0.0,
            max_tokens=64,
        )
        known = {"claim": claim, "verdict": None, "evidence": None}
        if told.value is None:
            return Weighed(known, None, told.calls)
        verdict, found = told.value["verdict"], told.value.get("sentence") or None
        known |= {"verdict": verdict, "evidence": found}
        # A claim that is supported by no sentence in particular is a verdict that contradicts itself.
        unfounded = self.by == "passage" and verdict == "supported" and found is None
        return Weighed(known, None if unfounded else float(verdict == "supported"), told.calls)

    def _judgment(
        self, number: int, value: float | None, unreadable: str | None, calls: tuple[str, ...], bench: Bench
    ) -> Judgment:
        lowest = -math.log(self.samples) if self._below_zero else 0.0
        return Judgment(
            bench.step,
            "score",
            (number,),
            (number,),
            value,
            unreadable,
            calls=calls,
            aspect="factuality",
            bounds=(lowest, 0.0 if self._below_zero else 1.0),
            model=self.model,
        )

    @property
    def _below_zero(self) -> bool:
        return self.by == "samples" and self.measure == "neg_entropy"

    def calls(self, rows: float) -> float:
        """10 answers a row of 6 claims each are assumed."""
        claims = min(CLAIMS, self.most_claims)
        return rows * ANSWERS * (1 + claims * (self.samples if self.by == "samples" else 1))


def penalty(claims: int, gamma: int) -> float:
    """What multiplies a score, in (0, 1]: below `gamma` claims FActScore's exp(1 - gamma / claims)."""
    return 1.0 if claims >= gamma else math.exp(1 - gamma / claims)


def _distinct(claims: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The claims, each once: to say a thing twice makes it no truer."""
    by_words = {tuple(words(each["claim"])): each for each in reversed(claims)}
    return [each for each in by_words.values() if words(each["claim"])][::-1]


def _list_schema(questions: bool) -> dict[str, Any]:
    text = {"type": "string"}
    claim = closed(claim=text, question=text) if questions else closed(claim=text)
    return closed(abstains={"type": "boolean"}, claims={"type": "array", "items": claim})


def _verdict_schema(evidence: int) -> dict[str, Any]:
    """With a passage the number of one of its sentences is asked for, 0 for none."""
    verdict = {"enum": list(VERDICTS)}
    if not evidence:
        return closed(verdict=verdict)
    return closed(verdict=verdict, sentence={"type": "integer", "minimum": 0, "maximum": evidence})
