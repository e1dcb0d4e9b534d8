"""Conversations: whole dialogues, as a model learns from every turn of them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson
import pyarrow as pa

from synth.rows import Message, Row
from synth.store.views import CHAT, LeftOut, View, chat


class Conversations(View):
    """One line a row: its prompt and its answer, or that answer's last revision, as one list of messages.

    The type is TRL's conversational one. A row with several samples has no one end, and is left out.
    ``turns`` counts the assistant's; ``facts`` is what is known of the row, as JSON: who played which side,
    how it ended, its source and licence. A system message stays where it stands.
    """

    columns = pa.schema(
        [("id", pa.string()), ("messages", CHAT), ("turns", pa.int64()), ("facts", pa.string())]
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield `row` as a dialogue, if it has one fit end and its roles alternate."""
        fresh = sum(answer.parent is None for answer in row.answers)
        if fresh != 1:
            yield LeftOut("several_answers" if fresh else "no_answer")
            return
        messages = (*row.prompt, Message("assistant", row.answers[-1].text))
        if reason := row.answers[-1].unfit or misplaced(messages):
            yield LeftOut(reason)
            return
        yield {
            "id": row.id,
            "messages": chat(*messages),
            "turns": sum(message.role == "assistant" for message in messages),
            "facts": orjson.dumps(row.facts, option=orjson.OPT_SORT_KEYS).decode(),
        }


def misplaced(messages: tuple[Message, ...]) -> str:
    """What is wrong with the roles of a dialogue, "" if nothing.

    They begin with user, alternate and end with assistant; one system message may stand before them.
    """
    roles = [message.role for message in messages]
    turns = roles[1:] if roles[0] == "system" else roles
    if turns[:1] != ["user"] or turns[-1] != "assistant":
        return "roles_misplaced"
    alternate = "system" not in turns and all(one != other for one, other in pairwise(turns))
    return "" if alternate else "roles_do_not_alternate"
