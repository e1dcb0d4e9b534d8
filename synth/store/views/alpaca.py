"""Alpaca: tasks in the shape of the data that Stanford released, instruction, input and output."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from synth.rows import Row
from synth.store.views import LeftOut, View

PARTS = ("instruction", "input", "output")


class Alpaca(View):
    """One line a row whose facts hold the three parts, as the last step that knows them has them.

    Beside the released columns there is the row's id, without which a line could not be traced.
    """

    columns = pa.schema([("id", pa.string()), *((name, pa.string()) for name in PARTS)])

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the task of `row`."""
        known = [facts for facts in row.facts.values() if isinstance(facts, Mapping)]
        whole = [facts for facts in known if all(isinstance(facts.get(name), str) for name in PARTS)]
        if not whole:
            yield LeftOut("no_instance")
        else:
            yield {"id": row.id} | {name: whole[-1][name] for name in PARTS}
