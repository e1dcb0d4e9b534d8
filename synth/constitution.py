"""A constitution: principles in a text file that a person likes to edit.

A title, optional prose, then a section a principle: ``## id``, the principle in plain words, and where
wanted its own wording for a method, each on a line that begins with ``Critique:``, ``Revise:``,
``Judge:`` or ``Weight:``. A file without sections is read as bare paragraphs, a principle each, named
by its first words. So is a JSON list of texts; see `synth.constitution_json` for what else JSON may hold.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from synth import constitution_json
from synth.errors import Problem, UserError

KEYS = ("critique", "revise", "judge", "weight")
_KEY = re.compile(rf"({'|'.join(KEYS)}):\s*(.*)", re.IGNORECASE)
FEWEST_WORDS = 6  # in the id of a bare paragraph
_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Principle:
    """One rule.

    Attributes:
        id: names it in rows and statistics.
        text: the rule in plain words.
        critique, revise, judge: its own wording for a method, "" where the method's prompt derives one.
        weight: how often it is drawn, relative to the others; positive.
    """

    id: str
    text: str
    critique: str = ""
    revise: str = ""
    judge: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Constitution:
    """Principles in the order of the file."""

    name: str
    principles: tuple[Principle, ...]

    def draw(self, chance: str) -> Principle:
        """One principle, drawn with probability proportional to its weight.

        The draw is a rendezvous: every principle hashes `chance` with its own id, and the highest
        weighted hash wins. So a new principle changes only the draws that it wins, and draws for
        different `chance` are independent and with replacement.
        """
        return max(self.principles, key=lambda principle: (_height(chance, principle), principle.id))


def _height(chance: str, principle: Principle) -> float:
    bits = hashlib.sha256(f"{chance}\0{principle.id}".encode()).digest()[:8]
    uniform = ((int.from_bytes(bits) >> 12) + 0.5) / 2**52  # never 0 and never 1
    return -principle.weight / math.log(uniform)


@dataclass(slots=True)
class Section:
    """A principle as it stands in the file: where it starts, 0 in JSON, and its lines by key, "" its text."""

    id: str
    line: int
    parts: dict[str, list[str]] = field(default_factory=lambda: {"": []})


def read(path: Path) -> Constitution:
    """The constitution in `path`.

    Raises:
        UserError: every mistake in the file, each with its line.
    """
    found = sections(path)
    problems = [Problem(message, str(path), line) for line, message in _mistakes(found)]
    if not found:
        problems.append(
            Problem("no principle: a constitution needs at least one '## id' section", str(path), 1)
        )
    if problems:
        raise UserError(problems)
    return Constitution(path.stem, tuple(_principle(section) for section in found))


def sections(path: Path) -> list[Section]:
    """The principles of `path` as they stand there, whatever is wrong with them.

    Raises:
        UserError: it is not text, or not JSON, or JSON of another form.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(Problem(f"not UTF-8 text: {error.reason}", str(path))) from error
    if path.suffix == ".json":
        return list(_named(_from_json(text, path)))
    lines = text.splitlines()
    has_sections = any(line.startswith("## ") for line in lines)
    return list(_sections(lines) if has_sections else _named(_paragraphs(lines)))


def _from_json(text: str, path: Path) -> Iterator[Section]:
    try:
        principles, wrong = constitution_json.read(text)
    except json.JSONDecodeError as error:
        raise UserError(Problem(f"not JSON: {error.msg}", str(path), error.lineno, error.colno)) from error
    except RecursionError as error:
        raise UserError(Problem("nested too deep to be a constitution", str(path))) from error
    if wrong:
        raise UserError([Problem(message, str(path)) for message in wrong])
    for parts in principles:
        id_ = parts.pop("id")
        yield Section(id_, 0, {"": [], **{key: [value] for key, value in parts.items()}})


def _sections(lines: list[str]) -> Iterator[Section]:
    section: Section | None = None
    key = ""
    for number, line in enumerate(lines, start=1):
        if line.startswith("## "):
            if section:
                yield section
            section, key = Section(line[3:].strip(), number), ""
        elif section:
            key = _add(section, key, line.strip())
    if section:
        yield section


def _paragraphs(lines: list[str]) -> Iterator[Section]:
    section: Section | None = None
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("#") or not line.strip():
            if section:
                yield section
            section = None
            continue
        section = section or Section("", number)
        section.parts[""].append(line.strip())


def _named(paragraphs: Iterator[Section]) -> Iterator[Section]:
    """Give each without one its first words as its id: six, or as many as tell it from those before it."""
    taken: set[str] = set()
    for section in paragraphs:
        if section.id:
            yield section
            continue
        words = re.findall(r"[a-z0-9]+", _text(section).lower()) or ["principle"]
        count = FEWEST_WORDS
        while "-".join(words[:count]) in taken and count < len(words):
            count += 1
        section.id = "-".join(words[:count])
        taken.add(section.id)
        yield section


def _add(section: Section, key: str, line: str) -> str:
    """Add `line` to `section`; returns the key that the next line goes on with."""
    found = _KEY.fullmatch(line)
    if found:
        key = found[1].lower()
        section.parts.setdefault(key, []).append(found[2])
    elif line or key == "":
        section.parts[key].append(line)
    return key


def _text(section: Section, key: str = "") -> str:
    return " ".join(line for line in section.parts.get(key, ()) if line)


def _mistakes(sections: list[Section]) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for section in sections:
        if not _ID.fullmatch(section.id):
            yield section.line, f"principle id {section.id!r}: expected lower-case words joined by hyphens"
        if section.id in first:
            yield section.line, f"principle {section.id!r} is there already, in line {first[section.id]}"
        first.setdefault(section.id, section.line)
        if not _text(section):
            yield section.line, f"principle {section.id!r} has no text"
        if "weight" in section.parts and not _is_positive(_text(section, "weight")):
            yield (
                section.line,
                f"weight of {section.id!r}: expected a positive number, found {_text(section, 'weight')!r}",
            )


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


def _principle(section: Section) -> Principle:
    return Principle(
        id=section.id,
        text=_text(section),
        critique=_text(section, "critique"),
        revise=_text(section, "revise"),
        judge=_text(section, "judge"),
        weight=float(_text(section, "weight") or 1),
    )
