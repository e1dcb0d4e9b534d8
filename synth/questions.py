"""Questions that have a right answer: options in any order, and whether one is known from elsewhere."""

import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synth import seeds
from synth.errors import Problem, UserError
from synth.final_answer import final_answer, option, same_answer

GRAM = 13
_WORD = re.compile(r"\w+")
_Grams = set[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its right answer.

    Attributes:
        options: the answers to choose from, in the order in which they are shown; empty for a free answer.
        rationale: a person's way to the answer, "" if there is none.
        id: its name in its file, "" if it has none.
    """

    text: str
    answer: str
    options: tuple[str, ...] = ()
    rationale: str = ""
    id: str = ""

    @property
    def gold(self) -> int | None:
        """The index of the right option; None if there are no options, or not exactly one is right."""
        named = named_options(self.answer, self.options)
        return named.pop() if len(named) == 1 else None

    @property
    def letter(self) -> str:
        """The letter of the right option, as they are shown."""
        return "" if self.gold is None else letter_of(self.gold)

    def shuffled(self, chance: str) -> "Question":
        """The same question with its options in another order; its answer is the right one's text."""
        assert self.gold is not None
        order = list(self.options)
        random.Random(chance).shuffle(order)
        return replace(self, options=tuple(order), answer=self.options[self.gold])

    def without_options(self) -> "Question":
        """The same question to answer freely."""
        if self.gold is None:
            return self
        return replace(self, options=(), answer=self.options[self.gold])


def letter_of(number: int) -> str:
    """A for 0, B for 1, …"""
    return chr(ord("A") + number)


def check(reply: str, question: Question) -> tuple[float | None, str | None]:
    """Whether the final answer of `reply` is the right one, 1.0 or 0.0; or None, and why not.

    An answer that names one option by its letter and another by its words is none.
    """
    found = final_answer(reply)
    if found is None:
        return None, "no_final_answer"
    if not question.options:
        return float(same_answer(found, question.answer)), None
    named = named_options(found, question.options)
    if len(named) > 1:
        return None, "names_two_options"
    return float(named == {question.gold}), None


def named_options(answer: str, options: Sequence[str]) -> set[int]:
    """The indices of the `options` that `answer` names: in so many words, or by letter and by words."""
    exact = {number for number, text in enumerate(options) if text.casefold() == answer.casefold()}
    letter, rest = option(answer)
    by_letter = {number for number in range(len(options)) if letter_of(number) == letter}
    by_words = {number for number, text in enumerate(options) if rest and same_answer(text, rest)}
    return exact or by_letter | by_words


def read(path: Path) -> list[Question]:
    """The questions in a file of JSON Lines with the keys ``prompt`` and ``answer``.

    Raises:
        UserError: every malformed line, by its number.
    """
    found = [(number, _of_line(line, path, number)) for number, line in seeds.lines(path)]
    problems = [question for _, question in found if isinstance(question, Problem)]
    if problems:
        raise UserError(problems)
    return [question for _, question in found if isinstance(question, Question)]


def _of_line(line: Any, path: Path, number: int) -> Question | Problem:
    if isinstance(line, Problem):
        return line
    if not isinstance(line, dict) or not all(isinstance(line.get(key), str) for key in ("prompt", "answer")):
        return Problem("expected an object with the texts 'prompt' and 'answer'", str(path), number)
    return of_facts(line["prompt"], line) or Problem(
        "the answer is not exactly one of the options", str(path), number
    )


def of_facts(text: str, facts: Mapping[str, Any]) -> Question | None:
    """The question `text` with what else a line of a file says of it; None if no right answer is clear."""
    question = Question(
        text,
        str(facts["answer"]).strip(),
        _unlettered([str(each).strip() for each in facts.get("options") or ()]),
        str(facts.get("rationale") or ""),
        str(facts.get("id") or ""),
    )
    unclear = question.options and question.gold is None
    return None if unclear or not question.answer or len(question.options) > 26 else question


def _unlettered(options: Sequence[str]) -> tuple[str, ...]:
    """`options` without letters of their own, which would be wrong in another order."""
    split = [option(text) for text in options]
    lettered = all(letter == letter_of(number) and rest for number, (letter, rest) in enumerate(split))
    return tuple(rest for _, rest in split) if lettered else tuple(options)


@dataclass
class Known:
    """Questions to recognise, word for word or by a long run of words.

    As in GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C), 13 words in a row that are the same are
    too many to be chance; a shorter question is known by all its words in a row. Words are Unicode, without
    case and marks.
    """

    _by_size: dict[int, _Grams] = field(default_factory=dict)

    def add(self, text: str) -> None:
        """Know `text` from now on."""
        found = words(text)
        size = min(GRAM, len(found))
        if size:
            self._by_size.setdefault(size, set()).update(grams(found, size))

    def __contains__(self, text: str) -> bool:
        """Whether `text` holds a run of words of one that is known."""
        found = words(text)
        return any(not known.isdisjoint(grams(found, size)) for size, known in self._by_size.items())


def words(text: str) -> list[str]:
    """The words of `text`, without case and marks."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def grams(found: Sequence[str], size: int) -> _Grams:
    """Every run of `size` words."""
    return {tuple(found[start : start + size]) for start in range(len(found) - size + 1)}
