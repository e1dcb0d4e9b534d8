"""Curate: a small set, of the best and the most different rows, from each source as many as was said.

Zhou et al. 2023, "LIMA: Less Is More for Alignment" (arXiv:2305.11206), section 2: 1,000 examples, so many
from each source; within a source a category (an exchange, a topic of wikiHow) is drawn with temperature 3, so
that small ones count for more than their size, and the best of what is left of it is taken.

Differs: the authors picked by hand, here scores do; near-duplicates go by ROUGE-L, with Self-Instruct's 0.7,
where people would see them; and a category that has nothing left is drawn no more.
"""

import random
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import Field

from synth import assets, columns, disk, seeds
from synth.errors import Problem, UserError
from synth.rouge import Pool
from synth.rows import Row, digest
from synth.scores import scores
from synth.spool import Spool, scratch
from synth.step import MAX_TEXT, Bench, Names, StepName, Whole, shown


def prompts_in(path: Path) -> list[str]:
    """What a file of prompts, pairs or seed tasks asks: the texts under `prompt` or `instruction`.

    Raises:
        UserError: every line without one, by its number.
    """
    texts, problems = [], []
    for number, line in seeds.lines(path):
        if isinstance(line, Problem):
            problems.append(line)
        elif text := _asked(line):
            texts.append(text)
        else:
            problems.append(Problem("expected an object with a prompt or an instruction", str(path), number))
    if problems:
        raise UserError(problems)
    return texts


def _asked(line: Any) -> str:
    match line:
        case {"prompt": str(text)} | {"prompt": [*_, {"content": str(text)}]} | {"instruction": str(text)}:
            return text
    return ""


class Curate(Whole):
    """Take `count` rows, by quota, quality and difference; say by how much it falls short.

    Needs: rows with an answer, the last of which is what counts. Gives: the rows that are taken, each with
    its source, category, licence, score, place and likeness to the nearest in its facts. Costs: nothing.
    """

    count: int = Field(1000, ge=1, description="LIMA's is 1,000")
    quotas: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="rows from each source, taken in this order; they add up to `count`"
    )
    source: str = Field("source", description="the column that says where a row is from")
    category: str | None = Field(None, description="the column that says what it is about, or which exchange")
    temperature: float = Field(3.0, gt=0, description="1 draws categories by their size, more: more evenly")
    judge: StepName | None = Field(None, description="the judging step whose mean score is a row's quality")
    score: str | None = Field(None, description="or the column that holds it")
    least_score: float | None = Field(None, description="LIMA: 10, for an answer of Stack Exchange")
    licence: str = Field("license", description="the column that holds a row's licence")
    max_similarity: float = Field(0.7, ge=0, le=1, description="ROUGE-L above which two prompts are the same")
    held_out: Annotated[str, Names("seeds", prompts_in)] | None = Field(
        None, description="a file of prompts to keep away from, such as a test set"
    )

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Quotas that miss the count, and two sources of quality."""
        total = sum(self.quotas.values())
        if self.quotas and total != self.count:
            yield "quotas", f"expected numbers that add up to count, {self.count}; they come to {total}"
        if self.judge and self.score:
            yield "score", "a row's quality comes from judge or from score, not from both"
        if self.least_score is not None and not (self.judge or self.score):
            yield "least_score", "there is no score to compare with; name a judge or a score"

    async def whole(self, rows: Spool, bench: Bench) -> AsyncGenerator[Row]:
        """Yield what is taken; every other row has its reason in the journal."""
        with closing(_Shelf(bench.scratch / f"{bench.step}.shelf.sqlite")) as shelf:
            for row in rows:
                if reason := self._reason_unfit(row):
                    bench.journal.filtered(bench.step, row.id, reason, shown(row))
                else:
                    shelf.add(self._candidate(row), tie=digest(bench.chance(row.id)))
            taken = _Taken(_pool(self.held_out, bench))
            for source, quota in (self.quotas or {"": self.count}).items():
                self._take(source, quota, shelf, taken, bench)
        for row in rows:
            if row.id in taken.facts:
                licence = columns.at(row.facts, self.licence)
                yield row.noted(bench.step, **taken.facts[row.id], licence=licence)
            elif not bench.journal.has(bench.step, row.id):
                bench.journal.filtered(bench.step, row.id, "over_quota", shown(row))
        bench.journal.note(bench.step, self._said(taken))

    def _reason_unfit(self, row: Row) -> str | None:
        """Why `row` is no candidate at all."""
        if not row.answers:
            return "no_answer"
        answer, score = row.answers[-1], self._score(row)
        if unfit := answer.unfit if answer.text.strip() else "empty_answer":
            return unfit
        if self.quotas and self._source(row) not in self.quotas:
            return "source_without_quota"
        if score is None:
            return None if self.judge is None and self.score is None else "no_score"
        return "low_score" if self.least_score is not None and score < self.least_score else None

    def _score(self, row: Row) -> float | None:
        if self.judge is not None:
            return scores(row, self.judge).of.get(len(row.answers) - 1)
        value = columns.at(row.facts, self.score) if self.score else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _source(self, row: Row) -> str:
        return str(columns.at(row.facts, self.source) or "unknown")

    def _candidate(self, row: Row) -> "_Candidate":
        category = str(columns.at(row.facts, self.category) or "unknown") if self.category else ""
        return _Candidate(
            row.id,
            quota=self._source(row) if self.quotas else "",
            source=self._source(row),
            category=category,
            score=self._score(row),
            prompt=row.prompt[-1].content,
        )

    def _take(self, source: str, quota: int, shelf: "_Shelf", taken: "_Taken", bench: Bench) -> None:
        """Take `quota` rows of `source`, or all that are different enough."""
        drawn = self._drawn(source, shelf, bench)
        while taken.by_quota[source] < quota and (candidate := next(drawn, None)):
            if near := taken.near(candidate, self.max_similarity):
                both = f"{candidate.prompt}\n---\n{near[1]}"[:MAX_TEXT]
                bench.journal.filtered(bench.step, candidate.id, near[0], both)

    def _drawn(self, source: str, shelf: "_Shelf", bench: Bench) -> Iterator["_Candidate"]:
        """The candidates of `source`: a category is drawn, and the best that is left of it comes."""
        sizes = shelf.sizes(source)
        queues = {category: shelf.best_first(source, category) for category in sizes}
        weights = {category: size ** (1 / self.temperature) for category, size in sizes.items()}
        number = 0
        while weights:
            category = drawn(weights, bench.chance(source, number))
            number += 1
            candidate = next(queues[category], None)
            if candidate:
                yield candidate
            else:
                del weights[category]

    def _said(self, taken: "_Taken") -> str:
        """How many were taken, where they fall short, and how different they are."""
        said = f"{len(taken.facts)} of {self.count}"
        short = {name: quota - taken.by_quota[name] for name, quota in self.quotas.items()}
        missing = [f"{name} {number} of {self.quotas[name]}" for name, number in short.items() if number]
        if missing:
            said += f"; short of: {', '.join(missing)}"
        if taken.facts:
            nearest = [known["nearest"] for known in taken.facts.values()]
            categories = len({(known["source"], known["category"]) for known in taken.facts.values()})
            said += f"; {categories} categories" if self.category else ""
            said += f"; ROUGE-L to the nearest: median {median(nearest):.2f}, highest {max(nearest):.2f}"
        return said

    def rows_out(self, rows: float, folder: Path) -> float:
        """At most `count`."""
        return min(rows, self.count)


def drawn(weights: Mapping[str, float], chance: str) -> str:
    """One of the names, with a probability that is its share of the weights.

    A race of exponential clocks, one a name: a name that goes out changes no draw but its own.
    """
    return min(weights, key=lambda name: random.Random(f"{chance}/{name}").expovariate(weights[name]))


def _pool(held_out: str | None, bench: Bench) -> Pool:
    return Pool(prompts_in(assets.find("seeds", held_out, bench.folder)) if held_out else ())


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What is known of a row while it is decided upon. `quota` is the quota that it counts against."""

    id: str
    quota: str
    source: str
    category: str
    score: float | None
    prompt: str


@dataclass(slots=True)
class _Taken:
    """What is taken so far: the facts of each row by its id, how many by quota, and their prompts."""

    held_out: Pool
    kept: Pool = field(default_factory=Pool)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_quota: Counter[str] = field(default_factory=Counter)

    def near(self, candidate: _Candidate, max_similarity: float) -> tuple[str, str] | None:
        """Take `candidate`; or say why not, and what it is too near to."""
        similarity, text = self.held_out.nearest(candidate.prompt)
        if similarity > max_similarity:
            return "near_held_out", text
        nearest, text = self.kept.nearest(candidate.prompt)
        if nearest > max_similarity:
            return "near_duplicate", text
        self.kept.add(candidate.prompt)
        self.by_quota[candidate.quota] += 1
        self.facts[candidate.id] = {
            "source": candidate.source,
            "category": candidate.category or None,
            "score": candidate.score,
            "place": len(self.facts) + 1,
            "nearest": nearest,
        }
        return None


class _Shelf:
    """The candidates on disk, by quota and category and best first, so that memory holds what is taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = scratch(path)
        self._db.execute(
            "CREATE TABLE shelf (quota TEXT, category TEXT, score REAL, tie TEXT, id TEXT, source TEXT,"
            " prompt TEXT)"
        )
        self._db.execute("CREATE INDEX best ON shelf (quota, category, score DESC, tie)")
        self._db.execute("BEGIN")

    def add(self, candidate: _Candidate, tie: str) -> None:
        """Keep `candidate`; `tie` decides among equal scores."""
        try:
            self._db.execute(
                "INSERT INTO shelf VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    candidate.quota,
                    candidate.category,
                    candidate.score,
                    tie,
                    candidate.id,
                    candidate.source,
                    candidate.prompt,
                ),
            )
        except sqlite3.Error as error:
            raise disk.failed(self._path, error) from error

    def sizes(self, quota: str) -> dict[str, int]:
        """How many candidates each category has, by its name."""
        count = "SELECT category, count(*) FROM shelf WHERE quota = ? GROUP BY category ORDER BY category"
        return dict(self._db.execute(count, (quota,)))

    def best_first(self, quota: str, category: str) -> Iterator[_Candidate]:
        """The candidates of `category`, the best first."""
        found = self._db.execute(
            "SELECT id, source, score, prompt FROM shelf WHERE quota = ? AND category = ?"
            " ORDER BY score DESC, tie",
            (quota, category),
        )
        for row, source, score, prompt in found:
            yield _Candidate(row, quota, source, category, score, prompt)

    def close(self) -> None:
        """Throw the file away."""
        self._db.close()
        self._path.unlink(missing_ok=True)
