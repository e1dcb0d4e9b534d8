"""Rows on disk, read back in the order of their ids: how a step sees all rows in little memory."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from synth import crash, disk
from synth.errors import StorageError
from synth.rows import Row, from_json, to_json


def scratch(path: Path) -> sqlite3.Connection:
    """An empty database at `path` that is thrown away with the run.

    What a crash leaves of it is worthless, since a rerun makes the rows again; so nothing is synced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=OFF")
    db.execute("PRAGMA synchronous=OFF")
    return db


class Spool:
    """A set of rows by id, in a file that is thrown away with the run.

    Args:
        check: is called before each row that is read back, and raises if the reading is to end.
    """

    def __init__(self, path: Path, check: Callable[[], None] = lambda: None) -> None:
        self._path, self._check = path, check
        self._db = scratch(path)
        self._db.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, root TEXT, body BLOB) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add(self, row: Row) -> None:
        """Keep `row`.

        Raises:
            StorageError: a row of this id is there already, or the disk is full.
        """
        try:
            self._db.execute("INSERT INTO rows VALUES (?, ?, ?)", (row.id, row.root, to_json(row)))
        except sqlite3.IntegrityError as error:
            raise StorageError(
                f"two rows share the id {row.id}; the step that made them is at fault"
            ) from error
        except sqlite3.Error as error:
            raise disk.failed(self._path, error) from error
        crash.here("spool.added")

    def __len__(self) -> int:
        count: int = self._db.execute("SELECT count(*) FROM rows").fetchone()[0]
        return count

    def __iter__(self) -> Iterator[Row]:
        """The rows in the order of their ids."""
        for (body,) in self._db.execute("SELECT body FROM rows ORDER BY id"):
            self._check()
            yield from_json(body)

    def roots(self) -> list[str]:
        """The digests of the root prompts, each once, sorted."""
        return [root for (root,) in self._db.execute("SELECT DISTINCT root FROM rows ORDER BY root")]

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()
        self._path.unlink(missing_ok=True)
