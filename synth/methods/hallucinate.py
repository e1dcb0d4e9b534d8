"""Hallucinate: a right answer beside a wrong one that looks right, of a known kind.

Li et al. 2023, "HaluEval" (arXiv:2305.11747), section 2.2 and its code at b7253db, sample then filter: two
generators, one that follows a single instruction and one that is talked to, write a wrong answer each at
temperature 1; at temperature 0 a filter picks the more plausible. The kinds of error are the paper's, by
task: four for questions, three for dialogue, three for summaries.

Differs: the kind is drawn for each row, where the paper's questions name all and let the model choose, and
is kept. The filter is asked in both orders; where they disagree, chance picks. A candidate is not used that
is empty, that its model did not end itself, or that is the same as the right answer. No examples are shown.
"""

import random
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from synth.errors import Filtered
from synth.final_answer import same_answer
from synth.models.base import Reply
from synth.rows import Answer, Judgment, Message, Row
from synth.step import Bench, Each, ModelName
from synth.structured import Told, tell_json
from synth.verdict import VERDICT

KINDS = {
    "qa": ("comprehension", "contradiction", "specificity", "inference"),
    "dialogue": ("extrinsic_soft", "extrinsic_hard", "extrinsic_grouped"),
    "summary": ("factual", "non_factual", "intrinsic"),
}
GENERATORS = ("one_pass", "conversation")
ORDERS = ((0, 1), (1, 0))


class Hallucinate(Each):
    """Give a row its right answer and a wrong one.

    Needs: a row with the right answer and a passage among its facts. Gives: the same row with two more
    answers, the right one and the wrong one, a check of each, and among the facts the kind of the error, what
    the filter said, and the other candidate. A reply of the filter that cannot be read is counted.
    Costs: 3 calls of the generator, and 2 of the filter where it has two candidates to choose from.
    """

    model: ModelName = Field(description="writes the wrong answers")
    filter: ModelName | None = Field(None, description="picks the more plausible; `model` if left out")
    task: Literal["qa", "dialogue", "summary"] = "qa"
    answer: str = Field("answer", description="the key among the facts that holds the right answer")
    passage: str = Field("passage", description="the key among the facts that holds what is known")
    temperature: float = Field(1.0, ge=0)
    max_tokens: int = Field(256, ge=1)

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its two answers."""
        for key, reason in ((self.answer, "no_gold_answer"), (self.passage, "no_passage")):
            if not str(row.facts.get(key) or "").strip():
                raise Filtered(reason)
        truth = str(row.facts[self.answer]).strip()
        kind = random.Random(bench.chance(f"{row.id}:kind")).choice(KINDS[self.task])
        blanks = {"passage": str(row.facts[self.passage]), "conversation": row.prompt, "truth": truth}

        candidates = await self._candidates(row, kind, blanks, bench)
        reasons = [_unusable(candidate, truth) for candidate in candidates]
        usable = [number for number, reason in enumerate(reasons) if reason is None]
        if not usable:
            raise Filtered(reasons[0] or "unusable")
        picked, told = usable[0], list[Told]()
        known: dict[str, Any] = {"kind": kind, "unused": reasons}
        if len(usable) == 2 and not same_answer(candidates[0].text, candidates[1].text):
            told = await self._asked(candidates, blanks, bench)
            picked, said = _picked(told, bench.chance(f"{row.id}:picked"))
            known |= said
        other = candidates[1 - picked]
        known |= {"generator": GENERATORS[picked], "other": {"text": other.text, "calls": list(other.calls)}}
        wrong = candidates[picked]
        wrong = replace(wrong, calls=(*wrong.calls, *(key for each in told for key in each.calls)))
        at = len(row.answers)
        answered = row.answered(Answer(truth, bench.step), wrong).noted(bench.step, **known)
        yield answered.judged(
            *self._unreadable(told, at + 1, bench),
            _check(at, 1.0, "the right answer of the source", bench),
            _check(at + 1, 0.0, f"written to be wrong: {kind}", bench),
        )

    async def _candidates(
        self, row: Row, kind: str, blanks: dict[str, Any], bench: Bench
    ) -> tuple[Answer, Answer]:
        """The wrong answers of the two generators, in the order of `GENERATORS`."""
        pattern = bench.prompt("hallucinate/pattern.md").fill(type=kind)
        once = bench.prompt("hallucinate/one_pass.md").fill(**blanks, pattern=pattern)
        first = bench.prompt("hallucinate/first_turn.md").fill(pattern=pattern)
        then = bench.prompt("hallucinate/second_turn.md").fill(**blanks)
        one, other = await bench.ask_all(
            [self._said([once], row, bench), self._said([first, then], row, bench)],
        )
        return one, other

    async def _said(self, turns: list[str], row: Row, bench: Bench) -> Answer:
        """What the generator says to the last of `turns`, each said after it replied to the one before."""
        chat: list[Message] = []
        calls: tuple[str, ...] = ()
        for turn in turns:
            chat.append(Message("user", turn))
            reply: Reply = await bench.model(self.model).ask(
                chat, sample=row.occurrence, temperature=self.temperature, max_tokens=self.max_tokens
            )
            chat.append(Message("assistant", reply.text))
            calls += (reply.key,)
        return Answer(reply.text.strip(), bench.step, finish=reply.finish, calls=calls, model=self.model)

    async def _asked(
        self, candidates: tuple[Answer, Answer], blanks: dict[str, Any], bench: Bench
    ) -> list[Told]:
        """What the filter says when it sees the candidates in each of `ORDERS`."""
        model, prompt = bench.model(self.filter or self.model), bench.prompt("hallucinate/filter.md")
        asks = [
            prompt.fill(**blanks, first=candidates[first].text, second=candidates[second].text)
            for first, second in ORDERS
        ]
        return await bench.ask_all(
            [
                tell_json(model, [Message("user", ask)], VERDICT, temperature=0.0, max_tokens=32)
                for ask in asks
            ]
        )

    def _unreadable(self, told: list[Told], number: int, bench: Bench) -> list[Judgment]:
        """The replies of the filter that picked answer `number` and cannot be read."""
        return [
            Judgment(
                bench.step,
                "check",
                (number,),
                (number,),
                None,
                "filter_unreadable",
                calls=each.calls,
                aspect="plausibility",
                sample=sample,
                model=self.filter or self.model,
            )
            for sample, each in enumerate(told)
            if each.value is None
        ]

    def calls(self, rows: float) -> float:
        """5 a row."""
        return rows * 5


def _picked(told: list[Told], chance: str) -> tuple[int, dict[str, Any]]:
    """The candidate that the filter named in both orders, or one by chance; and what it named in each."""
    named = [
        None if each.value is None else order["AB".index(each.value["better"])]
        for each, order in zip(told, ORDERS, strict=True)
    ]
    both, again = named
    agreed = both is not None and both == again
    picked = both if both is not None and agreed else random.Random(chance).randrange(2)
    return picked, {"named": named, "agreed": agreed}


def _unusable(candidate: Answer, truth: str) -> str | None:
    """Why `candidate` is no wrong answer to learn from."""
    return candidate.unfit or ("same_as_truth" if same_answer(candidate.text, truth) else None)


def _check(number: int, value: float, said: str, bench: Bench) -> Judgment:
    """What is known of an answer by the way it was made."""
    return Judgment(bench.step, "check", (number,), (number,), value, aspect="truth", said=said)
