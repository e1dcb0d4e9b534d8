"""Whether every record is sound, and the file with them."""

import sqlite3
from collections.abc import Iterator

from synth.models.ledger_file import COLUMNS
from synth.records.record import flaw


def broken_pages(db: sqlite3.Connection) -> Iterator[str]:
    """What SQLite finds wrong with the file; at most 100 sentences."""
    for (said,) in db.execute("PRAGMA integrity_check"):
        if said != "ok":
            yield " ".join(said.split())


def flaws(db: sqlite3.Connection) -> Iterator[str]:
    """For every record, also those set aside: why it is not sound, with its key; "" if it is."""
    for table in ("outcomes", "superseded"):
        for row in db.execute(f"SELECT {COLUMNS} FROM {table} ORDER BY key"):
            found = flaw(row)
            yield f"{row[0]}: {found}" if found else ""
