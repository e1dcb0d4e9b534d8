"""Instructions: the prompts alone."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from synth.rows import Row
from synth.store.views import CHAT, LeftOut, View, chat


class Instructions(View):
    """One line a row: its prompt, as text and as messages."""

    columns = pa.schema([("id", pa.string()), ("instruction", pa.string()), ("prompt", CHAT)])

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the prompt of `row`."""
        yield {"id": row.id, "instruction": row.prompt[-1].content, "prompt": chat(*row.prompt)}
