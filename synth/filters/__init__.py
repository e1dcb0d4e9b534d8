"""Filters: steps that drop rows, and say why."""

from abc import abstractmethod
from collections.abc import AsyncGenerator

from synth.errors import Filtered
from synth.rows import Row
from synth.step import Bench, Each


class Filter(Each):
    """Keep a row, or drop it for a reason that the report counts. Override `reason_to_drop`."""

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row`, or drop it."""
        reason = self.reason_to_drop(row)
        if reason:
            raise Filtered(reason)
        yield row

    @abstractmethod
    def reason_to_drop(self, row: Row) -> str | None:
        """None to keep `row`; else one or two words in snake_case, e.g. ``too_short``."""
