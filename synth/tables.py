"""The statistics of a version as a person reads them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from synth.store.counters import TENTHS
from synth.store.version import Version
from synth.terminal import plain, say, tell

BAR = 30
NAME = 40
MODES = ("strict", "loose")
ROUGHLY = (
    "Refusals are found by a list of English phrases: a rule of thumb, for comparing one line with another."
)
NO_TAGGER = "No root verbs: they take an English tagger, pip install 'synth-feedback[verbs]'."


def statistics(version: Version, console: Console) -> None:
    """Every section of the statistics of `version`; nothing if it has none."""
    known = version.statistics
    for name, show in _SECTIONS.items():
        if known.get(name):
            show(known[name], console)


def instructions(known: Mapping[str, Any], console: Console) -> None:
    """The table of the Self-Instruct paper, root verbs, similarity to seed tasks, and yield over time."""
    if not known["count"]:
        return
    lines = [("instructions", known["count"]), ("mean words", known["mean_words"])]
    lines += [(name, known[name]) for name in ("classification", "other") if name in known]
    if "seed_tasks" in known:
        lines.append(("seed tasks beside them", known["seed_tasks"]))
    for name, value in known.get("instances", {}).items():
        lines.append(("instances" if name == "count" else f"  {name.replace('_', ' ')}", value))
    _table("instructions", ("", ""), [(name, _number(value)) for name, value in lines], console)
    _verb_nouns(known["verb_nouns"], console)
    for step, grown in known["grown"].items():
        _grown(step, grown, console)


def _verb_nouns(known: Mapping[str, Any] | None, console: Console) -> None:
    if known is None:
        tell(console, NO_TAGGER)
    elif known["top"]:
        rows = [
            (plain(each["verb"], NAME), str(each["count"]), plain(_counted(each["nouns"])))
            for each in known["top"]
        ]
        _table("root verbs and their direct objects, by rule", ("verb", "", "commonest nouns"), rows, console)
        lost = known["counts_too_low_by_at_most"]
        tell(
            console,
            f"{known['with_both']} of {known.get('looked_at', 'the')} instructions have both; these cover "
            f"{known['covered']:.0%}." + (f" Counts may be too low by up to {lost}." if lost else ""),
        )


def _grown(step: str, grown: Mapping[str, Any], console: Console) -> None:
    bins, rates = grown["nearest_seed"], grown["admitted_per_request"]
    most = max(bins)
    rows = [
        (f"{number / TENTHS:.1f} to {(number + 1) / TENTHS:.1f}", str(count), "█" * round(BAR * count / most))
        for number, count in enumerate(bins)
    ]
    _table(f"{step}: ROUGE-L F with the nearest seed task", ("", "", ""), rows, console)
    rows = [
        (f"tenth {number}", _number(rate), "█" * round(BAR * (rate or 0) / max(filter(None, rates))))
        for number, rate in enumerate(rates, 1)
    ]
    title = f"{step}: instructions of this version a request, over {grown['requests']} requests"
    _table(title, ("", "", ""), rows, console)
    if grown["ended"]:
        tell(console, f"{step} ended early: {plain(grown['ended'])}.")


def answers(known: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Length, openings and refusals, round by round."""
    rows = [
        (
            f"{each['revised']} times",
            *(str(each[name]) for name in ("answers", "empty")),
            _number(each["mean_words"]),
            str(each["refusals"]),
            f"{each['over_refusals']} of {each['harmless_prompts']}" if each["harmless_prompts"] else "",
        )
        for each in known
    ]
    head = ("revised", "answers", "empty", "mean words", "refusals", "on harmless prompts")
    _table("answers", head, rows, console)
    tell(console, ROUGHLY)
    openings = [
        (f"{each['revised']} times", f"{opening['count']} of {each['long_enough']}", plain(opening["begins"]))
        for each in known
        for opening in each["openings"]
        if opening["count"] > 1
    ]
    if openings:
        _table("the same five words first", ("revised", "answers", "begin with"), openings, console)


def principles(known: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """What each principle's revisions came to."""
    rows = [
        (
            plain(name, NAME) or "none",
            str(each["drawn"]),
            str(each["changed"]),
            _number(each["mean_change"]),
            _number(each["mean_length_ratio"]),
            _counted(each["flags"]),
            _counted(each["verdicts"]),
            f"{each['refused_harmless']} of {each['harmless_prompts']}" if each["harmless_prompts"] else "",
        )
        for name, each in known.items()
    ]
    head = (
        "principle",
        "drawn",
        "changed",
        "by",
        "length ratio",
        "flags",
        "judges preferred",
        "over-refusals",
    )
    _table("principles, by their revisions", head, rows, console)


def judging(known: Mapping[str, Mapping[str, Mapping[str, Any]]], console: Console) -> None:
    """How often each judge was asked by each principle, and how far it agreed with itself."""
    names = ("judgments", "unreadable", "both_orders", "agreed", "same_position")
    rows = [
        (plain(step, NAME), plain(name, NAME), *(str(each[count]) for count in names))
        for step, by_name in known.items()
        for name, each in by_name.items()
    ]
    head = ("judge", "principle", "asked", "unreadable", "both orders", "same answer", "same position")
    _table("judges, by principle", head, rows, console)


def constraints(known: Mapping[str, Any], console: Console) -> None:
    """IFEval's four metrics, and those of every type."""
    levels = {level: known[level] for level in ("prompt", "instruction")} | known["by_type"]
    rows = [
        (plain(name, NAME), str(each["count"]), *(f"{each[f'{mode}_accuracy']:.3f}" for mode in MODES))
        for name, each in levels.items()
    ]
    _table("constraints followed, as shares", ("", "looked at", *MODES), rows, console)


_SECTIONS: dict[str, Callable[[Any, Console], None]] = {
    "instructions": instructions,
    "answers": answers,
    "principles": principles,
    "judging_principles": judging,
    "constraints": constraints,
}


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], console: Console) -> None:
    say(console, f"\n{title}", "bold")
    table = Table(box=None, pad_edge=False, show_header=any(head))
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(Text, row))  # no markup in it is read
    console.print(table)


def _number(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.2f}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
