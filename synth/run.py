"""The whole of `synth run`: make the rows, commit them, train on them, measure, publish.

A run that is stopped, however hard, goes on when the same command is given again: every call's outcome is
in the ledger, so what was bought is found and the rest is bought; a version and a trained model are found
by what they are made from. Nothing else is kept of a run.
"""

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, closing, contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import synth
from synth import assets, disk, open_files, prompts
from synth.chain import chain
from synth.errors import SynthError, TooManyFailed
from synth.journal import Account, Journal
from synth.models.base import Budget, Provider
from synth.models.client import Model, Tally, totals
from synth.models.embedded.weights import locate
from synth.models.ledger import Ledger
from synth.models.limits import Lane
from synth.models.spending import Spending
from synth.pipeline import Pipeline
from synth.project import Project
from synth.publish import hub
from synth.publish.hub import Published
from synth.rows import Row
from synth.signals import Stop, in_thread
from synth.spool import Spool
from synth.step import Bench
from synth.store.version import Version, commit
from synth.stream import Once
from synth.train import child
from synth.train.held_out import HeldOut, compare
from synth.train.run import Trained, train

LEAST_WINDOW = 64
MAKING = "making rows"


@dataclass(slots=True)
class Watch:
    """What a run shows of itself while it goes on. Read it at any time; only the run writes it.

    Attributes:
        phase: what is going on, such as `MAKING`.
        accounts: rows by step; `tallies`: calls by step and model.
        version: the version, once it is committed.
        done, of: steps of the training that is going on.
    """

    phase: str = "starting"
    accounts: dict[str, Account] = field(default_factory=dict)
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    journal: Journal | None = None
    version: Version | None = None
    done: int = 0
    of: int = 0

    @property
    def latest(self) -> Row | None:
        """The row that went on last."""
        return self.journal.latest if self.journal else None


@dataclass(frozen=True, slots=True)
class Finished:
    """What a run came to: the version, the models by their name in the pipeline, what they do unseen."""

    version: Version
    trained: Mapping[str, Trained]
    held_out: tuple[HeldOut, ...] = ()
    published: Published | None = None


async def run(
    pipeline: Pipeline, project: Project, watch: Watch, limit: int | None = None, stop: Stop | None = None
) -> Finished:
    """Everything that the file asks for, in its order, unless `stop` ends it.

    Raises:
        SynthError: as `make`, and the training and publishing.
    """
    stop = stop or Stop()
    return await stop.obeyed(_whole(pipeline, project, watch, limit, stop))


async def _whole(
    pipeline: Pipeline, project: Project, watch: Watch, limit: int | None, stop: Stop
) -> Finished:
    with project.lock(pipeline.name):
        version = watch.version = await make(pipeline, project, watch, limit, stop)
        check_failures(watch.accounts, pipeline.fail_on)
        trained = await in_thread(lambda: train_on(version, pipeline, project, watch), child.end)
        held_out = await in_thread(lambda: evaluate(trained, pipeline, project, watch), child.end)
        published = None
        if pipeline.publish:
            watch.phase = "publishing"
            repo, private = pipeline.publish.repo, pipeline.publish.private
            published = await in_thread(lambda: hub.publish(version.path, repo, private=private))
        return Finished(version, trained, held_out, published)


async def make(
    pipeline: Pipeline, project: Project, watch: Watch, limit: int | None = None, stop: Stop | None = None
) -> Version:
    """Run the steps of `pipeline` and commit what comes out.

    Args:
        limit: how many rows a source may begin, None for all.
        stop: once it is asked for, no call is begun and no version committed.

    Raises:
        SynthError: no row came out, or the run cannot go on; what was bought is kept.
    """
    stop = stop or Stop()
    async with _opened(pipeline, project, watch, limit, stop) as (journal, going):
        watch.phase = MAKING
        with closing(Spool(project.scratch(pipeline.name) / "out.sqlite", stop.check)) as rows:
            await _drain(going, rows.add)
            stop.check()
            watch.phase = "committing"
            if not len(rows):
                raise SynthError(f"no row reached the end of the pipeline: {_drops(watch.accounts)}")
            origin = {"synth": synth.__version__, "made_from": _files(pipeline), **accounting(watch)}
            return commit(rows, pipeline.dataset, journal, origin, pipeline.text, project.datasets)


async def plan(pipeline: Pipeline, project: Project, limit: int | None = None) -> Watch:
    """Follow `pipeline` as far as the ledger reaches, and buy nothing."""
    watch = Watch()
    with project.lock(pipeline.name):
        async with _opened(pipeline, project, watch, limit, None) as (_, going):
            await _drain(going, lambda row: None)
    return watch


async def supersede(pipeline: Pipeline, project: Project, limit: int | None = None) -> int:
    """Set aside the failures that a run of `pipeline` would meet, so that it asks again. Returns how many."""
    watch = await plan(pipeline, project, limit)
    ledger = Ledger(project.ledger)
    try:
        return ledger.supersede_failures(sorted(totals(watch.tallies).failures))
    finally:
        ledger.close()


async def _drain(going: AsyncGenerator[Row], keep: Callable[[Row], None]) -> None:
    async with aclosing(going):
        async for row in going:
            keep(row)


@asynccontextmanager
async def _opened(
    pipeline: Pipeline, project: Project, watch: Watch, limit: int | None, stop: Stop | None
) -> AsyncIterator[tuple[Journal, AsyncGenerator[Row]]]:
    """What a run stands on, for as long as it runs: ledger, journal, models and the bench that holds them.

    Gives the journal, and the rows that come out of the chained steps. Calls are bought until `stop`; without
    one none is bought, and no provider opened. Everything is closed whatever happens.
    """
    scratch = project.scratch(pipeline.name)
    with disk.watched(scratch), _thrown_away(scratch):
        ledger = Ledger(project.ledger, pipeline.ledger.synchronous)
        flying, journal = Once(), Journal(scratch / "fates.sqlite")
        watch.journal, watch.accounts = journal, journal.accounts
        providers = pipeline.providers
        lanes, spending = _lanes(providers.values()), _spending(pipeline, project)
        models = {
            name: Model(
                name,
                provider,
                ledger,
                lane=lanes[provider.lane],
                tallies=watch.tallies,
                flying=flying,
                spending=spending,
                buying=stop is not None,
                stop=stop or Stop(),
            )
            for name, provider in providers.items()
        }
        try:
            if stop:  # a lane that learns its width is on a network, and takes a connection a call
                open_files.make_room(sum(lane.places.most for lane in lanes.values() if lane.places.adaptive))
            for provider in providers.values() if stop else ():
                provider.listen(lanes[provider.lane].hear)
                await provider.open()
            bench = _bench(pipeline, models, journal, scratch, limit)
            yield journal, chain(pipeline, bench)
        finally:
            await flying.close()
            for provider in providers.values():
                await provider.close()
            ledger.close()
            journal.close()
            if spending:
                spending.close()


def _lanes(providers: Iterable[Provider]) -> dict[str, Lane]:
    """A lane for each address, key and model; of several entries for one the strictest limits hold."""
    sharing: dict[str, list[Provider]] = {}
    for provider in providers:
        sharing.setdefault(provider.lane, []).append(provider)
    return {
        lane: Lane(
            min(each.max_concurrency for each in same),
            adaptive=same[0].adaptive,
            rpm=min((each.rpm for each in same if each.rpm), default=None),
            tpm=min((each.tpm for each in same if each.tpm), default=None),
        )
        for lane, same in sharing.items()
    }


def _spending(pipeline: Pipeline, project: Project) -> Spending | None:
    """The account of `pipeline`, if it or one of its models has a budget."""
    models = {name: provider.budget for name, provider in pipeline.providers.items() if provider.budget}
    if not pipeline.budget and not models:
        return None
    return Spending(project.spending, pipeline.name, pipeline.budget or Budget(), models)


def _bench(
    pipeline: Pipeline, models: Mapping[str, Model], journal: Journal, scratch: Path, limit: int | None
) -> Bench:
    """What all steps may reach; each gets it under its own name."""
    widest = max((model.provider.max_concurrency for model in models.values()), default=1)
    return Bench(
        step="",
        models=models,
        journal=journal,
        scratch=scratch,
        seed=pipeline.seed,
        folder=pipeline.folder,
        limit=limit,
        window=max(LEAST_WINDOW, 2 * widest),
        prompt_folders=(pipeline.folder / "prompts", Path.cwd() / "prompts", prompts.FOLDER),
    )


def accounting(watch: Watch) -> dict[str, Any]:
    """What became of every row, and what was asked of every model, as the manifest keeps it."""
    steps = [
        {
            "id": step,
            "made": account.made,
            "rows": account.rows,
            "continued": account.continued,
            "out": account.out,
            "filtered": dict(sorted(account.filtered.items())),
            "failed": dict(sorted(account.failed.items())),
            "note": account.note,
        }
        for step, account in watch.accounts.items()
    ]
    calls = [
        {"step": step, "model": model}
        | asdict(tally)
        | {"models": sorted(tally.models), "failed": tally.failed}
        for (step, model), tally in sorted(watch.tallies.items())
    ]
    for call in calls:
        del call["failures"]
    return {"steps": steps, "calls": calls}


def _files(pipeline: Pipeline) -> dict[str, str]:
    """SHA-256 of every file that the pipeline reads besides itself, by its name."""
    return {f"{path.parent.name}/{path.name}": assets.digest(path) for path in pipeline.assets}


def train_on(version: Version, pipeline: Pipeline, project: Project, watch: Watch) -> dict[str, Trained]:
    """The models of the ``train:`` section, in its order, made or found.

    Raises:
        SynthError: as `synth.train.run.train`.
    """
    trained: dict[str, Trained] = {}

    def progress(step: int, of: int, metrics: Mapping[str, float]) -> None:
        watch.done, watch.of = step, of

    for training in pipeline.train:
        watch.phase, watch.done, watch.of = f"training {training.name}", 0, 0
        base = trained[training.from_].path if training.from_ else _checkpoint(training.base or "", pipeline)
        out = project.models(pipeline.name)
        trained[training.name] = train(training, version.path, base, out, progress=progress)
    return trained


def _checkpoint(base: str, pipeline: Pipeline) -> Path:
    checkpoint = locate(base, pipeline.folder).checkpoint
    assert checkpoint, "the pipeline was checked for this"
    return checkpoint


def evaluate(
    trained: Mapping[str, Trained], pipeline: Pipeline, project: Project, watch: Watch
) -> tuple[HeldOut, ...]:
    """What the base and the trained models make of the held-out pairs, if the file asks for it."""
    base = next((training.base for training in pipeline.train if training.base), None)
    if not pipeline.evaluate or not base:
        return ()
    watch.phase, watch.of = "measuring on held-out pairs", 0
    models = {"base": _checkpoint(base, pipeline)} | {name: model.path for name, model in trained.items()}
    pairs = assets.find("seeds", pipeline.evaluate.pairs, pipeline.folder)
    return tuple(compare(models, pairs, project.models(pipeline.name) / "held_out.log"))


def check_failures(accounts: Mapping[str, Account], limit: float | None) -> None:
    """Go no further if more rows failed than the pipeline allows.

    Args:
        limit: rows in all; a float is a share of the rows that came to a step, which no step may exceed.

    Raises:
        TooManyFailed: more did.
    """
    counts = {step: (account.failed.total(), account.rows) for step, account in accounts.items()}
    if isinstance(limit, float):
        share = Fraction(str(limit))  # as the file says it: 0.29 of 100 is 29, which floats exceed
        counts = {step: (failed, of) for step, (failed, of) in counts.items() if failed > share * of}
    elif limit is None or sum(failed for failed, _ in counts.values()) <= limit:
        return
    said = [f"{failed} of {of} rows in {step}" for step, (failed, of) in counts.items() if failed]
    if said:
        raise TooManyFailed(
            f"more failed than `fail_on: {limit}` allows: {', '.join(said)}. The version is kept; nothing is "
            "trained on it or published. `synth retry` asks again for what failed"
        )


def _drops(accounts: Mapping[str, Account]) -> str:
    """Why rows were dropped, step by step, in one line."""
    said = []
    for step, account in accounts.items():
        reasons = (account.filtered + account.failed).items()
        if reasons:
            said.append(f"{step}: {', '.join(f'{reason} {count}' for reason, count in reasons)}")
    return "; ".join(said) or "its sources are empty"


@contextmanager
def _thrown_away(folder: Path) -> Iterator[Path]:
    """`folder`, empty, for as long as it is needed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
