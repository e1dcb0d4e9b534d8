"""A damaged ledger replaced by one that holds all that still reads; the damaged one is kept aside, untouched.

Nothing is lost if this is stopped at any moment: the new ledger is whole before the damaged one is moved, and
until it has taken its place no run opens either; doing it again goes on from there.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synth.errors import StorageError, SynthError
from synth.models.ledger_file import (
    COLUMNS,
    Newest,
    beside,
    connect,
    failure,
    holds,
    number,
    prepare,
    reading,
)
from synth.records.pages import Found, Pages, opened
from synth.records.record import flaw
from synth.records.verify import broken_pages, flaws

GROUP = 1000

# Of several records under one key a reply is kept rather than a failure, and the later of two.
ADD = f"""INSERT INTO outcomes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET failed = excluded.failed, outcome = excluded.outcome,
        attempts = excluded.attempts, latency_s = excluded.latency_s, usd = excluded.usd, at = excluded.at
    WHERE (excluded.failed, outcomes.at) < (outcomes.failed, excluded.at)"""
SETTLE = (
    f"INSERT INTO superseded SELECT {COLUMNS} FROM aside",
    "DELETE FROM outcomes WHERE failed = 1 AND EXISTS"
    " (SELECT 1 FROM aside WHERE aside.key = outcomes.key AND aside.at = outcomes.at)",
)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved, and what was not.

    Attributes:
        aside: where the damaged ledger is now.
        replies, failures, set_aside: how many records were saved.
        lost: records that are there in pieces.
        pages: pages of which nothing reads; they held `about` so many records, going by the others.
        newest: the key of the record that was written last, if it was not saved; else "".
    """

    aside: Path
    replies: int
    failures: int
    set_aside: int
    lost: int = 0
    pages: int = 0
    about: int = 0
    newest: str = ""


def is_sound(path: Path) -> bool:
    """Whether there is nothing to save: the ledger at `path` opens, and every page and record is sound."""
    if not path.is_file():
        return False
    try:
        prepare(path)
        with reading(path) as db:
            return not any(broken_pages(db)) and not any(flaws(db))
    except StorageError:
        return False


def salvage(path: Path) -> Salvaged:
    """Replace the ledger at `path`, which nobody may be using.

    Raises:
        SynthError: there is no file to save anything from.
        StorageError: the new one cannot be written; the damaged one is where it was.
    """
    whole, new = beside(path, "-salvaged"), beside(path, "-salvaging")
    try:
        if whole.exists():  # an earlier one was stopped on the way
            with reading(whole, writing=True) as db:
                counts = _counts(db)
            return Salvaged(_replaced(path, whole), *counts)
        if not path.exists() and not beside(path, "-wal").exists():
            raise SynthError(f"there is no ledger at {path}")
        for suffix in ("", "-wal", "-shm", "-newest"):
            beside(new, suffix).unlink(missing_ok=True)
        counts, about = _rescued(path, new)
        new.rename(whole)
        return Salvaged(_replaced(path, whole), *counts, **about)
    except (OSError, sqlite3.Error) as error:
        raise failure(path, "cannot save", error) from error


def _rescued(path: Path, new: Path) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """Fill the ledger `new` with what reads at `path`: how much that is, and what is known of the rest."""
    prepare(new)
    with closing(connect(new)) as db:
        db.execute(f"CREATE TEMP TABLE aside ({COLUMNS}, PRIMARY KEY (key, at))")
        pages = opened(path, beside(path, "-wal"))
        try:
            pieces = _fill(db, pages.cells())
            lost = {key for key in pieces if not holds(db, key)}
            leaves, about = pages.lost_leaves()
        finally:
            _close(pages)
        newest = Newest(path).key
        missing = newest if newest and not holds(db, newest) else ""
        counts = _counts(db)
    return counts, {"lost": len(lost), "pages": leaves, "about": about, "newest": missing}


def _close(pages: Pages) -> None:
    for file in (pages.main, pages.log):
        if file:
            file.close()


def _fill(db: sqlite3.Connection, cells: Iterator[Found]) -> set[str]:
    """Add what is sound. Returns the keys of outcomes of which a part was found that is not."""
    pieces: set[str] = set()
    db.execute("BEGIN")
    for count, cell in enumerate(cells):
        row = next((row for row in cell.readings if not flaw(row)), None)
        if row:
            db.execute(
                ADD if cell.is_outcome else "INSERT OR IGNORE INTO aside VALUES (?,?,?,?,?,?,?,?)", row
            )
        elif cell.is_outcome and cell.key:
            pieces.add(cell.key)
        if count % GROUP == GROUP - 1:
            db.execute("COMMIT")
            db.execute("BEGIN")
    for statement in SETTLE:
        db.execute(statement)
    db.execute("COMMIT")
    return pieces


def _counts(db: sqlite3.Connection) -> tuple[int, int, int]:
    """How many replies, failures, and failures that were set aside."""
    failed = [number(db, "SELECT count(*) FROM outcomes WHERE failed = ?", which) for which in (0, 1)]
    return failed[0], failed[1], number(db, "SELECT count(*) FROM superseded")


def _replaced(path: Path, whole: Path) -> Path:
    """Move the damaged ledger aside and `whole` into its place. Stopped anywhere, it can be done again."""
    made = datetime.fromtimestamp(whole.stat().st_mtime, UTC)
    aside = path.with_name(f"{path.stem}.damaged-{made:%Y%m%dT%H%M%S%f}Z{path.suffix}")
    for suffix in ("", "-wal"):
        if beside(path, suffix).exists():
            beside(path, suffix).rename(beside(aside, suffix))
    for suffix in ("-shm", "-newest"):
        beside(path, suffix).unlink(missing_ok=True)
    whole.rename(path)
    return aside
