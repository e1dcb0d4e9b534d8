"""PandaLM's pairs, judged by three people each, and the model judges recorded beside them.

Wang et al. 2023, "PandaLM" (arXiv:2306.05087), ``testset-v1.json``. The recorded judges hold what their
program read (``1``, ``2``, ``Tie`` or ``garbage``), not what the model wrote: garbage is unreadable here, not
a tie. What most people say is the label, and a tie where all three differ. A few answers are JSON's ``true``
where a text is meant; they are read as their text, and counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, StrictInt

from synth import said
from synth.audit import agreement, recordings
from synth.audit.alignment import Alignment, align
from synth.audit.bias import by_people, prefers_longer
from synth.audit.compared import Compared, Label, Verdict
from synth.audit.shares import Share
from synth.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

PEOPLE: Mapping[int, Label] = {1: "first", 2: "second", 0: "tie"}
VERDICTS: Mapping[str, Label] = {"1": "first", "2": "second", "Tie": "tie"}
TEST_SET = "testset-v1.json"


class _Pair(BaseModel):
    idx: int
    response1: Any
    response2: Any
    annotator1: StrictInt
    annotator2: StrictInt
    annotator3: StrictInt


class _Judged(BaseModel):
    idx: int
    gpt_result: str


@dataclass(frozen=True, slots=True)
class TestSet:
    """The pairs, what three people say of each, and what recorded judges do.

    Attributes:
        votes: of the people, in their own order.
        odd: answers that were no text in the file.
        judges: the pairs with the verdict of each recorded judge, by its file's name.
    """

    __test__ = False  # its name is no test's

    pairs: tuple[Compared, ...]
    votes: tuple[tuple[Label, ...], ...]
    odd: int
    judges: Mapping[str, tuple[Compared, ...]]


def read(folder: Path) -> TestSet:
    """The test set in `folder`, and every judge recorded beside it.

    Raises:
        UserError: a file is missing, or not as PandaLM's are.
    """
    test_set = folder / TEST_SET
    entries = recordings.read(test_set, _Pair)
    votes = tuple(_votes(test_set, entry) for entry in entries)
    texts = [(_text(entry.response1), _text(entry.response2)) for entry in entries]
    pairs = tuple(
        Compared((), agreement.majority(those), texts=both) for those, both in zip(votes, texts, strict=True)
    )
    answers = [answer for entry in entries for answer in (entry.response1, entry.response2)]
    by_idx = {entry.idx: pair for entry, pair in zip(entries, pairs, strict=True)}
    files = sorted(file for file in folder.glob(f"*-{TEST_SET}"))
    judges = {file.name.removesuffix(f"-{TEST_SET}"): _judge(file, by_idx) for file in files}
    return TestSet(pairs, votes, sum(not isinstance(answer, str) for answer in answers), judges)


def _votes(file: Path, entry: _Pair) -> tuple[Label, ...]:
    votes = entry.annotator1, entry.annotator2, entry.annotator3
    if not set(votes) <= set(PEOPLE):
        raise UserError(f"{file}: idx {entry.idx}: expected annotators that say 0, 1 or 2, found {votes}")
    return tuple(PEOPLE[vote] for vote in votes)


def _text(answer: Any) -> str:
    return answer if isinstance(answer, str) else "" if answer is None else str(answer)


def _judge(file: Path, pairs: Mapping[int, Compared]) -> tuple[Compared, ...]:
    judged = recordings.read(file, _Judged)
    if sorted(entry.idx for entry in judged) != sorted(pairs):
        raise UserError(f"{file}: expected one verdict for each pair of {TEST_SET}")
    return tuple(_with(pairs[entry.idx], entry.gpt_result) for entry in judged)


def _with(pair: Compared, result: str) -> Compared:
    position, unreadable = said.verdict(result, VERDICTS, alone=True)
    return Compared((Verdict(position, unreadable=unreadable),), pair.people, pair.texts)


def people(test_set: TestSet) -> "pd.DataFrame":
    """A line for every two people: how often they agree, and Cohen's kappa."""
    import pandas as pd

    columns = list(zip(*test_set.votes, strict=True))
    lines = [
        {
            "people": f"{one + 1} and {other + 1}",
            "agreement": agreement.agreement(columns[one], columns[other]).value,
            "kappa": agreement.cohen_kappa(columns[one], columns[other]),
        }
        for one, other in combinations(range(len(columns)), 2)
    ]
    return pd.DataFrame(lines)


def overall(test_set: TestSet) -> dict[str, Any]:
    """What the people come to together."""
    labels = [pair.people for pair in test_set.pairs]
    return {
        "majority": {label: labels.count(label) for label in ("first", "second", "tie")},
        "fleiss_kappa": agreement.fleiss_kappa(test_set.votes),
        "leave_one_out": agreement.leave_one_out(test_set.votes),
        "longer": prefers_longer(by_people(test_set.pairs)),
    }


@dataclass(frozen=True, slots=True)
class Judge:
    """How a recorded judge agrees with the people.

    Attributes:
        aligned: with what most of them say.
        with_people: with most of them, leaving out one in turn: to be read beside their own leave-one-out.
        kappa: with what most say; an unreadable verdict is a label of its own.
    """

    aligned: Alignment
    with_people: Share
    kappa: float


def judge(pairs: Sequence[Compared], votes: Sequence[Sequence[Label]]) -> Judge:
    """Measure one recorded judge."""
    decisions = [pair.decision for pair in pairs]
    return Judge(
        align(pairs),
        agreement.with_people(decisions, votes),
        agreement.cohen_kappa(decisions, [pair.people for pair in pairs]),
    )
