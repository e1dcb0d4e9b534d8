"""What a person sees of a ledger: counts, one record, what is wrong with it, what was saved of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from synth.models.ledger import Outcome
from synth.models.ledger_file import beside
from synth.records.counts import Asked, Count, Counts
from synth.records.salvage import Salvaged
from synth.terminal import lines, plain, say, tell

COLUMNS = ("model", "endpoint", "kind", "replies", "failed", "tokens in", "out", "USD", "first", "last")
TEXT_COLUMNS = ("model", "endpoint", "kind", "first", "last")
# Said in lines of their own, or of no interest where they are not set.
SPECIAL = {"messages", "target", "schema", "endpoint", "model", "kind"}


def counted(counts: Counts, path: Path, console: Console) -> None:
    """The table of calls by model, endpoint and kind, and their sum."""
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right", overflow="fold")
    for asked, count in sorted(counts.asked.items()):
        table.add_row(*_cells(asked, count))
    if counts.asked:
        console.print(table)
    all_ = counts.asked.values()
    replies, failed = sum(count.replies for count in all_), sum(count.failed for count in all_)
    size = sum(
        beside(path, suffix).stat().st_size for suffix in ("", "-wal") if beside(path, suffix).exists()
    )
    aside = f", {counts.set_aside:,} failures set aside" if counts.set_aside else ""
    usd = sum(count.usd for count in all_)
    say(
        console, f"{replies:,} replies, {failed:,} failures{aside}; ${usd:.2f}; {size / 1e6:.1f} MB in {path}"
    )
    if any(count.unpriced for count in all_):
        tell(console, f"+ {sum(count.unpriced for count in all_):,} replies have no known price.")
    if counts.unreadable:
        tell(console, f"{counts.unreadable:,} records say nothing: see python -m synth ledger verify")


def _cells(asked: Asked, count: Count) -> list[Text]:
    usd = f"{count.usd:.4f}" + (" +" if count.unpriced else "")
    cells = (
        *(plain(text, width) for text, width in zip(asked, (40, 40, 12), strict=True)),
        f"{count.replies:,}",
        f"{count.failed:,}",
        f"{count.prompt:,}",
        f"{count.completion:,}",
        usd,
        plain(count.first[:10]),
        plain(count.last[:10]),
    )
    return [Text(cell) for cell in cells]


def shown(outcome: Outcome, set_aside: Sequence[Outcome], console: Console, *, is_aside: bool) -> None:
    """One record, as a person reads it: what was asked, what came back, what it took."""
    request: dict[str, Any] = orjson.loads(outcome.request)
    _field(console, "key", outcome.key)
    for name in ("kind", "model", "endpoint"):
        _field(console, name, request.get(name, ""))
    settings = {
        name: value for name, value in sorted(request.items()) if name not in SPECIAL and _said(value)
    }
    _field(console, "settings", ", ".join(f"{name} {_as_text(value)}" for name, value in settings.items()))
    for message in request.get("messages", ()):
        _block(console, str(message.get("role", "")), str(message.get("content", "")))
    for name in ("target", "schema"):
        if request.get(name):
            _block(console, name, str(request[name]))
    _result(outcome, console)
    say(console)
    _field(console, "recorded", outcome.at + (", and set aside since: it is asked again" if is_aside else ""))
    _field(console, "took", f"{outcome.latency_s:.3f} s, waits included")
    _field(console, "cost", "unknown" if outcome.usd is None else f"${outcome.usd:.6f}")
    _field(console, "attempts", str(len(outcome.attempts) + 1))
    for number, cause in enumerate(outcome.attempts, 1):
        say(console, f"  {number}  {plain(cause)}")
    for earlier in set_aside:
        say(console, f"set aside  {plain(earlier.at)}  {plain(str(earlier.error))}")


def _result(outcome: Outcome, console: Console) -> None:
    if outcome.reply is None:
        error = outcome.error
        _block(console, f"failed: {type(error).__name__}", str(error))
        _field(console, "hint", getattr(error, "hint", ""))
        return
    reply = outcome.reply
    _block(console, "reply", reply.text)
    if reply.tokens:
        total = sum(token.logprob for token in reply.tokens)
        _field(console, "logprobs", f"{len(reply.tokens)} tokens, {total:.4f} in all")
    say(console)
    _field(console, "finish", reply.finish)
    _field(console, "answered by", reply.model)
    _field(console, "response id", reply.response_id)
    usage = reply.usage
    cached = f" ({usage.cached:,} from a cache)" if usage.cached else ""
    _field(console, "tokens", f"{usage.prompt:,} in{cached}, {usage.completion:,} out")


def _field(console: Console, name: str, value: object) -> None:
    if _said(value):
        say(console, f"{name:<12} {plain(str(value))}")


def _block(console: Console, name: str, text: str) -> None:
    say(console, f"\n── {plain(name)}", style="bold")
    for line in lines(text):
        say(console, line)


def _said(value: object) -> bool:
    return value not in (None, "", [], ()) and value is not False


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def salvaged(found: Salvaged, path: Path, console: Console) -> None:
    """What was saved, what was lost, and where the damaged ledger is."""
    aside = f"{found.set_aside:,} failures set aside"
    say(console, f"saved {found.replies:,} replies, {found.failures:,} failures, {aside}")
    if found.lost:
        say(console, f"lost {found.lost:,} records that are there in pieces")
    if found.pages:
        held = f"about {found.about:,} if they were like the others"
        say(console, f"lost the records on {found.pages:,} pages of which nothing reads, {held}")
    if found.newest:
        say(console, f"lost the newest record, {plain(found.newest)}, and maybe others that are as new")
    if not (found.lost or found.pages or found.newest):
        say(console, "no trace of a record that was lost")
    say(console, f"the damaged ledger is kept: {found.aside}")
    tell(console, f"{path} holds what was saved. A run buys again what it needs and what was lost.")
