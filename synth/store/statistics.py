"""The statistics of a version: counted row by row while it is written, kept beside it, no part of its id.

Every counter keeps its size, however many rows there are: sums, bins, and the commonest of many keys.

    instructions        how many, how long, verbs and nouns, nearness to seed tasks, yield over time
    answers             by round of revision: length, openings, refusals
    principles          what the revisions of each came to
    judging_principles  how often a judge was asked by each, and how far it agreed with itself
    constraints         how far answers follow the constraints that their rows name
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from synth.rows import Row
from synth.store.answer_statistics import Answers
from synth.store.constraint_statistics import Constraints
from synth.store.evidence import ByPrinciple
from synth.store.instruction_statistics import Instructions
from synth.store.principle_statistics import Principles

FILE = Path(".synth") / "statistics.json"


@dataclass(slots=True)
class Statistics:
    """All sections, each of which takes from a row what is its own."""

    instructions: Instructions = field(default_factory=Instructions)
    answers: Answers = field(default_factory=Answers)
    principles: Principles = field(default_factory=Principles)
    judging: ByPrinciple = field(default_factory=ByPrinciple)
    constraints: Constraints = field(default_factory=Constraints)

    def add(self, row: Row, *, is_first: bool) -> None:
        """Count `row`; `is_first` if none of its root prompt came before."""
        self.instructions.add(row, is_first=is_first)
        self.answers.add(row)
        self.principles.add(row)
        self.judging.add(row)
        self.constraints.add(row)

    def as_json(self, notes: Mapping[str, str]) -> dict[str, Any]:
        """The sections that have something to say. `notes`: what each step had to say about its result."""
        sections = {
            "instructions": self.instructions.as_json(notes),
            "answers": self.answers.as_json(),
            "principles": self.principles.as_json(),
            "judging_principles": self.judging.as_json(),
            "constraints": self.constraints.as_json(),
        }
        return {name: section for name, section in sections.items() if section}


def write(statistics: Statistics, notes: Mapping[str, str], folder: Path) -> None:
    """Write `statistics` where `read` finds them in the version's `folder`."""
    (folder / FILE).write_bytes(orjson.dumps(statistics.as_json(notes), option=orjson.OPT_INDENT_2))


def read(folder: Path) -> dict[str, Any]:
    """What is known of the version in `folder`; nothing of one made before statistics were kept."""
    path = folder / FILE
    found: dict[str, Any] = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return found
