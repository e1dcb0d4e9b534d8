"""How far answers follow the constraints that their rows name: IFEval's four metrics, of a whole version.

Zhou et al. 2023, IFEval (arXiv:2311.07911), section 2.3: prompt and instruction, strict and loose. Read from
the answers and the facts, since a check that was made says one of strict and loose only.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from synth.constraints import Constraint
from synth.constraints.accuracy import Followed, accuracy, followed
from synth.constraints.columns import Columns
from synth.rows import Row


def four_metrics(rows: Iterable[Row], columns: Columns | None = None) -> dict[str, Any]:
    """Counts and shares over every answer in `rows`, by level and by type; nothing if there is no constraint.

    `columns`: where the facts name constraints; IFEval's own names if left out.
    """
    found = accuracy(each for row in rows for each in followed_in(row, columns or Columns()))
    return found.as_json() if found.prompt.count else {}


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
