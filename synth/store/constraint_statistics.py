"""How far answers follow the constraints that their rows name: IFEval's four metrics, of a whole version.

Zhou et al. 2023, IFEval (arXiv:2311.07911), section 2.3: prompt and instruction, strict and loose. Read from
the answers and the facts, since a check that was made says one of strict and loose only.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from synth.constraints import Constraint
from synth.constraints.accuracy import Accuracy, Followed, Share, followed
from synth.constraints.columns import Columns
from synth.rows import Row


def four_metrics(rows: Iterable[Row], columns: Columns | None = None) -> dict[str, Any]:
    """Counts and shares over every answer in `rows`, by level and by type; nothing if there is no constraint.

    `columns`: where the facts name constraints; IFEval's own names if left out.
    """
    found = Constraints(columns or Columns())
    for row in rows:
        found.add(row)
    return found.as_json()


@dataclass(slots=True)
class Constraints:
    """The four metrics, counted row by row: how many were named, followed strictly and followed loosely."""

    columns: Columns = field(default_factory=Columns)
    prompts: Counter[str] = field(default_factory=Counter)
    by_type: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, row: Row) -> None:
        """Count what the answers of `row` follow."""
        for each in followed_in(row, self.columns):
            _count(self.prompts, strict=all(each.strict), loose=all(each.loose))
            for id_, strict, loose in zip(each.ids, each.strict, each.loose, strict=True):
                _count(self.by_type[id_], strict=strict, loose=loose)

    def as_json(self) -> dict[str, Any]:
        """Counts and shares; nothing if no answer had a constraint."""
        if not self.prompts:
            return {}
        instructions = sum(self.by_type.values(), Counter[str]())
        by_type = {id_: _share(counts) for id_, counts in sorted(self.by_type.items())}
        return Accuracy(_share(self.prompts), _share(instructions), by_type).as_json()


def _count(counts: Counter[str], *, strict: bool, loose: bool) -> None:
    counts.update({"count": 1, "strict": strict, "loose": loose})


def _share(counts: Counter[str]) -> Share:
    return Share(counts["count"], counts["strict"], counts["loose"])


def followed_in(row: Row, columns: Columns) -> Iterator[Followed]:
    """What each answer of `row` follows of the constraints that are named in a column, or noted by a step.

    Of what a step noted its own answers are no measure: `constrain` keeps them as they follow, or do not.
    """
    named = {"": _constraints(row.facts, columns)}
    noted = {step: known for step, known in row.facts.items() if isinstance(known, Mapping)}
    named |= {step: _constraints(known, columns) for step, known in noted.items()}
    for answer in row.answers:
        demands = [one for step, several in named.items() if step != answer.step for one in several]
        if demands:
            yield followed(demands, answer.text)


def _constraints(facts: Mapping[str, Any], columns: Columns) -> list[Constraint]:
    found = columns.constraints(facts)
    return found if isinstance(found, list) else []
