"""Views: the rows in the shape that a consumer wants. One file each; the columns are TRL's."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from synth.columns import at
from synth.rows import Message, Row

CHAT = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Why something of a row does not show in a view; one or two words in snake_case."""

    reason: str


class View(BaseModel, ABC):
    """A shape of the dataset. Its fields are its YAML keys.

    `columns` begins with ``id``: the row's id, with a suffix if one row shows more than once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: ClassVar[pa.Schema]

    where: dict[str, Any] = Field(
        default_factory=dict,
        description="only rows of which a step noted this, such as {constitutional_open.half: sft}",
    )

    def shown(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """What `row` shows as, if `where` picks it."""
        if all(at(row.facts, path) == wanted for path, wanted in self.where.items()):
            yield from self.show(row)
        else:
            yield LeftOut("not_picked")

    @abstractmethod
    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield what `row` shows as, or why it does not, in the order of ids."""


def chat(*messages: Message) -> list[dict[str, str]]:
    """Messages as TRL's conversational columns hold them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def reply(text: str) -> list[dict[str, str]]:
    """An answer as a conversation of one turn."""
    return chat(Message("assistant", text))
