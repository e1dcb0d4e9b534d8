"""Judge pairs: which of two answers is better, asked of a model in both orders.

Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073), section 4.1: one principle a comparison; the label is
the normalised probability of (A) against (B); worked examples each have a principle of their own, drawn, or
where reasons are shown the one that they were written for; labels that come of reasoning step by step are
clamped to 40-60 %. Lee et al. 2023, "RLAIF" (arXiv:2309.00267), section 2.1: both orders, averaged, so that a
judge that only ever likes one place comes out near one half, and exactly there if it is as sure of it in both
orders; a preamble, plain or detailed; examples; a rationale at temperature 0, after which the question is
put as before. Preamble, examples and reasoning are switches, independent of each other.

Where a provider gives no log-probabilities, ``verdict: votes`` samples the letter, and ``verdict: schema``
asks for JSON; neither is in the papers, and the pipeline file, which a version keeps, says that it was so.

Differs: a chat, in which examples are earlier turns, rather than raw text; letters where Lee et al. have
numbers; the rationale stands in a fence, as words that may be wrong, where they append it as it is. Every raw
judgement is kept with its order, and nothing is averaged or clamped here: a view derives the label.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from synth import assets, judge_examples
from synth.judge_examples import JudgeExample
from synth.models.base import Capability, Reply
from synth.pairs import PairJudge, Question, shown
from synth.rows import Judgment, Message
from synth.step import Bench, Names
from synth.structured import tell_json
from synth.verdict import VERDICT, read_letter, read_logprobs

TOP = 20
CLAMP = (0.4, 0.6)  # Bai et al., section 4.1: only for labels that come of reasoning
RATIONALE_TOKENS = 512  # Lee et al.

ExamplesName = Annotated[str, Names("seeds", judge_examples.read)]


class JudgePairs(PairJudge):
    """Compare answers of a row, two by two, by one letter of a model.

    Needs: a row with at least two answers. Gives: the same row with a raw judgement a question.
    Costs: 2 calls a pair, 4 with `chain_of_thought`; half with ``both_orders: false``; `samples` times as
    many; none for a pair of equal texts.
    """

    verdict: Literal["logprobs", "votes", "schema"] = Field(
        "logprobs", description="read the letters' probabilities, a sampled letter, or a letter from JSON"
    )
    preamble: Literal["plain", "detailed"] = "plain"
    examples: ExamplesName | None = Field(None, description="worked examples, such as `judge_examples`")
    shots: int = Field(2, ge=1, description="examples shown before each pair, drawn for it")
    chain_of_thought: bool = Field(False, description="ask for reasons first, then for the verdict")
    clamp: Literal["paper"] | tuple[float, float] = Field(
        "paper",
        description="bounds of a label. paper: 0.4 and 0.6 for reasoned judgements under a constitution, "
        "none for all others",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.verdict == "logprobs" and self.samples > 1 and not self.chain_of_thought:
            raise ValueError("samples: probabilities are the same each time; ask for votes or for reasons")
        low, high = self._bounds()
        if not 0 <= low <= 0.5 <= high <= 1:
            raise ValueError(f"clamp: expected bounds around one half in [0, 1], found {low} and {high}")
        return self

    def wants(self) -> Mapping[str, frozenset[Capability]]:
        """Log-probabilities, if they are to be read. JSON is asked for in words where it must be."""
        return {"model": frozenset(["logprobs"] if self.verdict == "logprobs" else [])}

    async def judge(self, question: Question, bench: Bench) -> list[Judgment]:
        """One raw judgement: reasons first if they are wanted, then the verdict."""
        examples = list(self._examples(question, bench))
        said = ""
        calls: tuple[str, ...] = ()
        if self.chain_of_thought:
            reasons = await self._reasons(question, examples, bench)
            said, calls = reasons.text.strip(), (reasons.key,)
            if not said:
                return [question.judged(bench.step, None, unreadable="empty_reasons", calls=calls)]
        verdict = await self._verdict(question, examples, said, bench)
        return [
            question.judged(
                bench.step,
                verdict.p_shown_first,
                unreadable=verdict.unreadable,
                censored=verdict.censored,
                calls=calls + verdict.calls,
                said=said,
                bounds=self._bounds(),
            )
        ]

    def _bounds(self) -> tuple[float, float]:
        if self.clamp != "paper":
            return self.clamp
        return CLAMP if self.chain_of_thought and self.constitution else (0.0, 1.0)

    async def _reasons(self, question: Question, examples: list["_Shown"], bench: Bench) -> Reply:
        asked = self._messages(question, examples, bench, ending="reasons")
        return await bench.model(question.model).ask(
            asked, sample=self.sample(question), max_tokens=RATIONALE_TOKENS, temperature=self.temperature
        )

    async def _verdict(
        self, question: Question, examples: list["_Shown"], said: str, bench: Bench
    ) -> "_Verdict":
        model = bench.model(question.model)
        ending = "json" if self.verdict == "schema" else "letter"
        asked = self._messages(question, examples, bench, ending=ending, said=said)
        how: dict[str, Any] = {"sample": self.sample(question), "temperature": self.temperature}
        if self.verdict == "schema":
            told = await tell_json(model, asked, VERDICT, max_tokens=64, **how)
            better, unreadable = (None, "no_verdict") if told.error else (told.value["better"], None)
            return _Verdict(_p_of(better), told.calls, unreadable)
        if self.verdict == "votes":
            reply = await model.ask(asked, max_tokens=16, **how)
            letter, unreadable = read_letter(reply)
            return _Verdict(_p_of(letter), (reply.key,), unreadable)
        reply = await model.ask(asked, top_logprobs=TOP, max_tokens=1, **how)
        p_first, censored, unreadable = read_logprobs(reply)
        return _Verdict(p_first, (reply.key,), unreadable, censored)

    def _messages(
        self, question: Question, examples: list["_Shown"], bench: Bench, *, ending: str, said: str = ""
    ) -> list[Message]:
        """The examples as earlier turns, and the question; all with the same words around them."""
        prompt = bench.prompt("judge_pairs/judge.md")
        form = {"preamble": self.preamble, "ending": ending}
        turns = []
        for example in examples:
            reasons = example.rationale if self.chain_of_thought and ending != "reasons" else ""
            turns.append(Message("user", prompt.fill(**example.blanks, rationale=reasons, **form)))
            turns.append(Message("assistant", example.verdict(ending)))
        return [*turns, Message("user", prompt.fill(**shown(question), rationale=said, **form))]

    def _examples(self, question: Question, bench: Bench) -> Iterator["_Shown"]:
        """Worked examples for a pair, the same for both of its orders, each with a principle of its own."""
        if not self.examples:
            return
        known = bench.file("seeds", self.examples, judge_examples.read)
        about = f"{question.row.id}:{question.pair[0]}-{question.pair[1]}:example"
        drawn = random.Random(bench.chance(about)).sample(known, self.shots)
        for number, example in enumerate(drawn, start=1):
            dice = random.Random(bench.chance(about, number))
            principle = bench.principle(self.constitution, bench.chance(f"{about}:principle", number))
            if principle and self.chain_of_thought:
                principle = example.principle  # a rationale speaks of the rule that it was written for
            yield _Shown(example, better_first=dice.random() < 0.5, principle=principle)

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Fewer examples in the file than are to be shown."""
        known = len(judge_examples.read(assets.find("seeds", self.examples, folder))) if self.examples else 0
        if self.examples and self.shots > known:
            yield "shots", f"expected at most {known}, as many as {self.examples!r} has"

    def calls(self, rows: float) -> float:
        """One a question, two with reasons."""
        return self.questions(rows) * (1 + self.chain_of_thought)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What came of one question: `p_shown_first` in [0, 1], or why it is unreadable; keys of its calls."""

    p_shown_first: float | None
    calls: tuple[str, ...]
    unreadable: str | None = None
    censored: bool = False


def _p_of(letter: str | None) -> float | None:
    """1.0 for A, the answer shown first, 0.0 for B."""
    return None if letter is None else float(letter == "A")


class _Shown:
    """A worked example as one comparison shows it: in some order, under some principle."""

    def __init__(self, example: JudgeExample, *, better_first: bool, principle: Any) -> None:
        self._example, self._better_first, self._principle = example, better_first, principle
        self.rationale = example.rationale

    @property
    def blanks(self) -> Mapping[str, Any]:
        """The blanks of the judge's prompt."""
        texts = [self._example.better, self._example.worse]
        first, second = texts if self._better_first else texts[::-1]
        return {
            "conversation": self._example.conversation,
            "first": first,
            "second": second,
            "principle": self._principle,
        }

    def verdict(self, ending: str) -> str:
        """What the judge should have said, in the form that `ending` asks for."""
        letter = "A" if self._better_first else "B"
        return {"letter": letter, "json": f'{{"better": "{letter}"}}', "reasons": self.rationale}[ending]
