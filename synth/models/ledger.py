"""The durable record of every call's outcome, under a key that holds all that could change it.

An outcome is written before anything is done with it. So running again finds what was bought, and a kill
at any instant loses at most the calls in flight. Final failures are outcomes too, and are replayed;
`supersede_failures` sets them aside, so that the next run asks again.

SQLite in WAL mode: one writer at a time, any number of readers, several runs sharing one file. A thread
commits in groups: all that waits when a commit begins goes into it.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from synth import errors
from synth.errors import RowError, StorageError
from synth.models.base import Reply

SCHEMA = """
CREATE TABLE IF NOT EXISTS outcomes (
    key TEXT PRIMARY KEY,
    failed INTEGER NOT NULL,     -- 0: `outcome` is a reply, 1: a final failure
    request BLOB NOT NULL,       -- the fields that the key was made from, JSON
    outcome BLOB NOT NULL,       -- JSON
    attempts BLOB NOT NULL,      -- why earlier attempts failed, JSON list of sentences
    latency_s REAL NOT NULL,
    usd REAL,                    -- NULL: price unknown
    at TEXT NOT NULL             -- UTC, a label only
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS superseded AS SELECT * FROM outcomes WHERE 0;
"""
COLUMNS = "key, failed, request, outcome, attempts, latency_s, usd, at"
GROUP = 256

_replies = TypeAdapter(Reply)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended: with `reply`, or for good with `error`.

    Attributes:
        key, request: the request's key, and the JSON it was made from.
        attempts: why earlier attempts failed.
        latency_s: seconds from the first attempt's start to the end, waits included.
        usd: cost in US dollars, None if the price is unknown.
        at: when it was recorded, UTC; a label, never read by the program.
    """

    key: str
    request: bytes
    reply: Reply | None = None
    error: RowError | None = None
    attempts: tuple[str, ...] = ()
    latency_s: float = 0.0
    usd: float | None = None
    at: str = ""

    def result(self) -> Reply:
        """The reply; or raises the failure that was recorded."""
        if self.error is not None:
            raise self.error
        assert self.reply is not None
        return self.reply


class Ledger:
    """The ledger at `path`, made if it is not there. Use from one event loop; `close` it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as db:
                db.executescript(SCHEMA)
            path.chmod(0o600)
            self._reader = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot open the ledger {path}: {error}") from error
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._broken: Exception | None = None
        self._writer = threading.Thread(target=self._serve, name="ledger", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        return db

    def find(self, key: str) -> Outcome | None:
        """The outcome recorded under `key`, if there is one."""
        try:
            row = self._reader.execute(f"SELECT {COLUMNS} FROM outcomes WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise StorageError(f"the ledger {self._path} cannot be read: {error}") from error
        return _read(row) if row else None

    async def record(self, outcome: Outcome) -> bool:
        """Return once `outcome` is on disk; False if there may be another under its key, which stays.

        Raises:
            StorageError: it is not; then nothing is recorded any more.
        """
        if self._broken:
            raise StorageError(f"the ledger {self._path} cannot be written: {self._broken}")
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.put(_Waiting(_columns(outcome), loop, done))
        return await asyncio.shield(done)

    def _serve(self) -> None:
        with closing(self._connect()) as db:
            while group := self._group():
                try:
                    is_new = self._commit(db, group)
                except sqlite3.Error as error:
                    self._broken = error
                    failure = StorageError(f"the ledger {self._path} cannot be written: {error}")
                    _tell(group, failure)
                else:
                    _tell(group, is_new)

    def _group(self) -> list["_Waiting"]:
        """All that waits, at most `GROUP`; empty once the ledger is closed."""
        first = self._waiting.get()
        group = [first] if first else []
        while group and len(group) < GROUP:
            try:
                waiting = self._waiting.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                self._waiting.put(None)
                break
            group.append(waiting)
        return group

    def _commit(self, db: sqlite3.Connection, group: Sequence["_Waiting"]) -> bool:
        """Whether all of `group` were added."""
        before = db.total_changes
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(
                f"INSERT OR IGNORE INTO outcomes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [waiting.values for waiting in group],
            )
            db.execute("COMMIT")
            return db.total_changes - before == len(group)
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def supersede_failures(self, keys: Sequence[str]) -> int:
        """Set the failures under `keys` aside, so that they are asked again. Returns how many there were."""
        with closing(self._connect()) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("CREATE TEMP TABLE asked AS SELECT key FROM outcomes WHERE 0")
            db.executemany("INSERT INTO asked VALUES (?)", [(key,) for key in keys])
            which = "failed = 1 AND key IN (SELECT key FROM asked)"
            db.execute(f"INSERT INTO superseded SELECT * FROM outcomes WHERE {which}")
            count = db.execute(f"DELETE FROM outcomes WHERE {which}").rowcount
            db.execute("COMMIT")
        return count

    def __iter__(self) -> Iterator[Outcome]:
        """Every outcome, in the order of keys."""
        for row in self._reader.execute(f"SELECT {COLUMNS} FROM outcomes ORDER BY key"):
            yield _read(row)

    def close(self) -> None:
        """Commit what waits, and stop."""
        self._waiting.put(None)
        self._writer.join()
        self._reader.close()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row of the table, and whom to tell when it is on disk."""

    values: tuple[object, ...]
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[bool]"


def _tell(group: Sequence[_Waiting], result: bool | Exception) -> None:
    def tell() -> None:
        for waiting in group:
            if waiting.done.done():
                continue
            if isinstance(result, Exception):
                waiting.done.set_exception(result)
            else:
                waiting.done.set_result(result)

    # A loop that was closed by an interrupt has nobody left to tell; what is on disk stays there.
    if not group[0].loop.is_closed():
        group[0].loop.call_soon_threadsafe(tell)


def _columns(outcome: Outcome) -> tuple[object, ...]:
    error = outcome.error
    body = (
        {"error": type(error).__name__, "message": str(error), "hint": error.hint} if error else outcome.reply
    )
    return (
        outcome.key,
        int(error is not None),
        outcome.request,
        orjson.dumps(body),
        orjson.dumps(outcome.attempts),
        outcome.latency_s,
        outcome.usd,
        datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _read(row: tuple[str, int, bytes, bytes, bytes, float, float | None, str]) -> Outcome:
    key, failed, request, body, attempts, latency_s, usd, at = row
    return Outcome(
        key=key,
        request=request,
        reply=None if failed else _replies.validate_json(body),
        error=_error(orjson.loads(body)) if failed else None,
        attempts=tuple(orjson.loads(attempts)),
        latency_s=latency_s,
        usd=usd,
        at=at,
    )


def _error(body: dict[str, str]) -> RowError:
    kind = getattr(errors, body["error"], RowError)
    error: RowError = kind(body["message"])
    error.hint = body["hint"]
    return error
