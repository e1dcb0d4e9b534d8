"""Records carried from one ledger to another: as a file of JSON Lines, or straight from the other ledger.

A line is a record: its key, the request that the key was made from, the outcome and what else is recorded.
Lines stand in the order of keys, so that two ledgers can be compared line by line. Everything streams.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from synth.errors import Problem, StorageError, UserError
from synth.models.ledger import Columns
from synth.models.ledger_file import ADD, COLUMNS, reading
from synth.records.record import flaw

BATCH = 256
LONGEST_LINE = 256_000_000
MAGIC = b"SQLite format 3\0"
NAMES = COLUMNS.split(", ")


@dataclass(slots=True)
class Merged:
    """What became of another ledger's records.

    Attributes:
        new: were added.
        known: were there already, with the same outcome.
        conflicting: were there with another outcome, which stays.
    """

    new: int = 0
    known: int = 0
    conflicting: int = 0


def export(db: sqlite3.Connection, target: Path) -> tuple[int, int]:
    """Write the records of `db` into the new file `target`.

    Returns how many are in it, and how many are not, since they are not sound.

    Raises:
        UserError: `target` is there already.
        StorageError: it cannot be written; then it is not there.
    """
    if target.exists():
        raise UserError(f"{target} is there already; nothing is written over")
    part = target.with_name(target.name + ".part")
    try:
        part.touch(0o600)
        with part.open("wb") as file:
            rows, flawed = _write(db, file)
        part.replace(target)
        return rows, flawed
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _write(db: sqlite3.Connection, file: BinaryIO) -> tuple[int, int]:
    rows = seen = 0
    for row in db.execute(f"SELECT {COLUMNS} FROM outcomes ORDER BY key"):
        seen += 1
        if not flaw(row):
            file.write(_line(row))
            rows += 1
    return rows, seen - rows


def _line(row: Columns) -> bytes:
    named: dict[str, Any] = dict(zip(NAMES, row, strict=True))
    request = orjson.loads(row[2])
    if orjson.dumps(request) != row[2]:  # the key is made from the very bytes
        request = row[2].decode()
    parsed = {name: orjson.loads(named[name]) for name in ("outcome", "attempts")}
    return orjson.dumps({**named, "failed": bool(row[1]), "request": request, **parsed}) + b"\n"


def records(path: Path) -> Iterator[Columns | Problem]:
    """The records in `path`, another ledger or what `export` wrote; or what is wrong with one.

    Raises:
        UserError: there is no such file.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            is_ledger = file.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    return _of_ledger(path) if is_ledger else _of_lines(path)


def _of_ledger(path: Path) -> Iterator[Columns | Problem]:
    with reading(path) as db:
        for row in db.execute(f"SELECT {COLUMNS} FROM outcomes ORDER BY key"):
            found = flaw(row)
            yield Problem(f"{str(row[0])[:64]}: {found}", str(path)) if found else row


def _of_lines(path: Path) -> Iterator[Columns | Problem]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
                row = _row(line)
                found = row if isinstance(row, str) else flaw(row)
                yield Problem(found, str(path), number) if found else row  # type: ignore[misc]
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _row(line: bytes) -> tuple[Any, ...] | str:
    """The columns in a line, unchecked; or what is wrong with it."""
    try:
        found = orjson.loads(line)
        if not isinstance(found, dict) or set(found) != set(NAMES):
            return f"expected an object with the keys {COLUMNS}"
        request = found["request"]
        found["request"] = request.encode() if isinstance(request, str) else orjson.dumps(request)
        found["failed"] = int(found["failed"])
        for name in ("outcome", "attempts"):
            found[name] = orjson.dumps(found[name])
        for name in ("latency_s", "usd"):
            found[name] = float(found[name]) if isinstance(found[name], int) else found[name]
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, TypeError, ValueError) as error:
        return f"not a record: {error}"
    return tuple(found[name] for name in NAMES)


def merge(db: sqlite3.Connection, rows: Iterator[Columns], merged: Merged) -> None:
    """Add `rows` to `db`, and count them in `merged`. What is there stays."""
    db.execute("BEGIN IMMEDIATE")
    for count, row in enumerate(rows):
        _add(db, row, merged)
        if count % BATCH == BATCH - 1:  # so that a run beside it need not wait long
            db.execute("COMMIT")
            db.execute("BEGIN IMMEDIATE")
    db.execute("COMMIT")


def _add(db: sqlite3.Connection, row: Columns, merged: Merged) -> None:
    if db.execute(ADD, row).rowcount:
        merged.new += 1
        return
    kept: Sequence[Any] = db.execute(
        "SELECT failed, outcome FROM outcomes WHERE key = ?", (row[0],)
    ).fetchone()
    if (kept[0], orjson.loads(kept[1])) == (row[1], orjson.loads(row[3])):
        merged.known += 1
    else:
        merged.conflicting += 1
