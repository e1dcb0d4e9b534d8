"""What may be spent: reserved before a call, settled after it, and never exceeded.

A call reserves the most that it can take: its prompt at a token a byte, its whole `max_tokens`, at the full
price. If that is more than is left, it waits until others have settled for less; if there are none, the
budget is spent and the run stops. What a pipeline has spent counts over all its runs with a budget, whatever
stopped them. A reservation that was never settled, since the process was killed, counts whole.

It is kept in a file of its own beside the ledger, written before the call is sent. A kill loses none of it; a
power cut may lose its last moments.
"""

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from synth import crash, disk
from synth.errors import BudgetSpent, StorageError
from synth.models.base import Budget, Request, Usage

SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    id INTEGER PRIMARY KEY,
    pipeline TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    usd REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS of_pipeline ON spent (pipeline, model);
"""
UNITS = ("usd", "calls", "tokens")
OF_MESSAGE = 16  # tokens that a message may take beside its text, generously


@dataclass(slots=True)
class Amount:
    """Calls, tokens and US dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def add(self, other: "Amount", sign: int = 1) -> None:
        """Add `other` to this, or take it away."""
        self.calls += sign * other.calls
        self.tokens += sign * other.tokens
        self.usd += sign * other.usd


def worst(request: Request) -> Usage:
    """The most tokens that `request` can take."""
    texts = [*(message.content for message in request.messages), request.target, request.schema]
    sent = sum(len(text.encode()) for text in texts) + OF_MESSAGE * (len(request.messages) + 1)
    return Usage(sent, request.max_tokens)


class Spending:
    """The account of a pipeline in the file at `path`. Use it from one event loop; `close` it.

    Args:
        pipeline: its name.
        whole: what all its models may spend together.
        models: what single ones may, by their names.
    """

    def __init__(self, path: Path, pipeline: str, whole: Budget, models: Mapping[str, Budget]) -> None:
        self._path, self._pipeline = path, pipeline
        self._caps = {"": whole, **models}
        self._open = 0  # reservations that wait for their end
        self._settled = asyncio.Event()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(SCHEMA)
            self.spent = {name: self._read(name) for name in self._caps}
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    async def reserve(self, model: str, worst: Amount) -> int:
        """Set `worst` aside for a call of `model`, on disk; the number to settle it by.

        Raises:
            BudgetSpent: it is more than is left, and nothing is on its way that may leave more.
        """
        while short := self._short(model, worst):
            if not self._open:
                raise BudgetSpent(short)
            self._settled.clear()
            await self._settled.wait()
        number = self._write(
            "INSERT INTO spent (pipeline, model, calls, tokens, usd) VALUES (?, ?, ?, ?, ?)",
            (self._pipeline, model, worst.calls, worst.tokens, worst.usd),
        )
        crash.here("spending.reserved")
        self._book(model, worst)
        self._open += 1
        return number

    def settle(self, number: int, model: str, worst: Amount, actual: Amount | None) -> None:
        """Replace the reservation by what the call took; None if it may have taken all."""
        self._open -= 1
        self._settled.set()
        if actual is None:
            return
        self._write(
            "UPDATE spent SET calls = ?, tokens = ?, usd = ? WHERE id = ?",
            (actual.calls, actual.tokens, actual.usd, number),
        )
        crash.here("spending.settled")
        self._book(model, worst, -1)
        self._book(model, actual)

    def _book(self, model: str, amount: Amount, sign: int = 1) -> None:
        for name in {"", model} & self._caps.keys():
            self.spent[name].add(amount, sign)

    def _short(self, model: str, worst: Amount) -> str:
        """Which cap `worst` would break, in a sentence; "" if none."""
        for name in ("", model):
            for unit in UNITS if name in self._caps else ():
                cap, spent = getattr(self._caps[name], unit), getattr(self.spent[name], unit)
                if cap is not None and spent + getattr(worst, unit) > cap:
                    of = f"models.{name}.budget.{unit}" if name else f"budget.{unit}"
                    return (
                        f"the budget is spent: {spent:,.6g} of {of}: {cap:,.6g} are used, and the next call "
                        f"may take {getattr(worst, unit):,.6g}. Raise it to go on"
                    )
        return ""

    def _read(self, model: str) -> Amount:
        which = "pipeline = ? AND model = ?" if model else "pipeline = ?"
        row = self._db.execute(
            f"SELECT coalesce(sum(calls), 0), coalesce(sum(tokens), 0), coalesce(sum(usd), 0) FROM spent "
            f"WHERE {which}",
            (self._pipeline, model) if model else (self._pipeline,),
        ).fetchone()
        return Amount(*row)

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        try:
            return self._db.execute(statement, values).lastrowid or 0
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: sqlite3.Error) -> StorageError:
        return disk.failed(self._path, error, "cannot use the record of what was spent,")


def spent(path: Path, pipeline: str) -> Amount:
    """What `pipeline` has spent in all, by the file at `path`; nothing if there is none."""
    if not path.is_file():
        return Amount()
    with closing(Spending(path, pipeline, Budget(), {})) as account:
        return account.spent[""]
