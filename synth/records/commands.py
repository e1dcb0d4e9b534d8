"""`synth ledger`: one short function a verb. Only typer is imported here; a verb imports what it needs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synth.errors import Problem, StorageError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from synth.models.ledger import Columns
    from synth.project import Project

SHOWN = 20

ledger = typer.Typer(no_args_is_help=True, help="The record of all calls: seen, verified, moved, saved.")

Date = Annotated[str, typer.Option(metavar="DATE", help="such as 2026-11-25, or a time; UTC")]


@ledger.command()
def ls(
    model: Annotated[str, typer.Option(help="only calls of this model")] = "",
    failed: Annotated[bool, typer.Option("--failed", help="only failures")] = False,
    since: Date = "",
) -> None:
    """Count what is recorded, by model, endpoint and kind of call."""
    from synth.records import shown
    from synth.records.counts import counted
    from synth.records.record import moment

    path = _project().ledger
    with _reading(path) as db:
        counts = counted(db, model=model, failed=failed, since=moment(since, "--since") if since else "")
    shown.counted(counts, path, _console())


@ledger.command()
def show(key: Annotated[str, typer.Argument(metavar="KEY", help="a call's key, or how it begins")]) -> None:
    """Show a call: what was asked, what came back, what it took."""
    from synth.models.ledger import Unreadable
    from synth.models.ledger_file import damaged
    from synth.records import shown
    from synth.records.record import find, set_aside

    path = _project().ledger
    with _reading(path) as db:
        try:
            outcome, aside = find(db, key), list(set_aside(db, key))
        except Unreadable as error:
            raise damaged(path, str(error)) from error
    if outcome:
        earlier = [each for each in aside if each.key == outcome.key]
        shown.shown(outcome, earlier, _console(), is_aside=False)
    elif aside:
        shown.shown(aside[-1], aside[:-1], _console(), is_aside=True)
    else:
        raise UserError(f"no call's key begins with {key!r}")


@ledger.command()
def verify() -> None:
    """Look at every page and every record, and name each that is not sound. Changes nothing."""
    from synth.records.verify import broken_pages, flaws
    from synth.terminal import plain, say

    path, console = _project().ledger, _console()
    pages = records = bad = 0
    with _reading(path) as db:
        for said in broken_pages(db):
            pages += 1
            say(console, f"page     {plain(said)}")
        for found in flaws(db):
            records += 1
            if found:
                bad += 1
                say(console, f"record   {plain(found)}")
    if pages or bad:
        raise _unsound(path, f"{bad:,} of {records:,} records are not sound, and {pages} pages are broken")
    say(console, f"{records:,} records, all sound: {path}")


def _unsound(path: Path, what: str) -> StorageError:
    from synth.models.ledger_file import SALVAGE

    return StorageError(f"{path}: {what}. To keep it aside and go on with what is sound: {SALVAGE}")


@ledger.command()
def prune(
    failed: Annotated[bool, typer.Option("--failed", help="also failures that a run still goes by")] = False,
    before: Date = "",
    yes: Annotated[bool, typer.Option("--yes", help="drop them")] = False,
) -> None:
    """Drop failures that `retry` has set aside. Replies are never dropped: they were paid for."""
    from synth.records import prune as pruning
    from synth.records.record import moment
    from synth.terminal import say

    path, console = _project().ledger, _console()
    until = moment(before, "--before") if before else ""
    with _reading(path, writing=True) as db:
        found = pruning.prunable(db, failed=failed, before=until)
        say(console, f"{found.set_aside:,} failures set aside, {found.failures:,} others to drop")
        if not yes:
            say(console, "nothing is dropped yet; to drop them, say --yes")
            return
        found = pruning.prune(db, path, failed=failed, before=until)
    say(console, f"dropped {found.set_aside + found.failures:,}; later records use their place")


@ledger.command()
def export(file: Annotated[Path, typer.Argument(metavar="FILE", help="a new file of JSON Lines")]) -> None:
    """Write every record into FILE, a line each, in the order of keys."""
    from synth.records.transfer import export as write
    from synth.terminal import say

    path = _project().ledger
    with _reading(path) as db:
        rows, flawed = write(db, file)
    say(_console(), f"{file}: {rows:,} records")
    if flawed:
        raise _unsound(path, f"{flawed:,} records are not sound, and not in {file}")


@ledger.command("import")
def import_(file: Annotated[Path, typer.Argument(metavar="FILE", help="a ledger, or an export")]) -> None:
    """Add another ledger's records. What is here stays; a record that does not fit its key is refused."""
    from synth.models.ledger_file import prepare
    from synth.records.transfer import Merged, merge, records
    from synth.terminal import say

    path, merged, refused = _project().ledger, Merged(), _Refused()
    rows = refused.left_out(records(file))
    prepare(path)
    with _reading(path, writing=True) as db:
        merge(db, rows, merged)
    conflicts = f"{merged.conflicting:,} conflicting (what was here stays)"
    say(_console(), f"{merged.new:,} new, {merged.known:,} known, {conflicts}, {refused.count:,} refused")
    if refused.count:
        raise UserError(refused.first)


class _Refused:
    """Counts the records that cannot be taken, and keeps the first few."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Problem] = []

    def left_out(self, records: "Iterator[Columns | Problem]") -> "Iterator[Columns]":
        """All others."""
        for record in records:
            if not isinstance(record, Problem):
                yield record
                continue
            self.count += 1
            if len(self.first) < SHOWN:
                self.first.append(record)


@ledger.command()
def salvage() -> None:
    """Put a new ledger with all that still reads in the place of a damaged one, which is kept aside."""
    from synth.records import salvage as saving
    from synth.records import shown
    from synth.terminal import say

    project, console = _project(), _console()
    with _quiet(project):
        if saving.is_sound(project.ledger):
            say(console, f"{project.ledger} is sound; there is nothing to save")
            return
        shown.salvaged(saving.salvage(project.ledger), project.ledger, console)


@contextmanager
def _quiet(project: "Project") -> Iterator[None]:
    """See to it that no run goes on here: it would write into the file that is moved aside."""
    with ExitStack() as locks:
        for lock in sorted(project.scratch("").glob("*.lock")):
            locks.enter_context(project.lock(lock.stem))
        yield


def _reading(path: Path, *, writing: bool = False) -> Any:
    from synth.models.ledger_file import reading

    return reading(path, writing=writing)


def _project() -> "Project":
    from synth.project import Project

    return Project(Path.cwd())


def _console() -> "Console":
    from synth.terminal import console

    return console()
