"""Cost: what another constitution would have a pipeline buy, found out without a call.

The ledger is followed with both, as `synth plan` does. Calls that are found are counted exactly, and so are
those that are missing where a row first needs a new one. What a row asks after that depends on replies that
are not there yet: it is estimated, by what the pipeline asked before the edit if all of that is in the
ledger, else by the steps' own formulas. Money is estimated by the mean price of a step's calls in the newest
version, or of its models' calls in the ledger.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import orjson
import pyarrow.parquet as pq

from synth import assets, estimate
from synth.errors import UserError
from synth.models.ledger import Ledger
from synth.pipeline import Pipeline
from synth.project import Project
from synth.run import Watch, plan
from synth.step import Step, marks
from synth.store import version

PRICED = 10_000  # calls looked at for a mean price, which have the lowest keys: a random sample


@dataclass(frozen=True, slots=True)
class StepCost:
    """What one step would ask.

    Attributes:
        models: the pipeline's names of the models that it asks.
        before: calls before the edit that are in the ledger, exact.
        found: calls after the edit that are in the ledger, exact as far as the ledger reaches.
        certain: calls that are sure to be bought, exact.
        about: all calls to be bought, an estimate; `certain` of them are sure.
        usd: what those cost, an estimate; None if no call like them has a known price.
    """

    step: str
    models: tuple[str, ...]
    before: int
    found: int
    certain: int
    about: float
    usd: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What an edit would cost.

    Attributes:
        steps: a line for each step that asks a model, in the pipeline's order.
        goes_by: the steps that go by the constitution.
        touched: rows that need a new call, and rows that came there, by the step where they first do; exact.
        was_complete: all calls of the pipeline before the edit are in the ledger.
    """

    steps: tuple[StepCost, ...]
    goes_by: tuple[str, ...]
    touched: Mapping[str, tuple[int, int]]
    was_complete: bool


async def cost(
    before: Path, after: Path, pipeline: Pipeline, project: Project, limit: int | None = None
) -> Cost:
    """What `pipeline` would buy with the constitution `after` in the place of `before`.

    Raises:
        UserError: it goes by neither of them.
    """
    fields = _fields(pipeline, before, after)
    if not fields:
        raise UserError(f"no step of {pipeline.path} goes by {before} or by {after}")
    with _copied(project, before, after) as (old, new):
        was = await plan(_with(pipeline, fields, old), project, limit)
        edited = _with(pipeline, fields, new)
        would = await plan(edited, project, limit)
        formulas = {each.step: each.to_buy for each in estimate.forecast(edited, would, limit)}
    complete = not any(account.waiting for account in was.accounts.values())
    prices = _prices(pipeline, project)
    return Cost(
        steps=tuple(
            _step(step, was, would, None if complete else formulas[step.id], prices)
            for step in pipeline.steps
            if step.models_used()
        ),
        goes_by=tuple(fields),
        touched={
            step: (account.waiting, account.waiting + account.rows)
            for step, account in would.accounts.items()
            if account.waiting
        },
        was_complete=complete,
    )


def _step(
    step: Step, was: Watch, would: Watch, formula: float | None, prices: Mapping[str, float]
) -> StepCost:
    """One line. Without a `formula` what was asked before stands for what is asked after."""
    before = sum(tally.found for (by, _), tally in was.tallies.items() if by == step.id)
    found = sum(tally.found for (by, _), tally in would.tallies.items() if by == step.id)
    certain = sum(tally.missing for (by, _), tally in would.tallies.items() if by == step.id)
    about = max(certain, before - found if formula is None else formula)
    price = prices.get(step.id)
    usd = about * price if price is not None else None
    return StepCost(step.id, tuple(step.models_used()), before, found, certain, about, usd if about else 0.0)


def _fields(pipeline: Pipeline, *paths: Path) -> dict[str, list[str]]:
    """The fields that name one of the constitutions in `paths`, by the id of their step."""
    fields = defaultdict[str, list[str]](list)
    wanted = {path.resolve() for path in paths}
    for step in pipeline.steps:
        for name, info in type(step).model_fields.items():
            named = getattr(step, name)
            is_one = any(mark.kind == "constitutions" for mark in marks(info))
            if is_one and named and assets.find("constitutions", named, pipeline.folder).resolve() in wanted:
                fields[step.id].append(name)
    return dict(fields)


def _with(pipeline: Pipeline, fields: Mapping[str, list[str]], constitution: Path) -> Pipeline:
    """`pipeline`, going by `constitution` in `fields`."""
    steps = [
        step.model_copy(update={name: str(constitution) for name in fields.get(step.id, ())})
        for step in pipeline.steps
    ]
    return replace(pipeline, steps=tuple(steps))


@contextmanager
def _copied(project: Project, *paths: Path) -> Iterator[list[Path]]:
    """`paths` inside the project folder for a while, since a pipeline reads nothing that lies outside."""
    folder = project.ledger.parent
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix="amend-") as kept:
        copies = [Path(kept).resolve() / str(number) / path.name for number, path in enumerate(paths)]
        for path, copy in zip(paths, copies, strict=True):
            copy.parent.mkdir()
            shutil.copyfile(path, copy)
        yield copies


def _prices(pipeline: Pipeline, project: Project) -> dict[str, float]:
    """US dollars a call, by step, where calls like its own are known."""
    with closing(Ledger(project.ledger)) as ledger:
        by_step = _prices_in_version(pipeline, project, ledger)
        if all(step.id in by_step for step in pipeline.steps if step.models_used()):
            return by_step
        by_model = _prices_of_models(pipeline, ledger)
    for step in pipeline.steps:
        known = [by_model[model] for model in step.models_used() if model in by_model]
        if known and len(known) == len(step.models_used()):
            by_step.setdefault(step.id, fmean(known))
    return by_step


def _prices_in_version(pipeline: Pipeline, project: Project, ledger: Ledger) -> dict[str, float]:
    """The mean price of each step's calls in the newest version of the pipeline's dataset."""
    made = version.versions(project.datasets / pipeline.name)
    if not made:
        return {}
    lineage = pq.read_table(made[-1].path / ".synth" / "lineage.parquet", columns=["step", "call"])
    calls = sorted({(line["call"], line["step"]) for line in lineage.to_pylist()})
    found = ((step, ledger.find(call)) for call, step in calls[:PRICED])
    return _means((step, outcome.usd) for step, outcome in found if outcome)


def _prices_of_models(pipeline: Pipeline, ledger: Ledger) -> dict[str, float]:
    """The mean price of a call of each model."""
    names = {(each.endpoint, each.name_in_key): name for name, each in pipeline.providers.items()}
    sample = ((orjson.loads(outcome.request), outcome.usd) for outcome in islice(ledger, PRICED))
    asked = ((names.get((request["endpoint"], request["model"]), ""), usd) for request, usd in sample)
    return _means((name, usd) for name, usd in asked if name)


def _means(prices: Iterator[tuple[str, float | None]]) -> dict[str, float]:
    by_name = defaultdict[str, list[float | None]](list)
    for name, usd in prices:
        by_name[name].append(usd)
    return {
        name: fmean(usd for usd in known if usd is not None)
        for name, known in by_name.items()
        if None not in known
    }
