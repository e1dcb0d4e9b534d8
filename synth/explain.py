"""Explain: from a row of a version to the calls behind each part of it, to what was asked and answered."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from synth.errors import UserError
from synth.models.ledger import Outcome
from synth.models.ledger_file import reading
from synth.records.record import find
from synth.store.version import Version
from synth.terminal import plain, say, tell

MOST_ROWS = 10  # of one beginning, that are named
WIDTH = 200
COLUMNS = ("part", "step", "model", "tokens in", "out", "USD", "seconds", "recorded", "call")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a row, the step that made it, and the call behind it, if the ledger has it."""

    part: str
    step: str
    call: str
    outcome: Outcome | None


def explain(version: Version, row: str, ledger: Path) -> tuple[str, list[Part]]:
    """The id of the row that `row` names or begins, and its parts in the order of their making.

    Args:
        row: an id as in a view, with or without what follows its colon.

    Raises:
        UserError: no row of the version, or several, begin so.
    """
    wanted = row.partition(":")[0]
    table = pq.read_table(version.path / ".synth" / "lineage.parquet")
    found = table.filter(pc.starts_with(table["row"], wanted)).to_pylist() if wanted else []
    ids = list(dict.fromkeys(line["row"] for line in found))
    if not ids and (line := next(_lines(version, wanted), None)):
        return str(line["id"]).partition(":")[0], []
    if len(ids) != 1:
        some = ", ".join(ids[:MOST_ROWS])
        raise UserError(
            f"{len(ids)} rows of {version.name} begin with {wanted!r}: {some}"
            if ids
            else f"no row of {version.name} begins with {wanted!r}: its views have the ids, in the column id"
        )
    with reading(ledger) as db:
        return ids[0], [
            Part(line["part"], line["step"], line["call"], find(db, line["call"])) for line in found
        ]


def shown(version: Version, row: str, parts: list[Part], console: Console) -> None:
    """The lines of the views, the calls in a table, and what the models were asked and said."""
    for line in _lines(version, row):
        say(console, f"view {line.pop('view')}, {line.pop('split')}", "bold")
        for name, value in line.items():
            said = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
            say(console, f"  {name:12} {plain(said, WIDTH)}")
    if not parts:
        tell(console, "\nNo call is behind it: it was read from a file.")
        return
    table = Table(title="\ncalls behind it", title_justify="left", box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("tokens in", "out", "USD", "seconds") else "left")
    for part in parts:
        table.add_row(*(Text(cell) for cell in _cells(part)))
    console.print(table)
    for part in parts:
        _said(part, console)
    tell(console, "\npython -m synth ledger show CALL prints one of them whole.")


def _lines(version: Version, row: str) -> Iterator[dict[str, Any]]:
    """The lines of all views that show the row whose id is or begins `row`."""
    places = [(view, split) for view, known in version.manifest["views"].items() for split in known["rows"]]
    for view, split in places:
        fitting = (line for line in version.rows(view, split) if str(line.get("id", "")).startswith(row))
        yield from ({"view": view, "split": split, **line} for line in fitting if row)


def _cells(part: Part) -> tuple[str, ...]:
    about = plain(part.part, 30), plain(part.step, 30)
    outcome = part.outcome
    if outcome is None:
        return *about, "not in this ledger", "", "", "", "", "", part.call[:12]
    usage = outcome.reply.usage if outcome.reply else None
    return (
        *about,
        plain(outcome.reply.model if outcome.reply else "failed", 30),
        str(usage.prompt) if usage else "",
        str(usage.completion) if usage else "",
        "?" if outcome.usd is None else f"{outcome.usd:.6f}",
        f"{outcome.latency_s:.2f}",
        outcome.at[:19],
        part.call[:12],
    )


def _said(part: Part, console: Console) -> None:
    if part.outcome is None:
        return
    request: dict[str, Any] = orjson.loads(part.outcome.request)
    say(console, f"\n{plain(part.part)}  {plain(part.step)}  {part.call[:12]}", "bold")
    for message in request["messages"]:
        say(console, f"  {message['role']:10} {plain(message['content'], WIDTH)}")
    reply = part.outcome.reply
    say(console, f"  {'said':10} {plain(reply.text if reply else str(part.outcome.error), WIDTH)}")
