"""Alpaca: tasks in the shape of the data that Stanford released, instruction, input and output."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from synth.rows import Row
from synth.store.views import LeftOut, View

PARTS = ("instruction", "input", "output")


class Alpaca(View):
    """One line a row whose facts hold the three parts, as the last step that knows them has them.

    The output is the answer of a later step, if there is one. Beside the released columns there is the row's
    id, without which a line could not be traced.
    """

    columns = pa.schema([("id", pa.string()), *((name, pa.string()) for name in PARTS)])

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the task of `row`."""
        whole = [step for step, facts in row.facts.items() if _is_whole(facts)]
        if not whole:
            yield LeftOut("no_instance")
            return
        task = {name: row.facts[whole[-1]][name] for name in PARTS}
        later = row.answers[-1] if row.answers and row.answers[-1].step != whole[-1] else None
        if later and later.unfit:
            yield LeftOut(later.unfit)
        else:
            yield {"id": row.id} | task | ({"output": later.text} if later else {})


def _is_whole(facts: Any) -> bool:
    return isinstance(facts, Mapping) and all(isinstance(facts.get(name), str) for name in PARTS)
