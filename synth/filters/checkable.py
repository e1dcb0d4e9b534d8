"""Checkable: drop rows that `verify` could not check, before an answer to them is bought."""

from synth.constraints.columns import Columns, Unfit
from synth.filters import Filter
from synth.rows import Row


class Checkable(Columns, Filter):
    """Keep rows whose facts say rightly what their answers are to be checked for.

    Needs: a row with the facts that `verify` reads, under the same keys. Gives: the row as it is. Costs:
    nothing.
    """

    def reason_to_drop(self, row: Row) -> str | None:
        """``no_constraint``, ``unknown_constraint``, ``bad_parameters`` or ``no_known_answer``."""
        read = self.constraints if self.what == "constraints" else self.known_answer
        found = read(row.facts)
        return found.reason if isinstance(found, Unfit) else None
