"""The durable record of every call's outcome, under a key that holds all that could change it.

An outcome is written before anything is done with it. So running again finds what was bought, and a kill
at any instant loses at most the calls in flight. Final failures are outcomes too, and are replayed;
`supersede_failures` sets them aside, so that the next run asks again.

SQLite in WAL mode: one writer at a time, any number of readers, several runs sharing one file. A thread
commits in groups: all that waits when a commit begins goes into it. How the file is opened, and how damage
to it is noticed, is in `ledger_file`.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from synth import crash, errors
from synth.errors import RowError, StorageError
from synth.models.base import Reply
from synth.models.ledger_file import (
    ADD,
    COLUMNS,
    Newest,
    Synchronous,
    connect,
    damaged,
    failure,
    prepare,
)

GROUP = 256

# A row of the table, in the order of `COLUMNS`.
Columns = tuple[str, int, bytes, bytes, bytes, float, float | None, str]

_replies = TypeAdapter(Reply)


class Unreadable(Exception):
    """A record is there, and says nothing."""


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
    """The ledger at `path`, made if it is not there. Use from one event loop; `close` it.

    Args:
        synchronous: "full": what is recorded survives a power loss; "normal": it survives a kill.

    Raises:
        StorageError: it cannot be opened, or is damaged; the message says what to do.
    """

    def __init__(self, path: Path, synchronous: Synchronous = "full") -> None:
        self._path, self._synchronous = path, synchronous
        prepare(path)
        self._newest = Newest(path)
        try:
            self._reader, writer = self._connect(), self._connect()
        except sqlite3.Error as error:
            raise failure(path, "cannot open", error) from error
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._broken: StorageError | None = None
        self._writer = threading.Thread(target=self._serve, args=(writer,), name="ledger", daemon=True)
        self._writer.start()

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, self._synchronous)

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Errors of SQLite inside the block are said in our words."""
        try:
            yield
        except sqlite3.Error as error:
            raise failure(self._path, what, error) from error

    def find(self, key: str) -> Outcome | None:
        """The outcome recorded under `key`, if there is one."""
        try:
            row = self._reader.execute(f"SELECT {COLUMNS} FROM outcomes WHERE key = ?", (key,)).fetchone()
            return read(row) if row else None
        except sqlite3.Error as error:
            raise failure(self._path, "cannot read", error) from error
        except Unreadable as error:
            raise damaged(self._path, str(error)) from error

    async def record(self, outcome: Outcome) -> bool:
        """Return once `outcome` is on disk; False if there may be another under its key, which stays.

        Raises:
            StorageError: it is not; then nothing is recorded any more.
        """
        if self._broken:
            raise StorageError(str(self._broken))
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._waiting.put(_Waiting(columns(outcome), loop, done))
        return await asyncio.shield(done)

    def _serve(self, db: sqlite3.Connection) -> None:
        with closing(db):
            while group := self._group():
                if self._broken:  # a disk that failed once is not asked again whether it holds
                    _tell(group, self._broken)
                    continue
                try:
                    is_new = self._commit(db, group)
                except (OSError, sqlite3.Error) as error:
                    self._broken = failure(self._path, "cannot write", error, _bytes(group))
                    _tell(group, self._broken)
                except Exception as error:  # noqa: BLE001 - or whoever waits would wait for ever
                    self._broken = StorageError(f"cannot write the ledger {self._path}: {error!r}")
                    _tell(group, self._broken)
                else:
                    self._newest.key = group[-1].values[0]
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
            db.executemany(ADD, [waiting.values for waiting in group])
            crash.here("ledger.written")
            db.execute("COMMIT")
            crash.here("ledger.committed")
            return db.total_changes - before == len(group)
        except sqlite3.Error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def supersede_failures(self, keys: Sequence[str]) -> int:
        """Set the failures under `keys` aside, so that they are asked again. Returns how many there were."""
        with self._said("cannot write"), closing(self._connect()) as db:
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
        with self._said("cannot read"):
            for row in self._reader.execute(f"SELECT {COLUMNS} FROM outcomes ORDER BY key"):
                try:
                    yield read(row)
                except Unreadable as error:
                    raise damaged(self._path, str(error)) from error

    def close(self) -> None:
        """Commit what waits, and stop."""
        self._waiting.put(None)
        self._writer.join()
        self._reader.close()


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row of the table, and whom to tell when it is on disk."""

    values: Columns
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[bool]"


def _bytes(group: Sequence[_Waiting]) -> int:
    """What `group` takes on disk at least."""
    return sum(len(value) for waiting in group for value in waiting.values if isinstance(value, str | bytes))


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


def columns(outcome: Outcome) -> Columns:
    """`outcome` as a row of the table, recorded now."""
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


def read(row: Columns) -> Outcome:
    """The outcome in a row of the table.

    Raises:
        Unreadable: it does not read back.
    """
    key, failed, request, body, attempts, latency_s, usd, at = row
    try:
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
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        said = str(error).splitlines()[0]
        raise Unreadable(f"what is recorded under {key[:12]} does not read back: {said}") from error


def _error(body: dict[str, str]) -> RowError:
    kind = getattr(errors, body["error"], RowError)
    if not (isinstance(kind, type) and issubclass(kind, RowError)):
        kind = RowError
    error = kind(body["message"])
    error.hint = body["hint"]
    return error
