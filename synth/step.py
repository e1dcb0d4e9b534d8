"""What a pipeline is made of. A step is its own configuration: its fields are its YAML keys.

    Step        rows in, rows out
    ├── Source  rows begin here; reads no step
    ├── Each    treats every row alone, many at a time, in any order
    └── Whole   needs all rows, and gets them in the order of their ids

A step sees rows and a `Bench`, and nothing else: no retry, cache, limit, log or clock. It drops a row by
raising `Filtered`; an error that belongs to a row becomes that row's fate here, in one place.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from synth import assets, constitution, prompts, seeds, stream
from synth.constitution import Constitution, Principle
from synth.errors import Filtered, NotBought, RowError
from synth.journal import Journal
from synth.models.base import Capability, Reply
from synth.models.client import Model
from synth.prompts import Prompt
from synth.rows import Answer, Row
from synth.spool import Spool

Out = TypeVar("Out")

MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Names:
    """Marks a field as a name: of a model or an earlier step in the pipeline, or of a file to edit.

    `read` reads such a file, and raises `UserError` with every mistake in it.
    """

    kind: Literal["models", "steps"] | assets.Kind
    read: Callable[[Path], object] | None = None


ModelName = Annotated[str, Names("models")]
StepName = Annotated[str, Names("steps")]
ConstitutionName = Annotated[str, Names("constitutions", constitution.read)]
SeedTasksName = Annotated[str, Names("seeds", seeds.read)]
SeedsName = Annotated[str, Names("seeds")]


def marks(info: FieldInfo) -> Iterator[Names]:
    """The marks of a field, also those inside ``ConstitutionName | None`` and ``list[ModelName]``."""
    own = (mark for mark in info.metadata if isinstance(mark, Names))
    yield from dict.fromkeys([*own, *_marked(info.annotation)])


def _marked(annotation: object) -> Iterator[Names]:
    for part in get_args(annotation):
        yield from (mark for mark in getattr(part, "__metadata__", ()) if isinstance(mark, Names))
        yield from _marked(part)


@dataclass(frozen=True)
class Bench:
    """What a step may reach for.

    Attributes:
        step: the step's own id.
        models: the pipeline's models by name.
        seed: the run's seed, from which all draws of ours come; a model's own sampling follows the request.
        folder: where the pipeline file is; relative names start there.
        journal: where the fates of rows are kept.
        scratch: a folder for what is thrown away with the run.
        limit: ``--limit``: how many rows a source may begin, None for all.
        window: how many rows are in flight at once; changes no content.
    """

    step: str
    models: Mapping[str, Model]
    journal: Journal
    scratch: Path
    seed: int = 0
    folder: Path = field(default_factory=Path)
    limit: int | None = None
    window: int = 64
    prompt_folders: tuple[Path, ...] = (prompts.FOLDER,)
    files: dict[tuple[str, str, object], Any] = field(default_factory=dict)

    def at(self, step: "Step") -> "Bench":
        """This bench for `step`, whose prompts may lie in a folder ``prompts`` beside its file."""
        beside = Path(inspect.getfile(type(step))).parent / "prompts"
        return replace(self, step=step.id, prompt_folders=(*self.prompt_folders, beside))

    def model(self, name: str) -> Model:
        """The model called `name`, its calls booked on this step."""
        return self.models[name].for_step(self.step)

    def constitution(self, name: str) -> Constitution:
        """The constitution called `name`."""
        return self.file("constitutions", name, constitution.read)

    def principle(self, name: str | None, chance: str) -> Principle | None:
        """One principle of the constitution called `name`, drawn by `chance`; None if there is no name."""
        return self.constitution(name).draw(chance) if name else None

    def file(self, kind: assets.Kind, name: str, read: Callable[[Path], Out]) -> Out:
        """What `read` makes of the file called `name`, as it stood when the run first read it."""
        key = (kind, name, read)
        if key not in self.files:
            self.files[key] = read(assets.find(kind, name, self.folder))
        found: Out = self.files[key]
        return found

    def prompt(self, name: str) -> Prompt:
        """A prompt file such as ``critique_revise/critique.md``; a user's own one wins."""
        return prompts.load(name, self.prompt_folders)

    def chance(self, row: str, round_: int = 0) -> str:
        """A text to draw from, another for every run seed, step, row and round."""
        return f"{self.seed}/{self.step}/{row}/{round_}"

    async def ask_all(self, calls: Sequence[Awaitable[Out]]) -> list[Out]:
        """The replies to several calls of one row, made at the same time, in their order."""
        return await stream.gather(calls)


def answered(reply: Reply, bench: Bench, model: str) -> Answer:
    """`reply` as an answer of the bench's step; `model` is the pipeline's name for what wrote it."""
    return Answer(reply.text.strip(), bench.step, finish=reply.finish, calls=(reply.key,), model=model)


class Step(BaseModel, ABC):
    """Rows in, rows out."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    makes: ClassVar[bool] = False

    id: str = Field(
        "", description="this step's name in `from:`, statistics and row ids; its kind if left out"
    )
    from_: Annotated[
        list[str], BeforeValidator(lambda names: [names] if isinstance(names, str) else names)
    ] = Field(default_factory=list, alias="from", description="the steps to read; the one before if left out")

    @abstractmethod
    def run(self, rows: AsyncGenerator[Row], bench: Bench) -> AsyncGenerator[Row]:
        """Yield rows made from `rows`. Write it as an async generator."""

    def wants(self) -> Mapping[str, frozenset[Capability]]:
        """What each model must be able to do, by the name of the field that names the model."""
        return {}

    def named(self, kind: str) -> Iterator[tuple[str, str]]:
        """The names of `kind`, as in `Names`, that the step's fields give, each with its field."""
        for field_, info in type(self).model_fields.items():
            if any(mark.kind == kind for mark in marks(info)):
                value = getattr(self, field_) or ()
                yield from ((field_, name) for name in ((value,) if isinstance(value, str) else value))

    def models_used(self) -> list[str]:
        """The names of the models that the step asks, each once."""
        return list(dict.fromkeys(name for _, name in self.named("models")))

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Mistakes that only this step can see, each with its field. `folder` is the pipeline's."""
        yield from ()

    def calls(self, rows: float) -> float:
        """About how many calls the step makes for `rows` rows; for `synth plan`."""
        return 0

    def rows_out(self, rows: float, folder: Path) -> float:
        """About how many rows go on; for `synth plan`. `folder` is the pipeline's."""
        return rows


class Source(Step):
    """A step in which rows begin. Override `begin`."""

    makes = True

    async def run(self, rows: AsyncGenerator[Row], bench: Bench) -> AsyncGenerator[Row]:
        """Yield what `begin` yields, each row with its fate in the journal."""
        async with aclosing(rows):
            pass  # a source reads no step
        began = 0
        async with aclosing(_until_not_bought(self.begin(bench), bench)) as beginning:
            async for row in beginning:
                bench.journal.continued(bench.step, row.id, [row])
                yield row
                began += 1
                if began == bench.limit:
                    return

    @abstractmethod
    def begin(self, bench: Bench) -> AsyncGenerator[Row]:
        """Yield the rows."""


async def _until_not_bought(rows: AsyncGenerator[Row], bench: Bench) -> AsyncGenerator[Row]:
    """The rows that can be had without a call that may not be bought."""
    async with aclosing(rows):
        try:
            async for row in rows:
                yield row
        except NotBought:
            bench.journal.waiting(bench.step)


class Each(Step):
    """A step that treats every row by itself: most of them. Override `each`."""

    async def run(self, rows: AsyncGenerator[Row], bench: Bench) -> AsyncGenerator[Row]:
        """Yield what `each` makes of every row, in any order; journal every row's fate."""

        async def work(row: Row) -> list[Row]:
            return await _fate(row, self.each(row, bench), bench)

        async with aclosing(stream.parallel(rows, work, window=bench.window)) as finished:
            async for made in finished:
                for row in made:
                    yield row

    @abstractmethod
    def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield the rows that `row` becomes, at least one; raise `Filtered` to drop it."""


class Whole(Step):
    """A step that needs all rows before it can say anything of one. Override `whole`.

    The rows wait on disk, not in memory.
    """

    async def run(self, rows: AsyncGenerator[Row], bench: Bench) -> AsyncGenerator[Row]:
        """Yield what `whole` makes of the rows; every row goes on, or has its fate in the journal."""
        with closing(Spool(bench.scratch / f"{bench.step}.sqlite")) as spool:
            async with aclosing(rows):
                async for row in rows:
                    spool.add(row)
            async with aclosing(_until_not_bought(self.whole(spool, bench), bench)) as going:
                async for row in going:
                    bench.journal.continued(bench.step, row.id, [row])
                    yield row
            waits = bench.journal.accounts[bench.step].waiting
            for row in spool:
                assert waits or bench.journal.has(bench.step, row.id), f"{bench.step} forgot row {row.id}"

    @abstractmethod
    def whole(self, rows: Spool, bench: Bench) -> AsyncGenerator[Row]:
        """Yield the rows that go on, under their own ids; tell `bench.journal` of each that does not.

        `rows` can be gone through as often as needed. A call that fails for one row is for this method to
        catch, since only it knows which row that is.
        """


async def _fate(row: Row, going: AsyncGenerator[Row], bench: Bench) -> list[Row]:
    """The rows that `going` makes of `row`, and their fate in the journal."""
    try:
        rows = [new async for new in going]
    except Filtered as reason:
        bench.journal.filtered(bench.step, row.id, reason.reason, shown(row))
        return []
    except NotBought:
        bench.journal.waiting(bench.step)
        return []
    except RowError as error:
        bench.journal.failed(bench.step, row.id, error, shown(row))
        return []
    assert rows, f"{bench.step} yielded nothing for row {row.id} and gave no reason"
    bench.journal.continued(bench.step, row.id, rows)
    return rows


def shown(row: Row) -> str:
    """What a reader is shown of a dropped row: its prompt and its last answer."""
    texts = [row.prompt[-1].content, *(answer.text for answer in row.answers[-1:])]
    return "\n---\n".join(texts)[:MAX_TEXT]
