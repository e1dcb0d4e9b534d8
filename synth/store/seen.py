"""Seen: texts that came before, in a file that nobody sees, so that memory stays flat."""

import sqlite3


class Seen:
    """A set of texts. It lies in a temporary file of SQLite's own, which is gone once it is closed."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("CREATE TABLE seen (text TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def add(self, text: str) -> bool:
        """Take `text` in; whether it is new."""
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (text,)).rowcount == 1

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()

    def __enter__(self) -> "Seen":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
