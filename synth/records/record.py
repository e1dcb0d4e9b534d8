"""A record as the file has it, which may be anything: what must be true of it, and how it is found."""

import math
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from synth.errors import UserError
from synth.models.ledger import Columns, Outcome, Unreadable, read
from synth.models.ledger_file import COLUMNS

_TYPES: tuple[set[type], ...] = ({str}, {int}, {bytes}, {bytes}, {bytes}, {float}, {float, type(None)}, {str})
LISTED = 5


def flaw(row: Sequence[Any]) -> str:
    """Why `row`, in the order of `COLUMNS`, is no sound record; "" if it is one.

    Sound: its key is the SHA-256 of its request, and it reads back as the outcome of a call.
    """
    if len(row) != len(_TYPES) or any(type(value) not in one for value, one in zip(row, _TYPES, strict=True)):
        return "it has not the columns of a record"
    key, failed, request, _, attempts, latency_s, usd, at = row
    if failed not in (0, 1):
        return f"whether it failed is {failed}"
    if sha256(request).hexdigest() != key:
        return "its key is not the SHA-256 of its request"
    if not _is_request(request):
        return "its request is no JSON object with messages"
    try:
        outcome = read((*row,))
        datetime.fromisoformat(at)
    except Unreadable as error:
        return str(error)
    except ValueError:
        return f"its time is {at[:40]!r}"
    if not _are_sentences(attempts):
        return "its attempts are no list of sentences"
    return "" if math.isfinite(latency_s) and _is_finite(outcome) and math.isfinite(usd or 0) else "infinite"


def _is_request(written: bytes) -> bool:
    try:
        request = orjson.loads(written)
    except orjson.JSONDecodeError:
        return False
    messages = request.get("messages", []) if isinstance(request, dict) else None
    return isinstance(messages, list) and all(isinstance(message, dict) for message in messages)


def _are_sentences(written: bytes) -> bool:
    attempts = orjson.loads(written)
    return isinstance(attempts, list) and all(isinstance(cause, str) for cause in attempts)


def _is_finite(outcome: Outcome) -> bool:
    tokens = outcome.reply.tokens if outcome.reply else ()
    return all(math.isfinite(p) for token in tokens for p in (token.logprob, *token.top.values()))


def find(db: sqlite3.Connection, prefix: str) -> Outcome | None:
    """The outcome whose key begins with `prefix`; None if there is none.

    Raises:
        UserError: there are several.
        Unreadable: it does not read back.
    """
    query = f"SELECT {COLUMNS} FROM outcomes WHERE key >= ? AND key < ? ORDER BY key LIMIT {LISTED + 1}"
    rows: list[Columns] = db.execute(query, (prefix, f"{prefix}\U0010ffff")).fetchall()
    if len(rows) > 1:
        keys = "\n".join(f"  {row[0]}" for row in rows[:LISTED]) + ("\n  …" if len(rows) > LISTED else "")
        raise UserError(f"several keys begin with {prefix!r}; say more of one:\n{keys}")
    return read(rows[0]) if rows else None


def set_aside(db: sqlite3.Connection, prefix: str) -> Iterator[Outcome]:
    """The failures that were set aside under keys that begin with `prefix`, oldest first."""
    query = f"SELECT {COLUMNS} FROM superseded WHERE key >= ? AND key < ? ORDER BY key, at"
    for row in db.execute(query, (prefix, f"{prefix}\U0010ffff")):
        yield read(row)


def moment(said: str, option: str) -> str:
    """A date or a time as records keep it, in UTC, so that texts compare as times do.

    Raises:
        UserError: `said` is neither.
    """
    try:
        time = datetime.fromisoformat(said)
    except ValueError as error:
        raise UserError(f"{option}: expected a date such as 2026-11-25, found {said!r}") from error
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time.astimezone(UTC).isoformat(timespec="milliseconds")
