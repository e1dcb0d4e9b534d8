"""Check: what a person should look at again in a constitution that can be read.

What makes a file unusable is a mistake, which `synth.constitution.read` finds. What is found here is a note,
by rules of thumb for English: they see wording and not meaning, so they miss contradictions in other words,
and may name two principles that go together well.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from synth import constitution
from synth.constitution import KEYS, Constitution, Principle, Section
from synth.errors import Problem
from synth.rouge import f_measure, tokens

ALIKE = 0.7  # ROUGE-L above which Self-Instruct takes two instructions for the same one
OPPOSED = 0.8  # of what is left of two principles without the words in which they are opposed
MOST_WORDS = 120  # our own choice: a small model loses the thread of more
RARE = 0.1  # of the mean weight
WORDINGS = ("critique", "revise", "judge")

_NO = frozenset(
    ("not", "no", "never", "nor", "none", "nothing", "without", "avoid", "refrain", "refuse", "stop")
)
_OPPOSITES = (
    ("always", "never"),
    ("more", "less"),
    ("more", "fewer"),
    ("most", "least"),
    ("longer", "shorter"),
    ("long", "short"),
    ("detailed", "brief"),
    ("include", "omit"),
    ("include", "exclude"),
    ("answer", "refuse"),
    ("accept", "refuse"),
    ("agree", "disagree"),
    ("allow", "forbid"),
    ("encourage", "discourage"),
    ("formal", "informal"),
    ("before", "after"),
    ("first", "last"),
)
_WORSE = re.compile(
    r"\b(worse|worst|(?:more|most) (?:harmful|toxic|dangerous|offensive|biased|unethical|dishonest|rude)"
    r"|(?:less|least) (?:helpful|honest|harmless|kind|polite|ethical|accurate|truthful|safe))\b",
    re.IGNORECASE,
)
_LOOKS_LIKE_KEY = re.compile(r"([A-Za-z]+)\s*:\s")


@dataclass(frozen=True, slots=True)
class Checked:
    """A constitution that can be read, and what to look at in it again."""

    constitution: Constitution
    notes: tuple[Problem, ...]

    @property
    def derived(self) -> dict[str, int]:
        """How many principles leave a wording to the method's prompt."""
        return {
            key: sum(not getattr(principle, key) for principle in self.constitution.principles)
            for key in WORDINGS
        }


def check(path: Path) -> Checked:
    """The constitution in `path`, with notes in the order of its lines.

    Raises:
        UserError: every mistake in the file.
    """
    read = constitution.read(path)
    lines = {section.id: section.line for section in constitution.sections(path)}
    found = [*_of_sections(constitution.sections(path)), *_of_principles(read), *_of_pairs(read.principles)]
    notes = [Problem(f"{id_}: {said}", str(path), lines[id_]) for id_, said in found]
    return Checked(read, tuple(sorted(notes, key=lambda note: note.line)))


Note = tuple[str, str]  # a principle's id, and what is said of it


def _of_sections(sections: Sequence[Section]) -> Iterator[Note]:
    """Lines that were perhaps meant as a wording and became part of another."""
    for section in sections:
        for line in (line for part in section.parts.values() for line in part):
            found = _LOOKS_LIKE_KEY.match(line)
            if found and (meant := _meant(found[1])):
                yield section.id, f"'{found[1]}:' begins no wording; did you mean '{meant.capitalize()}:'?"


def _meant(word: str) -> str:
    """The key that `word` may be a slip of; "" if none is near."""
    same_start = [key for key in KEYS if key[0] == word[0].lower()]
    return next(iter(difflib.get_close_matches(word.lower(), same_start, 1, 0.65)), "")


def _of_principles(read: Constitution) -> Iterator[Note]:
    """What is odd in a principle by itself."""
    whole = sum(principle.weight for principle in read.principles)
    for principle in read.principles:
        share = principle.weight / whole
        if share * len(read.principles) < RARE:
            yield principle.id, f"its weight gives it {share:.2%} of draws: hardly ever drawn"
        if share > 0.5 and len(read.principles) > 2:
            yield principle.id, f"its weight gives it {share:.0%} of draws, more than all others together"
        for key in ("text", *WORDINGS):
            yield from _of_wording(principle.id, key, getattr(principle, key))
        if worse := _WORSE.search(principle.judge):
            yield (
                principle.id,
                f"judge: asks for what is {worse[0]!r}? The reply that is named counts as the better",
            )


def _of_wording(id_: str, key: str, text: str) -> Iterator[Note]:
    words = len(text.split())
    if words > MOST_WORDS:
        yield id_, f"{key}: {words} words, more than {MOST_WORDS}; a model may lose the thread"
    if text and not tokens(text):
        yield id_, f"{key}: there is no word in {text!r}"


def _of_pairs(principles: Sequence[Principle]) -> Iterator[Note]:
    """What two principles have to do with each other; the later one is named first."""
    for one, other in combinations(map(_words, principles), 2):
        said = _opposed(one.plain, other.plain) or _alike(one.text, other.text)
        if said:
            yield other.id, f"{said} {one.id!r}"
        for key, wording in other.wordings.items():
            if wording and wording == one.wordings[key]:
                yield other.id, f"{key}: word for word that of {one.id!r}"


@dataclass(frozen=True, slots=True)
class _Words:
    """A principle in words; `plain` are those of its text with ``don't`` as two."""

    id: str
    text: Sequence[str]
    plain: Sequence[str]
    wordings: Mapping[str, Sequence[str]]


def _words(principle: Principle) -> _Words:
    text = re.sub(r"n['\u2019]t\b", " not", principle.text, flags=re.IGNORECASE)
    plain = tokens(re.sub(r"\bcannot\b", "can not", text, flags=re.IGNORECASE))
    wordings = {key: tokens(getattr(principle, key)) for key in WORDINGS}
    return _Words(principle.id, tokens(principle.text), plain, wordings)


def _alike(one: Sequence[str], other: Sequence[str]) -> str:
    score = f_measure(one, other)
    if score == 1:
        return "word for word the same as"
    return f"nearly the same words (ROUGE-L {score:.2f}) as" if score > ALIKE else ""


def _opposed(one: Sequence[str], other: Sequence[str]) -> str:
    """In which words two texts that are otherwise alike may contradict each other."""
    if _negations(one) % 2 != _negations(other) % 2 and _is_same_but(one, other, _NO):
        return "with and without 'not', it may contradict"
    for a, b in _OPPOSITES:
        sides = {("a" * (a in text) + "b" * (b in text)) for text in (one, other)}
        if sides == {"a", "b"} and _is_same_but(one, other, frozenset((a, b))):
            return f"where one says {a!r} and the other {b!r}, it may contradict"
    return ""


def _negations(words: Sequence[str]) -> int:
    return sum(word in _NO for word in words)


def _is_same_but(one: Sequence[str], other: Sequence[str], but: frozenset[str]) -> bool:
    rest = [[word for word in words if word not in but] for words in (one, other)]
    return f_measure(*rest) >= OPPOSED
