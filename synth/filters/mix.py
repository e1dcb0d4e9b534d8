"""Mix: rows of several branches in a stated ratio, as many as the scarcest branch allows.

Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073): the supervised stage trains on revisions beside
samples of a helpful model, of 182,831 red-team prompts and 135,296 helpful ones (section 3.2); the preference
model on 135,296 comparisons of helpfulness by people beside 182,831 of harmlessness by a model (section 4.2).

Differs: the paper has its data ready and counts it; here the ratio is kept whatever came through. It is a
ratio of rows, which is one of prompts: how many lines a view makes of a row is the view's.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Annotated

from pydantic import Field

from synth.rows import Row, digest
from synth.spool import Spool
from synth.step import Bench, Whole, shown

Part = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Mix(Whole):
    """Keep rows of each branch in `from` so that their numbers stand as in `ratio`, to the nearest row.

    Needs: several branches. Gives: rows with the name of their branch among their facts; of each branch
    those with the lowest hash. Costs: nothing.
    """

    ratio: dict[str, Part] = Field(
        description="a part for each branch, by the id of its step, such as {helpful: 1, harmless: 1.35}"
    )

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Branches without a part, and parts without a branch."""
        if len(self.from_) < 2:
            yield "from", f"expected two or more branches to mix, found {', '.join(self.from_) or 'none'}"
        elif set(self.ratio) != set(self.from_):
            found = ", ".join(self.ratio) or "none"
            yield "ratio", f"expected a part for each of {', '.join(self.from_)}, found {found}"

    async def whole(self, rows: Spool, bench: Bench) -> AsyncGenerator[Row]:
        """Yield what the ratio has room for; the rest is journalled as ``over_ratio``, and all is counted."""
        there = {branch: list[tuple[str, str]]() for branch in self.from_}
        for row in rows:
            there[_branch(row, bench)].append((digest("mix", bench.chance(row.id)), row.id))
        room = shares(self.ratio, {branch: len(ids) for branch, ids in there.items()})
        kept = {row for branch, ids in there.items() for _, row in sorted(ids)[: room[branch]]}
        for row in rows:
            if row.id in kept:
                yield row
            else:
                bench.journal.filtered(bench.step, row.id, f"over_ratio_{_branch(row, bench)}", shown(row))
        said = [f"{room[branch]} of {len(ids)} from {branch}" for branch, ids in there.items()]
        bench.journal.note(bench.step, f"kept {', '.join(said)}")


def _branch(row: Row, bench: Bench) -> str:
    return str(row.facts[bench.step]["branch"])


def shares(ratio: Mapping[str, float], there: Mapping[str, int]) -> dict[str, int]:
    """How many of the rows that are `there` to keep of each branch: all of the scarcest, for its part."""
    parts = {branch: Fraction(part) for branch, part in ratio.items()}
    scale = min(there[branch] / part for branch, part in parts.items())
    return {branch: floor(part * scale + Fraction(1, 2)) for branch, part in parts.items()}
