"""What a person sees: how a run goes on, and what it came to.

All text that a model or a file may have written goes through `synth.terminal.plain`: control and direction
characters are shown as marks and never reach the terminal.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from synth import assets, estimate, tables
from synth.audit.contamination import contamination
from synth.estimate import Forecast
from synth.models.client import totals
from synth.models.spending import Amount
from synth.pipeline import Pipeline
from synth.run import MAKING, Finished, Watch
from synth.store.told import told
from synth.store.version import Version
from synth.terminal import plain, say, tell
from synth.train.held_out import HeldOut

PLAIN_EVERY_S = 15.0
SAMPLES = 5


class Progress:
    """Shows a `Watch` while it changes: a table on a terminal, plain lines elsewhere."""

    def __init__(self, watch: Watch, pipeline: Pipeline, limit: int | None, console: Console) -> None:
        self._watch, self._console = watch, console
        self._calls = estimate.calls(pipeline, limit)
        self._began = time.monotonic()
        self._shown_first = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for as long as the block runs."""
        if self._console.is_terminal:
            with Live(
                get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True
            ):
                yield
            return
        over = threading.Event()
        lines = threading.Thread(target=self._lines, args=(over,), daemon=True)
        lines.start()
        try:
            yield
        finally:
            over.set()
            lines.join()

    def _lines(self, over: threading.Event) -> None:
        last = ""
        due = 0.0
        while not over.wait(0.2):
            self._first_row()
            line = self._line()
            if time.monotonic() >= due and line != last:
                say(self._console, f"{time.monotonic() - self._began:6.1f} s  {line}")
                last, due = line, time.monotonic() + PLAIN_EVERY_S

    def _first_row(self) -> None:
        latest = self._watch.latest
        if latest and not self._shown_first:
            self._shown_first = True
            seconds = time.monotonic() - self._began
            say(self._console, f"{seconds:6.1f} s  first row: {plain(latest.prompt[-1].content, 120)}")

    def _line(self) -> str:
        """All on one line."""
        watch = self._watch
        if watch.of:
            return f"{watch.phase}: step {watch.done} of {watch.of}"
        if watch.phase != MAKING:
            return watch.phase
        rows = ", ".join(f"{step} {account.rows}" for step, account in list(watch.accounts.items()))
        return f"{watch.phase}: {rows}; {self._spent()}"

    def _spent(self) -> str:
        whole = totals(dict(self._watch.tallies))
        seconds = max(time.monotonic() - self._began, 0.001)
        rate = whole.bought / seconds
        left = (self._calls - whole.bought - whole.found) / rate if rate else 0.0
        tokens = whole.prompt_tokens + whole.completion_tokens
        cost = f"${whole.usd:.4f}" + ("+?" if whole.unpriced else "")
        time_left = f", about {max(left, 0):.0f} s left" if rate and self._watch.phase == MAKING else ""
        return (
            f"{whole.bought} calls bought, {whole.found} found, {tokens:,} tokens, {cost}, "
            f"{rate:.1f} calls/s{time_left}"
        )

    def _table(self) -> Group:
        watch = self._watch
        table = Table(box=None, pad_edge=False, show_header=bool(watch.accounts))
        for name in ("step", "rows", "out", "filtered", "failed"):
            table.add_column(name, justify="left" if name == "step" else "right")
        for step, account in list(watch.accounts.items()):
            counts = (account.rows, account.out, account.filtered.total(), account.failed.total())
            table.add_row(step, *map(str, counts))
        latest = watch.latest
        parts: list[RenderableType] = [
            Text(self._line() if watch.of else f"{watch.phase}: {self._spent()}"),
            table,
        ]
        if latest:
            parts.append(Text(f"latest: {plain(latest.prompt[-1].content, 100)}", style="dim"))
        return Group(*parts)


def dataset(version: Version, watch: Watch, console: Console) -> None:
    """What is in a version, why rows are missing from it, and how far its judges agree."""
    accounts(version.manifest, console)
    samples(version, console)
    judges(version.manifest, console)
    failures(watch, console)
    found = "new" if version.is_new else "was there already"
    say(console, f"\ndataset  {_beside(version.path)}  ({found}; id {version.id[:12]})", "bold")


def report(finished: Finished, watch: Watch, pipeline: Pipeline, console: Console) -> None:
    """What a run came to, for a person."""
    dataset(finished.version, watch, console)
    held_out(finished.held_out, console)
    contaminated(finished.version, pipeline, console)
    cautions = {provider.caution for provider in pipeline.providers.values() if provider.caution}
    for caution in sorted(cautions):
        tell(console, f"\n{caution}")
    where(finished, console)
    whole = totals(watch.tallies)
    say(
        console,
        f"\ncalls: {whole.found} found in the ledger, {whole.bought} bought"
        + (f"; {whole.failed} of them failed" if whole.failed else ""),
    )
    again(finished, pipeline, console)


def accounts(manifest: Mapping[str, Any], console: Console) -> None:
    """What became of every row, by step."""
    table = Table(title="what became of every row", title_justify="left", box=None, pad_edge=False)
    for name in ("step", "rows", "went on as", "filtered", "failed"):
        table.add_column(name, justify="right" if name in ("rows", "went on as") else "left")
    for step in manifest["steps"]:
        rows = f"{step['rows']} made" if step["made"] else str(step["rows"])
        note = f"  ({step['note']})" if step["note"] else ""
        reasons = [_reasons(step[fate]) for fate in ("filtered", "failed")]
        table.add_row(step["id"], rows, str(step["out"]), reasons[0] + note, reasons[1])
    for name, view in manifest["views"].items():
        held = ", ".join(f"{split} {rows}" for split, rows in view["rows"].items())
        table.add_row(f"view {name}", "", held, _reasons(view["left_out"]), "")
    console.print(table)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"


def samples(version: Version, console: Console) -> None:
    """A few rows of a view, each of another prompt: pairs if there are some, else answers, else prompts."""
    view = next(
        (name for name in ("preference", "sft", "instructions") if name in version.manifest["views"]), ""
    )
    rows: dict[str, dict[str, Any]] = {}
    for row in version.rows(view):
        rows.setdefault(row["id"].split(":")[0], row)
        if len(rows) == SAMPLES:
            break
    say(console, f"\n{len(rows)} rows of the view {view}", "bold")
    for row in rows.values():
        for column in ("prompt", "completion", "chosen", "rejected"):
            if row.get(column):
                say(console, f"  {column:10} {plain(row[column][-1]['content'], console.width - 14)}")
        say(console)


def _telling(version: Version) -> str | None:
    """The view that tells a reader most, of those that have rows to train on."""
    views = [name for name, view in version.manifest["views"].items() if view["rows"].get("train")]
    return next(
        (name for name in ("preference", "sft", "instructions") if name in views), next(iter(views), None)
    )


def judges(manifest: Mapping[str, Any], console: Console) -> None:
    """What each judge did, and how often it agreed with itself."""
    if manifest["judges"]:
        say(console, "judges, over the rows of this version", "bold")
    for step, judge in manifest["judges"].items():
        tell(console, f"  {step}: {told(judge)}")


def failures(watch: Watch, console: Console) -> None:
    """The first few different failures, with what can be done about them."""
    failed = watch.journal.failures if watch.journal else {}
    if failed:
        say(console, "\nwhy rows failed (the version keeps them all, in .synth/dropped.parquet)", "bold")
    for reason, step in failed.items():
        tell(console, f"  {step}: {plain(reason)}")


def held_out(measured: tuple[HeldOut, ...], console: Console) -> None:
    """Before and after, on pairs kept apart from all training."""
    if not measured:
        return
    say(console, f"\nheld-out pairs, {len(measured[0].scores)} of them (95 % intervals)", "bold")
    table = Table(box=None, pad_edge=False)
    for name in ("  model", "better answer wins", "margin", "change of margin since the base"):
        table.add_column(name)
    for model in measured:
        unit = "reward" if model.reward else "nats a token"
        change = "" if model.change is None else _interval(model.change, "+.3f")
        table.add_row(
            f"  {model.model}",
            _interval(model.accuracy, ".3f"),
            f"{_interval(model.margin, '.3f')} {unit}",
            change,
        )
    console.print(table)


def contaminated(version: Version, pipeline: Pipeline, console: Console) -> None:
    """How many of the prompts that were trained on hold most of a prompt that models are measured on."""
    if not pipeline.evaluate:
        return
    pairs = assets.find("seeds", pipeline.evaluate.pairs, pipeline.folder)
    found = contamination(version, [training.view for training in pipeline.train], pairs)
    said = f"{found.found} of {found.prompts} training prompts hold most of one of {found.held_out} held-out"
    remedy = f"; leave them out with `decontaminate: {{held_out: {pipeline.evaluate.pairs}}}`"
    tell(console, f"\ncontamination: {said} prompts{remedy if found.found else ''}")


def _interval(interval: Any, form: str) -> str:
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def where(finished: Finished, console: Console) -> None:
    """Where the models and the page are."""
    if finished.trained:
        say(console)
    for name, model in finished.trained.items():
        found = "was there already" if model.reused else "new"
        say(console, f"model    {_beside(model.path)}  ({name}, {found})", "bold")
    if finished.published:
        done = "one commit" if finished.published.uploaded else "was there already"
        say(console, f"page     {finished.published.url}  (tag {finished.published.tag}, {done})", "bold")


def again(finished: Finished, pipeline: Pipeline, console: Console) -> None:
    """What to try next."""
    name = f"{pipeline.name}/{finished.version.name}"
    say(console, "\nnext", "bold")
    constitutions = [path for path in pipeline.assets if path.suffix in (".md", ".txt", ".json")]
    if constitutions:
        say(
            console,
            f"  edit {_beside(constitutions[0])} and run again: only what a principle touched is bought",
        )
    say(console, f"  python -m synth show {name}")
    load = f"load_dataset('{_beside(finished.version.path)}', '{_telling(finished.version)}')"
    say(console, f'  python -c "from datasets import load_dataset; print({load})"')
    say(console, f"  python -m synth publish {name} --to ORG/NAME --dry-run")


def _beside(path: Path) -> str:
    """`path` as seen from here, where it lies below."""
    here = Path.cwd().resolve()
    full = path.resolve()
    return str(full.relative_to(here)) if full.is_relative_to(here) else str(path)


PLANNED = (
    *("rows, about", "calls, about", "in the ledger", "to buy, about"),
    *("tokens to send", "tokens to get", "USD"),
)


def planned(pipeline: Pipeline, watch: Watch, limit: int | None, console: Console) -> None:
    """What a run would find and what it would buy."""
    table = Table(box=None, pad_edge=False)
    for name in ("step", "model", *PLANNED):
        table.add_column(name, justify="left" if name in ("step", "model") else "right")
    forecasts = estimate.forecast(pipeline, watch, limit)
    for each in forecasts:
        counts = (f"{each.rows:.0f}", f"{each.calls:.0f}", str(each.found), f"{each.to_buy:.0f}")
        table.add_row(each.step, each.model, *counts, *_worth(each))
    console.print(table)
    to_buy = sum(each.to_buy for each in forecasts)
    usd = [each.usd for each in forecasts]
    cost = "not known" if None in usd else _from_to(*(sum(one[n] for one in usd if one) for n in (0, 1)))
    say(console, f"\nto buy: about {to_buy:.0f} calls; USD: {cost}. Nothing was bought to say so.")


def _worth(each: Forecast) -> tuple[str, str, str]:
    """Tokens and US dollars of what is to be bought."""
    if each.prompt is None:
        return "?", "?", "?"
    usd = "?" if each.usd is None else _from_to(*each.usd)
    return f"{each.prompt:,.0f}", f"{each.least:,.0f} to {each.most:,.0f}", usd


def _from_to(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"


def budget(pipeline: Pipeline, used: Amount, console: Console) -> None:
    """How much of the budget of `pipeline` is used."""
    caps = pipeline.budget.model_dump(exclude_none=True) if pipeline.budget else {}
    said = ", ".join(f"{getattr(used, unit):,.6g} of {cap:,.6g} {unit}" for unit, cap in caps.items())
    if said:
        say(console, f"of the budget are used, by all runs of {pipeline.name} together: {said}")


def shown(version: Version, console: Console) -> None:
    """A version: what is in it, how it came about, a few rows, how far its judges agree, its statistics."""
    about = {
        key: version.manifest[key] for key in ("name", "version", "id", "parent", "license", "rows", "synth")
    }
    say(console, json.dumps(about, indent=2))
    accounts(version.manifest, console)
    samples(version, console)
    judges(version.manifest, console)
    tables.statistics(version, console)
