"""What a ledger holds, counted by model, endpoint and kind of call, in one pass and little memory."""

import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from synth.models.ledger_file import number


class Asked(NamedTuple):
    """Who was asked for what; the kind is one of `base.Kind`."""

    model: str
    endpoint: str
    kind: str


@dataclass(slots=True)
class Count:
    """How calls of one sort ended.

    Attributes:
        replies, failed: how many outcomes are which.
        prompt, cached, completion: tokens billed.
        usd: what is known of the cost; `unpriced` replies are not in it.
        first, last: when, UTC.
    """

    replies: int = 0
    failed: int = 0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    usd: float = 0.0
    unpriced: int = 0
    first: str = ""
    last: str = ""

    def add(self, body: dict[str, object] | None, usd: float | None, at: str) -> None:
        """Count one more outcome: the reply `body`, or a failure."""
        self.replies += body is not None
        self.failed += body is None
        usage = body.get("usage") if body else None
        if isinstance(usage, dict):
            self.prompt += usage.get("prompt", 0)
            self.cached += usage.get("cached", 0)
            self.completion += usage.get("completion", 0)
        self.usd += usd or 0.0
        self.unpriced += body is not None and usd is None
        self.first, self.last = min(self.first or at, at), max(self.last, at)


@dataclass(slots=True)
class Counts:
    """All that was counted. `set_aside`: failures that were; `unreadable`: records that say nothing."""

    asked: dict[Asked, Count] = field(default_factory=dict)
    set_aside: int = 0
    unreadable: int = 0


def counted(db: sqlite3.Connection, *, model: str = "", failed: bool = False, since: str = "") -> Counts:
    """Count the records of `db`.

    Args:
        model: only calls of this model, by its name in requests.
        failed: only failures.
        since: only from this time on, as `record.moment` gives it.
    """
    counts = Counts(set_aside=number(db, "SELECT count(*) FROM superseded WHERE at >= ?", since))
    which = "at >= ? AND failed >= ?"
    for request, outcome, is_failure, usd, at in db.execute(
        f"SELECT request, outcome, failed, usd, at FROM outcomes WHERE {which}", (since, int(failed))
    ):
        try:
            named = orjson.loads(request)
            asked = Asked(*(str(named[name]) for name in Asked._fields))
            body = None if is_failure else orjson.loads(outcome)
            if not model or asked.model == model:
                counts.asked.setdefault(asked, Count()).add(body, usd, at)
        except (ValueError, TypeError, KeyError, AttributeError):
            counts.unreadable += 1
    return counts
