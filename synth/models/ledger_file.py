"""The ledger's file: how it is made and opened, how it is known, and how damage to it is noticed.

Four things are looked at whenever it is opened: that it is a ledger (`application_id`), that this release
can read it (`user_version`), that SQLite finds its pages in order, and that its newest record is there. The
last goes by a file beside it that names the record which was written last: who deletes the ``-wal`` file
deletes records without any trace in the database itself. What is found ends the run with the command that
saves what still reads; nothing is ever begun anew in silence.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Literal

from synth import disk
from synth.errors import StorageError, UserError
from synth.models.wal import is_broken_inside

APPLICATION = 0x53796E4C  # "SynL"
VERSION = 1
TABLES = (
    """CREATE TABLE IF NOT EXISTS outcomes (
    key TEXT PRIMARY KEY,
    failed INTEGER NOT NULL,     -- 0: `outcome` is a reply, 1: a final failure
    request BLOB NOT NULL,       -- the fields that the key was made from, JSON
    outcome BLOB NOT NULL,       -- JSON
    attempts BLOB NOT NULL,      -- why earlier attempts failed, JSON list of sentences
    latency_s REAL NOT NULL,
    usd REAL,                    -- NULL: price unknown
    at TEXT NOT NULL             -- UTC, a label only
) WITHOUT ROWID""",
    "CREATE TABLE IF NOT EXISTS superseded AS SELECT * FROM outcomes WHERE 0",
)
COLUMNS = "key, failed, request, outcome, attempts, latency_s, usd, at"
ADD = f"INSERT OR IGNORE INTO outcomes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

SALVAGE = "python -m synth ledger salvage"
MOST_CHECKED_BYTES = 512_000_000  # a second or so; of a larger file `synth ledger verify` reads every page
BUSY_S = 60.0

# Whether a commit waits for the disk ("full"), or only for the system, so that a power loss may take it.
Synchronous = Literal["full", "normal"]

_log = logging.getLogger(__name__)
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def connect(path: Path, synchronous: Synchronous = "full") -> sqlite3.Connection:
    """A connection to the file at `path`, which is made if it is not there, in WAL mode."""
    db = _plain(path)
    try:
        _use_wal(db)
        db.execute(f"PRAGMA synchronous={synchronous}")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _plain(path: Path, *, writing: bool = True) -> sqlite3.Connection:
    """A connection that sets nothing. Unless it is for `writing`, not a byte is changed, also by closing it.

    A ledger whose very making was stopped is the exception: SQLite has to undo that before it is read.
    """
    is_half_made = beside(path, "-journal").exists()
    uri = f"{path.resolve().as_uri()}?mode={'rwc' if writing or is_half_made else 'ro'}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _use_wal(db: sqlite3.Connection) -> None:
    """Change to WAL mode. SQLite does not wait for another process that changes it at this moment; we do."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def prepare(path: Path) -> None:
    """Make the ledger at `path` if it is not there, and look whether it is whole.

    Raises:
        StorageError: it is not; or nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        had_wal = _size(beside(path, "-wal")) > 0
        _check_files(path, had_wal)
        if not _size(path) or not _is_whole(path, had_wal):
            with closing(_plain(path)) as db:
                _stamp(db, path)
        path.chmod(0o600)
    except (OSError, sqlite3.Error) as error:
        raise failure(path, "cannot open", error) from error


@contextmanager
def reading(path: Path, *, writing: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection to the ledger at `path`, for a look at it or, if `writing`, for an edit.

    Raises:
        UserError: there is none.
        StorageError: it cannot be read, or is no ledger; also for what SQLite finds while it is open.
    """
    if not path.is_file():
        raise UserError(f"there is no ledger here: {path} is made by the first run")
    try:
        _check_files(path, _size(beside(path, "-wal")) > 0)
        with closing(_plain(path, writing=writing)) as db:
            _check_kind(db, path)
            yield db
    except sqlite3.Error as error:
        raise failure(path, "cannot read", error) from error


def beside(path: Path, suffix: str) -> Path:
    """A file that belongs to the ledger at `path`: ``-wal``, ``-shm``, ``-newest`` or ``-salvaged``."""
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_files(path: Path, had_wal: bool) -> None:
    """What is wrong without the ledger being opened, which would take SQLite's word for a new one."""
    if beside(path, "-salvaged").exists():
        raise damaged(path, "it was being saved when that was stopped")
    if _size(path):
        return
    if had_wal:
        raise damaged(path, "its -wal file is there, and it is not")
    if path.exists() and Newest(path).key:
        raise damaged(path, "it is empty, and was not")


def _is_whole(path: Path, had_wal: bool) -> bool:
    """Whether it is a whole ledger with a stamp; False if it has none. Changes nothing.

    Raises:
        StorageError: it is not whole.
    """
    with closing(_plain(path, writing=False)) as db:
        is_known = _is_known(db, path)
        if _size(path) <= MOST_CHECKED_BYTES:
            check_pages(db, path)
        if is_known:
            _check_newest(db, path, had_wal)
        return is_known


def _stamp(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables and say whose they are, unless that is done; all or nothing."""
    if _is_known(db, path):
        return
    _use_wal(db)
    db.execute("BEGIN IMMEDIATE")
    for statement in TABLES:
        db.execute(statement)
    db.execute(f"PRAGMA application_id={APPLICATION}")
    db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _check_kind(db: sqlite3.Connection, path: Path) -> None:
    if not _is_known(db, path) and not _tables(db):
        raise damaged(path, "it is no ledger: it is empty")


def _is_known(db: sqlite3.Connection, path: Path) -> bool:
    """Whether it is stamped as a ledger of this release; one from before there were stamps is not.

    Raises:
        StorageError: it belongs to another program, or to a later release.
    """
    application, version = number(db, "PRAGMA application_id"), number(db, "PRAGMA user_version")
    is_unstamped = application == version == 0 and _tables(db) <= {"outcomes", "superseded"}
    if application != APPLICATION and not is_unstamped:
        raise damaged(path, "it is no ledger: it is another program's database")
    if version > VERSION:
        raise StorageError(
            f"the ledger {path} was written by a later release (schema {version}; this one reads {VERSION}). "
            f"Update synth; or keep that ledger aside and go on with what reads in it: {SALVAGE}"
        )
    return not is_unstamped


def _tables(db: sqlite3.Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def number(db: sqlite3.Connection, query: str, *values: object) -> int:
    """The one number that `query` gives."""
    found: int = db.execute(query, values).fetchone()[0]
    return found


def check_pages(db: sqlite3.Connection, path: Path) -> None:
    """Have SQLite look whether its pages hang together.

    Raises:
        StorageError: they do not.
    """
    [(said,)] = db.execute("PRAGMA quick_check(1)").fetchall()
    if said != "ok":
        raise damaged(path, " ".join(said.split()))


def _check_newest(db: sqlite3.Connection, path: Path, had_wal: bool) -> None:
    newest = Newest(path)
    key = newest.key
    if not key or holds(db, key):
        return
    if not had_wal:
        raise damaged(path, f"its newest record, {key[:12]}, is not there; was its -wal file deleted?")
    if is_broken_inside(beside(path, "-wal")):
        raise damaged(path, "its -wal file is broken, and records stand behind that place")
    _log.warning(
        "the newest records of the ledger %s are gone, as after a power loss; they are bought again", path
    )
    newest.key = ""


def holds(db: sqlite3.Connection, key: str) -> bool:
    """Whether anything was ever recorded under `key`, also if it was set aside since."""
    tables = ("outcomes", "superseded")
    return any(db.execute(f"SELECT 1 FROM {table} WHERE key = ?", (key,)).fetchone() for table in tables)


class Newest:
    """The key of the record that was written last, in a file beside the ledger; "" if none is known.

    Written after a commit and never synced: after a power loss it may be older than the ledger, not newer.
    """

    def __init__(self, path: Path) -> None:
        self._path = beside(path, "-newest")

    @property
    def key(self) -> str:
        """The key; what cannot be read says nothing."""
        with suppress(OSError, UnicodeDecodeError):
            return self._path.read_text(encoding="utf-8").strip()
        return ""

    @key.setter
    def key(self, key: str) -> None:
        # One small write over the old content: a kill leaves either key whole. A disk that is full or
        # broken stops the ledger itself; this file alone is no reason to stop.
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(file, key.ljust(64).encode())
            finally:
                os.close(file)


def damaged(path: Path, why: str) -> StorageError:
    """The error for a ledger that is not whole."""
    return StorageError(
        f"cannot open the ledger {path}: {why}. It is left as it is. "
        f"To keep it aside and go on with all that still reads: {SALVAGE}"
    )


def failure(path: Path, what: str, error: OSError | sqlite3.Error, needed: int = 0) -> StorageError:
    """The error for a ledger with which SQLite or the system cannot do `what`, such as "cannot read".

    Args:
        needed: bytes that there must be at least, where that is known.
    """
    if is_damage(error):
        return damaged(path, str(error))
    return disk.failed(path, error, f"{what} the ledger", needed)


def is_damage(error: Exception) -> bool:
    """Whether it is the file's content that is at fault."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE or "decode to UTF-8" in str(error)


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
