"""LLMBar's recorded judges, read again from what they really answered.

Zeng et al. 2023, "Evaluating Large Language Models at Evaluating Instruction Following" (arXiv:2310.07641):
pairs with one objectively better answer, and the completions of several judges in both orders. Accuracy is
averaged over the orders; an unreadable verdict is wrong.

Differs in how a verdict is read: the last one that is named, for prompts that ask for an explanation first.
LLMBar's program takes what its list has first. Where it looks for the bare name of an output at the start of
a line, as it does with PaLM2's explanations, a line that begins to explain what is wrong with output (a) is
a verdict for (a). Both readings are made of the same completions, so that the published numbers come out too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from synth import said
from synth.audit import recordings
from synth.audit.alignment import align
from synth.audit.compared import Compared, Label, Verdict, turned
from synth.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

# In the order of LLMBar's list, on which its reading depends.
NAMES: Mapping[str, Label] = {"Output (a)": "first", "Output (b)": "second"}
DECISIONS: Mapping[str, Label] = {f"{name} is better": label for name, label in NAMES.items()}
ORDERS = ("swap = False", "swap = True")
LABELS: Mapping[Any, Label] = {1: "first", 2: "second", "1": "first", "2": "second"}
# Their settings for this judge look for a bare name where the prompt asks for a sentence.
BARE = ("PaLM2", "CoT")


class _Entry(BaseModel):
    output_1: str
    output_2: str
    label: Literal[1, 2]
    results: list[Any] = Field(min_length=1)


class _Said(BaseModel):
    completion: tuple[str, str]
    winner: Literal["1", "2"] | None


@dataclass(frozen=True, slots=True)
class Recording:
    """One judge with one prompt on one subset.

    Attributes:
        ours: what we read in its completions.
        theirs: what LLMBar's way of reading finds in the same completions.
        recorded: the winners in the file, as LLMBar's program read them when it ran.
    """

    subset: str
    judge: str
    prompt: str
    ours: tuple[Compared, ...]
    theirs: tuple[Compared, ...]
    recorded: tuple[Compared, ...]


def read(folder: Path) -> tuple[list[Recording], list[str]]:
    """All recordings under `folder`, and the names of those that hold no verdicts, but ratings.

    Raises:
        UserError: there are none, or a file is not as LLMBar's are.
    """
    files = sorted(folder.glob("**/evaluators/*/*/result.json"))
    if not files:
        raise UserError(f"{folder}: expected recordings as in SUBSET/evaluators/JUDGE/PROMPT/result.json")
    recorded, ratings = [], []
    for file in files:
        entries = recordings.read(file, _Entry)
        if all(_is_rating(entry) for entry in entries):
            ratings.append(file.parent.relative_to(folder).as_posix())
        else:
            recorded.append(_recording(folder, file, entries))
    return recorded, ratings


def _is_rating(entry: _Entry) -> bool:
    last = entry.results[-1]
    return isinstance(last, dict) and "score_1" in last


def _recording(folder: Path, file: Path, entries: Any) -> Recording:
    prompt, judge, subset = file.parent.name, file.parents[1].name, file.parents[3]
    kinds: tuple[list[Compared], ...] = ([], [], [])
    for number, entry in enumerate(entries):
        explained = prompt.endswith("CoT") or (prompt == "Swap" and len(entry.results) == 1)
        spellings = DECISIONS if explained else NAMES
        listed = NAMES if (judge, prompt) == BARE else spellings
        in_both = [
            _readings(_said(file, number, entry, order), order == ORDERS[1], spellings, listed)
            for order in ORDERS
        ]
        for kind, verdicts in zip(kinds, zip(*in_both, strict=True), strict=True):
            texts = entry.output_1, entry.output_2
            kind.append(Compared(verdicts, LABELS[entry.label], texts, judge=judge))
    ours, theirs, recorded = map(tuple, kinds)
    name = subset.name if subset == folder else subset.relative_to(folder).as_posix()
    return Recording(name, judge, prompt, ours, theirs, recorded)


def _said(file: Path, number: int, entry: _Entry, order: str) -> _Said:
    try:
        return _Said.model_validate(entry.results[-1][order])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file}: [{number}].results[-1]: expected {order!r} with a completion and a winner"
        ) from error


def _readings(
    entry: _Said, swapped: bool, spellings: Mapping[str, Label], listed: Mapping[str, Label]
) -> Iterator[Verdict]:
    """The three readings of one completion: ours, theirs, and what was recorded."""
    text = entry.completion[0]
    position, unreadable = said.verdict(text, spellings, alone=spellings is NAMES)
    yield Verdict(position, swapped, unreadable)
    yield Verdict(said.first_listed(text.strip(), listed, at_line_start=listed is NAMES), swapped)
    winner = LABELS[entry.winner] if entry.winner else None
    yield Verdict(turned(winner) if swapped else winner, swapped)


def differences(one: Sequence[Compared], other: Sequence[Compared]) -> int:
    """Verdicts that two readings of the same completions disagree about."""
    return sum(
        a != b
        for left, right in zip(one, other, strict=True)
        for a, b in zip(left.choices, right.choices, strict=True)
    )


def table(recorded: Sequence[Recording], reading: Literal["ours", "theirs"]) -> "pd.DataFrame":
    """A line a recording, read one way or the other; accuracies and shares in [0, 1].

    ``first`` is the share of the same-position pairs that name the first place; ``differ`` how many of the 2n
    verdicts are not those in the file.
    """
    import pandas as pd

    return pd.DataFrame([_line(recording, getattr(recording, reading)) for recording in recorded])


def _line(recording: Recording, pairs: Sequence[Compared]) -> dict[str, Any]:
    found = align(pairs)
    accuracy = found.accuracy.interval
    return {
        "subset": recording.subset,
        "judge": recording.judge,
        "prompt": recording.prompt,
        "n": found.pairs,
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "same position": found.positions.same.value,
        "first": found.positions.first.value,
        "unread": int(found.unreadable.part),
        "differ": differences(pairs, recording.recorded),
    }
