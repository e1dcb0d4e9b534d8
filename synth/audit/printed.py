"""What a person sees of an audit: plain tables, and sentences on how they were counted."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from synth.audit import llmbar as recorded
from synth.audit import pandalm as tested
from synth.audit.alignment import Calibration, align
from synth.audit.shares import Share

if TYPE_CHECKING:
    import pandas as pd

LLMBAR_COUNTED = """\
Accuracy: over both orders; an unread verdict is wrong and stays in the count; the interval is that of the
pairs. Same position: of all pairs, those of which both verdicts name one place; first: of these, those that
name the first. Differ: of the 2n verdicts, those that are not the winner that the file holds."""
PANDALM_COUNTED = """\
Ties in: of all pairs (set-up 1). Ties out: of those of which neither says tie (set-up 2). Tie-discounted:
half a point where one says tie. An unread verdict is no tie; it stays in the count and agrees with nobody.
Leave one out: with the mode of the people but one; where labels share the mode, each by its part."""


def llmbar(recordings: Sequence[recorded.Recording], ratings: Sequence[str]) -> str:
    """Every recorded judge, as we read it and as LLMBar's program does, and what was left out."""
    lines = [
        "read by us: the last verdict that is named",
        _text(_readings(recorded.table(recordings, "ours"))),
        f"unread: {_reasons(recordings)}",
        "\nread as LLMBar's program does: the verdict that its list has first, wherever it stands",
        _text(_readings(recorded.table(recordings, "theirs"))),
        f"\n{LLMBAR_COUNTED}",
    ]
    if ratings:
        lines.append(f"Left out: {len(ratings)} recordings of ratings, which hold no verdicts.")
    return "\n".join(lines)


def _reasons(recordings: Sequence[recorded.Recording]) -> str:
    whole = align([pair for recording in recordings for pair in recording.ours]).reasons
    return ", ".join(f"{reason} {count}" for reason, count in sorted(whole.items())) or "none"


def _readings(table: "pd.DataFrame") -> "pd.DataFrame":
    for column in ("subset", "judge", "prompt"):
        table[column] = table[column].map(_plain)
    for column in ("accuracy", "low", "high"):
        table[column] = table[column].map(_decimals)
    for column in ("same position", "first"):
        table[column] = table[column].map(_percent)
    table.insert(5, "95 %", table.pop("low") + " to " + table.pop("high"))
    return table


def pandalm(test_set: tested.TestSet) -> str:
    """People against people, and every recorded judge against them."""
    return "\n".join([*_people(test_set), *_judges(test_set), "", PANDALM_COUNTED])


def _people(test_set: tested.TestSet) -> Iterator[str]:
    import pandas as pd

    together = tested.overall(test_set)
    counts = ", ".join(f"{label} {count}" for label, count in together["majority"].items())
    yield f"{len(test_set.pairs)} pairs, {test_set.odd} answers are no text in the file and are read as one\n"
    table = tested.people(test_set)
    table["agreement"] = table["agreement"].map(lambda share: _decimals(share, 4))
    table["kappa"] = table["kappa"].map(_decimals)
    yield _text(table)
    yield f"\nFleiss' kappa {_decimals(together['fleiss_kappa'])}; the majority says {counts}"
    yield _text(
        pd.DataFrame(
            {
                "people": ["leave one out", "prefer the longer answer"],
                "share": map(_share, (together["leave_one_out"], together["longer"])),
            }
        )
    )


def _judges(test_set: tested.TestSet) -> Iterator[str]:
    import pandas as pd

    measured = {name: tested.judge(pairs, test_set.votes) for name, pairs in test_set.judges.items()}
    if measured:
        yield "\nrecorded judges against the majority"
        yield _text(pd.DataFrame([_judge(name, found) for name, found in measured.items()]).T, header=False)


def _judge(name: str, found: tested.Judge) -> dict[str, str]:
    aligned = found.aligned
    return {
        "judge": _plain(name),
        "ties in": _share(aligned.ties_in),
        "ties out": _share(aligned.ties_out),
        "tie-discounted": _share(aligned.tie_discounted),
        "leave one out": _share(found.with_people),
        "kappa": _decimals(found.kappa),
        "unread": _share(aligned.unreadable),
        "prefers the longer answer": _share(aligned.longer[0]),
    }


def calibrated(found: Calibration) -> str:
    """A line a bin that has labels, and the error."""
    import pandas as pd

    lines = [
        {
            "labels of": f"{one.low:.2f} to {one.high:.2f}",
            "mean": _decimals(one.mean),
            "right": _share(one.right),
        }
        for one in found.bins
        if one.right.whole
    ]
    left_out = f"{found.undecided} left out, of one half or of which people say tie"
    whole = f"expected calibration error {_decimals(found.error)}; {left_out}"
    return "\n".join([_text(pd.DataFrame(lines)), whole] if lines else [whole])


def _text(table: "pd.DataFrame", header: bool = True) -> str:
    text: str = table.to_string(index=not header, header=header)
    return text


def _share(share: Share) -> str:
    """``0.698 (0.668 to 0.725), 697 of 999``."""
    within = share.interval
    count = f"{share.part:g} of {share.whole}"
    return f"{_decimals(within.value)} ({_decimals(within.low)} to {_decimals(within.high)}), {count}"


def _decimals(number: float, places: int = 3) -> str:
    return "-" if isnan(number) else f"{number:.{places}f}"


def _percent(share: float) -> str:
    return "-" if isnan(share) else f"{100 * share:.0f} %"


def _plain(name: Any) -> str:
    """`name`, which a file or folder has, with nothing that a terminal obeys."""
    return "".join(character if character.isprintable() else "\ufffd" for character in str(name))
