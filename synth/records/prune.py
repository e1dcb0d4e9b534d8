"""What may be dropped from a ledger: failures. A reply was paid for, and stays."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from synth.models.ledger_file import Newest, number


@dataclass(frozen=True, slots=True)
class Prunable:
    """How many failures that were set aside by `retry`, and how many that a run still goes by."""

    set_aside: int
    failures: int


def prunable(db: sqlite3.Connection, *, failed: bool, before: str) -> Prunable:
    """What `prune` would drop.

    Args:
        failed: also failures that were not set aside; the next run asks for them again.
        before: only what is older than this time, as `record.moment` gives it; "" for all.
    """
    before = before or "~"
    set_aside = number(db, "SELECT count(*) FROM superseded WHERE at < ?", before)
    query = "SELECT count(*) FROM outcomes WHERE failed = 1 AND at < ?"
    return Prunable(set_aside, number(db, query, before) if failed else 0)


def prune(db: sqlite3.Connection, path: Path, *, failed: bool, before: str) -> Prunable:
    """Drop what `prunable` counts, and say how many that were: all of it, or nothing."""
    before = before or "~"
    db.execute("BEGIN IMMEDIATE")
    set_aside = db.execute("DELETE FROM superseded WHERE at < ?", (before,)).rowcount
    failures = 0
    if failed:
        failures = db.execute("DELETE FROM outcomes WHERE failed = 1 AND at < ?", (before,)).rowcount
    Newest(path).key = ""  # it may be among them, and would be missed
    db.execute("COMMIT")
    return Prunable(set_aside, failures)
