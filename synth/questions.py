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
from synth.final_answer import compared, final_answer, known_answer, letters, option, same_answer

GRAM = 13
LEAST_GRAM = 8
MOST_OPTIONS = 26
_WORD = re.compile(r"\w+")
_LED = re.compile(r"(?:option\s+)?([a-z])(?:\s*,\s|\s+[-\u2013\u2014:]\s+|[:.]\s+|\s*(?=\())", re.IGNORECASE)
_LISTED = re.compile(r"[\w\s,/&()\[\].;:]*\Z")
_NOT = re.compile(r"(?:\w+ly\s+)?(?:not|neither)\b", re.IGNORECASE)
_ALONE = re.compile(r"\b[A-Z]\b(?!\s+[a-z])")
_LETTERED = re.compile(r"[(\[][A-Za-z][)\]]")
_BETWEEN_LETTERS = {"option", "options", "choice", "both", "either", "and", "or"}
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
        found = named.pop() if len(named) == 1 else len(self.options)
        return found if found < len(self.options) else None

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

    An answer that names two options, by letters or one by its letter and another by its words, is none; nor
    is one that names no option but speaks of one, or holds the right answer among other things.
    """
    found = final_answer(reply)
    if found is None:
        return None, "no_final_answer"
    if not question.options:
        right = compared(found, question.answer)
        return (None, "unclear_final_answer") if right is None else (float(right), None)
    named = named_options(found, question.options)
    if len(named) > 1:
        return None, "names_two_options"
    if not named and (_spoken_of(found, question.options) or _ALONE.search(found)):
        return None, "unclear_final_answer"
    return float(named == {question.gold}), None


def named_options(answer: str, options: Sequence[str]) -> set[int]:
    """The indices of the `options` that `answer` names: in so many words, or by letters and by words.

    Beside a letter, words that speak of an option name it. A letter that no option has is an index too.
    """
    if exact := {number for number, text in enumerate(options) if text.casefold() == answer.casefold()}:
        return exact
    marked, rest = _marked(answer, len(options))
    by_letter = {ord(letter) - ord("A") for letter in marked}
    by_words = {number for number, text in enumerate(options) if rest and same_answer(text, rest)}
    if by_letter and not by_words:
        by_words = _spoken_of(rest, options)
    return by_letter | by_words


def _marked(answer: str, count: int) -> tuple[set[str], str]:
    """The letters of options in `answer`, which names one of `count`, and the words beside them.

    Where options are known, a letter may stand with less of a mark: "b", "B, Rome", "B - Rome", "A or B".
    """
    if _NOT.match(answer):
        return set(), answer
    found = _WORD.findall(answer) if _LISTED.match(answer) else []
    bare = {word.upper() for word in found if word.casefold() not in _BETWEEN_LETTERS}
    if bare and all(len(letter) == 1 and letter.isalpha() and letter.isascii() for letter in bare):
        return bare, ""
    marked, (letter, rest) = letters(answer), option(answer)
    led = None if letter else _LED.match(answer)
    if led and ord(led[1].upper()) - ord("A") < count:
        marked, rest = marked | {led[1].upper()}, answer[led.end() :]
    return marked, _LETTERED.sub(" ", rest).strip(" ()[]-\u2013\u2014:,.") if marked else rest


def _spoken_of(answer: str, options: Sequence[str]) -> set[int]:
    """The indices of the `options` whose words stand in a row in `answer`, and not only within another's."""
    said = [f" {' '.join(words(text))} " for text in options]
    around = f" {' '.join(words(answer))} "
    held = {number for number, text in enumerate(said) if text.strip() and text in around}
    return {
        number
        for number in held
        if not any(said[number] in said[other] and said[number] != said[other] for other in held)
    }


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
    if not isinstance(line, dict) or not isinstance(line.get("prompt"), str):
        return Problem("expected an object with the text 'prompt' and an 'answer'", str(path), number)
    return of_facts(line["prompt"], line) or Problem(
        "expected an 'answer', a text or a number, that is exactly one of the list 'options' if there is one",
        str(path),
        number,
    )


def of_facts(text: str, facts: Mapping[str, Any]) -> Question | None:
    """The question `text` with what else a line of a file says of it; None if no right answer is clear."""
    given, options = facts.get("answer"), _options(facts.get("options"))
    answer = given if given in (options or ()) else known_answer(given)
    if answer is None or options is None:
        return None
    question = Question(text, answer, options, str(facts.get("rationale") or ""), str(facts.get("id") or ""))
    return None if options and question.gold is None else question


def _options(given: object) -> tuple[str, ...] | None:
    """The options that a file lists as texts or numbers, () for none; None if it is no such list."""
    if given is None:
        return ()
    texts = [str(each).strip() for each in given] if isinstance(given, list | tuple) else [""]
    return _unlettered(texts) if all(texts) and len(texts) <= MOST_OPTIONS else None


def _unlettered(options: Sequence[str]) -> tuple[str, ...]:
    """`options` without letters of their own, which would be wrong in another order."""
    split = [option(text) for text in options]
    lettered = all(letter == letter_of(number) and rest for number, (letter, rest) in enumerate(split))
    return tuple(rest for _, rest in split) if lettered else tuple(options)


@dataclass
class Known:
    """Questions to recognise, word for word or by a long run of words.

    As in GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C), 13 words in a row that are the same are
    too many to be chance; of a shorter question it is all its words in a row. One of fewer than `least`
    words, whose words may stand anywhere by chance, is known only as a whole. Words are Unicode, without case
    and marks.
    """

    least: int = LEAST_GRAM
    _by_size: dict[int, _Grams] = field(default_factory=dict)
    _whole: _Grams = field(default_factory=set)

    def add(self, text: str) -> None:
        """Know `text` from now on."""
        found = words(text)
        size = min(GRAM, len(found))
        if 0 < size < self.least:
            self._whole.add(tuple(found))
        elif size:
            self._by_size.setdefault(size, set()).update(grams(found, size))

    def __contains__(self, text: str) -> bool:
        """Whether `text` holds a run of words of one that is known, or is one that is short."""
        found = words(text)
        runs = (not known.isdisjoint(grams(found, size)) for size, known in self._by_size.items())
        return tuple(found) in self._whole or any(runs)


def words(text: str) -> list[str]:
    """The words of `text`, without case and marks."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def grams(found: Sequence[str], size: int) -> _Grams:
    """Every run of `size` words."""
    return {tuple(found[start : start + size]) for start in range(len(found) - size + 1)}
