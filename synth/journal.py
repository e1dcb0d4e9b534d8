"""What became of every row in every step.

A row that enters a step, or is made by it, has exactly one fate there: it went on as one or more rows,
it was filtered for a reason, or it failed for a reason. So ``rows = continued + filtered + failed`` holds
for every step, and no row is dropped in silence.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from synth import disk
from synth.errors import RowError, StorageError
from synth.rows import Row
from synth.spool import scratch

FAILURES_SHOWN = 5

Kind = Literal["continued", "filtered", "failed"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of row `row` in step `step`. `text` shows a dropped row to a reader."""

    step: str
    row: str
    kind: Kind
    reason: str = ""
    text: str = ""


@dataclass(slots=True)
class Account:
    """How many rows a step has dealt with.

    Attributes:
        made: the rows began there.
        continued: rows that went on, as `out` rows altogether.
        filtered, failed: rows that did not, by reason.
        waiting: rows that `synth plan` cannot follow further without a call.
        note: what the step has to say about its result, "" if nothing.
    """

    made: bool = False
    continued: int = 0
    out: int = 0
    waiting: int = 0
    note: str = ""
    filtered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """Rows that entered, or were made, and have their fate."""
        return self.continued + self.filtered.total() + self.failed.total()


class Journal:
    """The fates of one run: counted in memory, kept in a file that is thrown away with the run.

    `latest` is the row that went on last, and `failures` the first few different ones with their step, for
    whoever shows progress.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = scratch(path)
        self._db.execute(
            "CREATE TABLE fates (step TEXT, row TEXT, kind TEXT, reason TEXT, text TEXT,"
            " PRIMARY KEY (step, row)) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")
        self.accounts: dict[str, Account] = {}
        self.latest: Row | None = None
        self.failures: dict[str, str] = {}

    def open(self, step: str, *, made: bool) -> None:
        """Begin the account of `step`; `made` if its rows begin there."""
        self.accounts[step] = Account(made=made)

    def continued(self, step: str, row: str, rows: list[Row]) -> None:
        """Row `row` went on from `step` as `rows`."""
        self._keep(Fate(step, row, "continued", str(len(rows))))
        self.accounts[step].continued += 1
        self.accounts[step].out += len(rows)
        self.latest = rows[-1]

    def filtered(self, step: str, row: str, reason: str, text: str = "") -> None:
        """`step` dropped row `row` for `reason`."""
        self._keep(Fate(step, row, "filtered", reason, text))
        self.accounts[step].filtered[reason] += 1

    def failed(self, step: str, row: str, error: RowError, text: str = "") -> None:
        """Row `row` failed in `step`."""
        reason = f"{type(error).__name__}: {error}" + (f" ({error.hint})" if error.hint else "")
        self._keep(Fate(step, row, "failed", reason, text))
        if len(self.failures) < FAILURES_SHOWN:
            self.failures.setdefault(reason, step)
        self.accounts[step].failed[type(error).__name__] += 1

    def waiting(self, step: str) -> None:
        """A row of `step` waits for a call that may not be bought."""
        self.accounts[step].waiting += 1

    def note(self, step: str, text: str) -> None:
        """`step` has `text` to say about its result."""
        self.accounts[step].note = text

    def _keep(self, fate: Fate) -> None:
        values = (fate.step, fate.row, fate.kind, fate.reason, fate.text)
        try:
            self._db.execute("INSERT INTO fates VALUES (?, ?, ?, ?, ?)", values)
        except sqlite3.IntegrityError as error:
            raise StorageError(
                f"row {fate.row} came to {fate.step} twice; a step before it gave two rows one id"
            ) from error
        except sqlite3.Error as error:
            raise disk.failed(self._path, error) from error

    def has(self, step: str, row: str) -> bool:
        """Whether row `row` has its fate in `step`."""
        found = self._db.execute("SELECT 1 FROM fates WHERE step = ? AND row = ?", (step, row))
        return found.fetchone() is not None

    def dropped(self) -> Iterator[Fate]:
        """Every row that did not go on, sorted by step and id."""
        kept = "SELECT * FROM fates WHERE kind != 'continued' ORDER BY step, row"
        for step, row, kind, reason, text in self._db.execute(kept):
            yield Fate(step, row, kind, reason, text)

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()
        self._path.unlink(missing_ok=True)
