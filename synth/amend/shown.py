"""What a person sees of a constitution that is checked, compared with another, or priced."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from synth.amend.check import Checked
from synth.amend.cost import Cost, StepCost
from synth.amend.diff import DRAWS, Diff
from synth.terminal import plain, say, tell


def checked(found: Checked, path: Path, console: Console) -> None:
    """How many principles there are, what they leave to the prompts, and every note."""
    count = len(found.constitution.principles)
    say(console, f"{path}: {count} principles: no mistake found")
    derived = ", ".join(f"{key} {number}" for key, number in found.derived.items() if number)
    if derived:
        tell(console, f"without a wording of their own, so that a method's prompt makes it: {derived}")
    for note in found.notes:
        say(console, f"note: {plain(str(note))}")
    if found.notes:
        tell(console, "Notes go by rules of thumb for English. They are for you to judge.")


def compared(found: Diff, console: Console) -> None:
    """What was added, removed and changed, and what became of the draws."""
    if found.is_same:
        say(console, "nothing changed that a run could notice")
        return
    for id_ in found.added:
        say(console, f"added    {plain(id_)}")
    for id_ in found.removed:
        say(console, f"removed  {plain(id_)}")
    for old, new in found.renamed.items():
        tell(console, f"  {old} became {new}: the same words, but draws go by the name, so they change")
    for id_, parts in found.changed.items():
        say(console, f"changed  {plain(id_)}: {', '.join(parts)}")
    _draws(found, console)


def _draws(found: Diff, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("principle", "drawn before", "after", "won", "lost"):
        table.add_column(name, justify="left" if name == "principle" else "right")
    for id_, draws in found.draws.items():
        if draws.won or draws.lost or id_ in found.changed:
            counts = (draws.before, draws.after, draws.won, draws.lost)
            table.add_row(Text(plain(id_)), *(f"{count / DRAWS:.1%}" for count in counts))
    say(console)
    console.print(table)
    tell(
        console,
        f"\nOf {DRAWS:,} draws {found.moved / DRAWS:.1%} fall on another principle than before, and "
        f"{found.reworded / DRAWS:.1%} on the same one in other words; the rest stay as they are.",
    )


def priced(found: Cost, console: Console) -> None:
    """What would be bought, step by step: what is exact, and what is estimated."""
    table = Table(box=None, pad_edge=False)
    for name in (
        "step",
        "model",
        "calls before",
        "found after",
        "sure to buy",
        "to buy, about",
        "cost, about",
    ):
        table.add_column(name, justify="left" if name in ("step", "model") else "right")
    for step in found.steps:
        marked = f"{step.step} *" if step.step in found.goes_by else step.step
        counts = (str(step.before), str(step.found), str(step.certain), f"{step.about:.0f}", _usd(step.usd))
        table.add_row(marked, ", ".join(step.models), *counts)
    console.print(table)
    say(console, "* goes by the constitution\n")
    for name, (rows, of) in found.touched.items():
        say(console, f"{name}: {rows} of the {of} rows that came there need a new call")
    tell(console, _sum(found.steps))
    if not found.was_complete:
        tell(
            console,
            "Before the edit, too, calls are missing in the ledger: run the pipeline first, to see what the "
            "edit alone would cost.",
        )


def _sum(steps: tuple[StepCost, ...]) -> str:
    known = [step.usd for step in steps if step.usd is not None]
    money = f"${sum(known):.2f}" + ("" if len(known) == len(steps) else " and what has no known price")
    return (
        f"{sum(step.certain for step in steps)} calls are sure to be bought, about "
        f"{sum(step.about for step in steps):.0f} in all, for about {money}. What is found, what is sure "
        "and the rows are exact; what those rows ask next is estimated, by what they asked before where that "
        "is known, and so is what it costs. No call was made to say so."
    )


def _usd(usd: float | None) -> str:
    return "unknown" if usd is None else f"${usd:.2f}"
