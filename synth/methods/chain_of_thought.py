"""Chain of thought: sampled rationales to questions with a known answer, each checked by its final answer.

Longpre et al. 2023, "The Flan Collection" (arXiv:2301.13688), section 2.1 and its code at e9e4ec6: a question
is put in a template drawn for it, with its options or without, after exemplars in the same template or
without, which are parted by separators drawn for it; some are inverted, so that the answer is given and the
question asked for; beside a chain of thought stands the direct form. Rationales are sampled and those with
the right answer pass, as in STaR (Zelikman et al. 2022, arXiv:2203.14465), section 3.1; `rationalise` is its
section 3.2: a question that no rationale got right is asked once more with the answer as a hint.

Differs: FLAN's rationales were written by people and are not checked; here people's rationales serve as
exemplars, and what did not pass is kept for `rejected`. Templates are our own. Exemplars come from a file,
so that no row waits for another. STaR samples greedily, once.
"""

import random
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from synth import questions
from synth.errors import Filtered
from synth.final_answer import known_answer
from synth.models.base import Reply
from synth.questions import Known, Question, check, letter_of
from synth.rows import Answer, Judgment, Message, Row, digest
from synth.spool import Spool
from synth.step import Bench, Each, ModelName, Names, answered

QuestionsName = Annotated[str, Names("seeds", questions.read)]

TEMPLATES = (
    *("plain", "labelled", "before", "teacher", "facts"),
    *("working", "why", "quiz", "careful", "note"),
)
INVERTED = ("quiz", "exam", "back", "reasoning")
BETWEEN = ("\n\n\n", "\n\n---\n\n", "\n\n***\n\n", "\n\n=====\n\n")
BEFORE_REPLY = ("\n\n", "\nA: ", "\nReply: ")
OPTION_STYLES = ("({}) {}", "{}. {}", "{}) {}")
_TOLD = re.compile(r"\bhint|\b(?:was|were|been|am|are) told\b|\bgiven answer\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is put: with its options in the order shown, in words, and what was drawn for it."""

    question: Question
    prompt: str
    drawn: dict[str, Any]


class ChainOfThought(Each):
    """Make rows that reason from rows that hold a question.

    Needs: a question as prompt, and ``answer`` among the facts; ``options``, a list, if there are some.
    Gives: a row with `count` rationales, each with a check of its final answer; with `direct` one with the
    bare answer; and for some a row that asks for the question. All share the root, and so the split.
    Costs: `count` calls a row, 1 more with `rationalise` where no rationale passed.
    """

    model: ModelName
    count: int = Field(4, ge=1, description="rationales a question")
    temperature: float = Field(0.7, ge=0)
    max_tokens: int = Field(512, ge=1)
    few_shot: float = Field(0.5, ge=0, le=1, description="chance that exemplars go before the question")
    shots: int = Field(3, ge=1, description="exemplars, where there are some")
    exemplars: QuestionsName | None = Field(
        "questions",
        description="questions with rationales by people; one that holds the question is not shown",
    )
    show_options: float = Field(0.5, ge=0, le=1, description="chance that a question's options are shown")
    direct: bool = Field(True, description="also make a row that has the bare answer")
    inverted: float = Field(
        0.3, ge=0, le=1, description="chance of a row from answer to question, as in FLAN"
    )
    rationalise: bool = Field(False, description="ask with the answer as a hint where no rationale passed")
    cap: int | None = Field(
        None, ge=1, description="most questions of one `task`, a key among the facts; waits for all rows"
    )
    held_out: QuestionsName | None = Field(
        None,
        description="questions of an evaluation: a row that shares 13 words in a row with one is dropped, or "
        "holds all of one of 8 to 12 words, or is one of fewer",
    )

    async def run(self, rows: AsyncGenerator[Row], bench: Bench) -> AsyncGenerator[Row]:
        """As every step that treats rows alone; only which of them are under a cap takes all rows to tell."""
        under = rows if self.cap is None else self._capped(rows, self.cap, bench)
        async with aclosing(super().run(under, bench)) as made:
            async for row in made:
                yield row

    async def _capped(self, rows: AsyncGenerator[Row], cap: int, bench: Bench) -> AsyncGenerator[Row]:
        """At most `cap` rows of each task: those that chance puts first, whatever order they come in."""
        with closing(Spool(bench.scratch / f"{bench.step}.sqlite")) as spool:
            async with aclosing(rows):
                async for row in rows:
                    spool.add(row)
            tasks: dict[str, list[tuple[str, str]]] = {}
            for row in spool:
                place = digest("cap", bench.chance(row.id))
                tasks.setdefault(str(row.facts.get("task", "")), []).append((place, row.id))
            kept = {name for ranked in tasks.values() for _, name in sorted(ranked)[:cap]}
            for row in spool:
                if row.id in kept:
                    yield row
                else:
                    bench.journal.filtered(bench.step, row.id, "over_cap")

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield the rows made of one question."""
        question = self._question(row, bench)
        asked = self.asked(row, question, bench)
        reasoned = await self._reasoned(row, asked, bench)
        yield reasoned
        if self.direct:
            yield self._direct(row, asked, bench)
        if random.Random(bench.chance(f"{row.id}:invert")).random() < self.inverted:
            rationale = _rationale(question, reasoned, shown=bool(asked.question.options))
            yield self._inverted(row, question, rationale, bench)

    def _question(self, row: Row, bench: Bench) -> Question:
        """The question that `row` holds.

        Raises:
            Filtered: no right answer is known, or an evaluation asks the same.
        """
        text = row.prompt[-1].content
        if len(row.prompt) != 1:
            raise Filtered("not_one_message")
        if known_answer(row.facts.get("answer")) is None:
            raise Filtered("no_gold_answer")
        question = questions.of_facts(text, row.facts)
        if question is None:
            raise Filtered("unclear_gold_answer")
        if self.held_out and text in bench.file("seeds", self.held_out, _known):
            raise Filtered("contaminated")
        return question

    def asked(self, row: Row, question: Question, bench: Bench) -> Asked:
        """`question` in a template, with options and exemplars or without, all drawn for this row."""
        dice = random.Random(bench.chance(f"{row.id}:form"))
        template, style = dice.choice(TEMPLATES), dice.choice(OPTION_STYLES)
        between, before_reply = dice.choice(BETWEEN), dice.choice(BEFORE_REPLY)
        shown = dice.random() < self.show_options
        few = dice.random() < self.few_shot
        question = _with_options(question, bench.chance(f"{row.id}:options"), shown=shown)
        exemplars = self._exemplars(question, dice, bench) if few else []

        prompt = bench.prompt(f"chain_of_thought/ask_{template}.md")
        parts = []
        for number, each in enumerate(exemplars):
            each = _with_options(each, bench.chance(f"{row.id}:options", number + 1), shown=shown)
            target = bench.prompt("chain_of_thought/target.md").fill(
                rationale=each.rationale, answer=stated(each)
            )
            parts.append(prompt.fill(question=each.text, options=_list(each, style)) + before_reply + target)
        last = prompt.fill(question=question.text, options=_list(question, style))
        parts.append(last + before_reply.rstrip() if exemplars else last)
        drawn = {
            "template": f"ask_{template}",
            "options": list(question.options),
            "gold": question.letter or None,
            "answer": question.answer,
            "exemplars": [each.id or each.text for each in exemplars],
        }
        return Asked(question, between.join(parts), drawn)

    def _exemplars(self, question: Question, dice: random.Random, bench: Bench) -> list[Question]:
        """Up to `shots` exemplars, of which none holds `question` and none is held in it."""
        if self.exemplars is None:
            return []
        pool = [each for each in bench.file("seeds", self.exemplars, questions.read) if each.rationale]
        dice.shuffle(pool)
        known = _known_of([question], least=1)
        fit = (
            each
            for each in pool
            if each.text not in known and question.text not in _known_of([each], least=1)
        )
        return [each for each, _ in zip(fit, range(self.shots), strict=False)]

    async def _reasoned(self, row: Row, asked: Asked, bench: Bench) -> Row:
        """The row with the rationales to a question."""
        first = row.occurrence * self.count
        replies = await bench.ask_all(
            [self._say(asked.prompt, first + number, bench) for number in range(self.count)]
        )
        checks = [check(reply.text, asked.question) for reply in replies]
        answers = [answered(reply, bench, self.model) for reply in replies]
        judgments = [
            _judgment(bench, number, verdict, said, "answer") for number, (verdict, said) in enumerate(checks)
        ]
        if self.rationalise and not any(verdict == 1.0 for verdict, _ in checks):
            reply = await self._hinted(asked, row, bench)
            verdict, said = check(reply.text, asked.question)
            if _TOLD.search(reply.text):
                verdict, said = None, "mentions_the_hint"
            answers.append(answered(reply, bench, self.model))
            judgments.append(_judgment(bench, self.count, verdict, said, "answer_after_hint"))
        made = self._child(row, 0, asked.prompt, bench, form="reasoned", **asked.drawn)
        return made.answered(*answers).judged(*judgments)

    async def _hinted(self, asked: Asked, row: Row, bench: Bench) -> Reply:
        """A rationale to a question whose answer is given away."""
        hint = bench.prompt("chain_of_thought/hint.md")
        prompt = hint.fill(prompt=asked.prompt, answer=stated(asked.question))
        return await self._say(prompt, row.occurrence, bench)

    async def _say(self, prompt: str, sample: int, bench: Bench) -> Reply:
        return await bench.model(self.model).ask(
            [Message("user", prompt)],
            sample=sample,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _direct(self, row: Row, asked: Asked, bench: Bench) -> Row:
        """The row with the bare answer to a question, which is its source's own."""
        question = asked.question
        style = random.Random(bench.chance(f"{row.id}:direct")).choice(OPTION_STYLES)
        prompt = bench.prompt("chain_of_thought/direct.md").fill(
            question=question.text, options=_list(question, style)
        )
        drawn = {**asked.drawn, "template": "direct", "exemplars": []}
        made = self._child(row, 1, prompt, bench, form="direct", **drawn)
        return _given(made, stated(question), "answer", bench)

    def _inverted(self, row: Row, question: Question, rationale: Answer, bench: Bench) -> Row:
        """The row that asks for the question, which is its source's own."""
        able = INVERTED if rationale.text else INVERTED[:-1]
        template = random.Random(bench.chance(f"{row.id}:inverted")).choice(able)
        answer = question.without_options().answer
        prompt = bench.prompt(f"chain_of_thought/invert_{template}.md").fill(
            answer=answer, rationale=rationale.text
        )
        made = self._child(
            row, 2, prompt, bench, form="inverted", template=f"invert_{template}", answer=answer
        )
        if template == INVERTED[-1]:
            made = replace(made, calls=made.calls + rationale.calls)
        return _given(made, question.text, "question", bench)

    def _child(self, row: Row, index: int, prompt: str, bench: Bench, **known: Any) -> Row:
        """A row born from `row` that asks `prompt`."""
        child = row.child(
            bench.step, index, prompt=(Message("user", prompt),), answers=(), judgments=(), calls=row.calls
        )
        return child.noted(bench.step, **known)

    def calls(self, rows: float) -> float:
        """`count` a row, and the hinted one."""
        return rows * (self.count + self.rationalise)

    def rows_out(self, rows: float, folder: Path) -> float:
        """One that reasons, one that answers at once, and some inverted."""
        return rows * (1 + self.direct + self.inverted)


def stated(question: Question) -> str:
    """The right answer as a reply states it: with the letter of its option, if there are options."""
    return f"({question.letter}) {question.answer}" if question.options else question.answer


def _with_options(question: Question, chance: str, *, shown: bool) -> Question:
    if shown and question.options:
        return question.shuffled(chance)
    return question.without_options()


def _list(question: Question, style: str) -> str:
    """The options one a line, with letters in the order shown; "" if there are none."""
    return "\n".join(style.format(letter_of(number), text) for number, text in enumerate(question.options))


def _judgment(
    bench: Bench, number: int, value: float | None, unreadable: str | None, aspect: str
) -> Judgment:
    """What code found when it looked at answer `number`."""
    return Judgment(bench.step, "check", (number,), (number,), value, unreadable, aspect=aspect)


def _rationale(question: Question, reasoned: Row, *, shown: bool) -> Answer:
    """A rationale that passed and is whole, or a person's; an empty one if there is none.

    The question that is to be written has no options, so a rationale that may speak of some is none.
    """
    passed = (reasoned.answers[each.candidates[0]] for each in reasoned.judgments if each.value == 1.0)
    whole = None if shown else next((answer for answer in passed if not answer.unfit), None)
    return whole or Answer("" if question.options else question.rationale)


def _given(row: Row, text: str, aspect: str, bench: Bench) -> Row:
    """`row` answered by its source's own `text`, which passes since it is what others are checked against."""
    return row.answered(Answer(text, bench.step)).judged(_judgment(bench, 0, 1.0, None, aspect))


def _known(path: Path) -> Known:
    return _known_of(questions.read(path))


def _known_of(several: Sequence[Question], least: int = questions.LEAST_GRAM) -> Known:
    known = Known(least)
    for question in several:
        known.add(question.text)
    return known
