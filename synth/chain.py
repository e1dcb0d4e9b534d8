"""How steps are wired: each reads the streams of the steps that it names.

Where streams join, rows are born anew, as children of those that came: so that what two branches made of one
row can be told apart, and so can equal rows of two sources. The step in which they join finds the branch that
a row came from among its facts. Where streams part, rows stay as they are, so that a new branch changes
nothing in the old one. What no step reads comes out.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing

from synth import stream
from synth.pipeline import Pipeline
from synth.rows import Row
from synth.step import Bench
from synth.stream import Fork

DATASET = "dataset"  # reads what no step reads


def chain(pipeline: Pipeline, bench: Bench) -> AsyncGenerator[Row]:
    """The rows that come out of `pipeline`, whose steps reach what is on `bench`."""
    readers: dict[str, list[str]] = {leaf: [DATASET] for leaf in pipeline.leaves()}
    for step in pipeline.steps:
        for name in step.from_:
            readers.setdefault(name, []).append(step.id)

    streams: dict[tuple[str, str], AsyncGenerator[Row]] = {}
    for step in pipeline.steps:
        bench.journal.open(step.id, made=step.makes)
        came = _joined({name: streams[name, step.id] for name in step.from_}, step.id)
        rows = step.run(came, bench.at(step))
        for reader, branch in _branches(rows, readers[step.id]):
            streams[step.id, reader] = branch
    return _joined({leaf: streams[leaf, DATASET] for leaf in pipeline.leaves()}, DATASET)


def _branches(rows: AsyncGenerator[Row], readers: Sequence[str]) -> list[tuple[str, AsyncGenerator[Row]]]:
    """The rows for each of `readers`."""
    if len(readers) == 1:
        return [(readers[0], rows)]
    fork = Fork(rows, len(readers))
    return [(reader, fork.branch(number)) for number, reader in enumerate(readers)]


def _joined(streams: Mapping[str, AsyncGenerator[Row]], reader: str) -> AsyncGenerator[Row]:
    """The rows of the streams, which are named after their steps, for `reader`."""
    if len(streams) == 1:
        return next(iter(streams.values()))
    return stream.merge([_born_anew(rows, name, reader) for name, rows in streams.items()])


async def _born_anew(rows: AsyncGenerator[Row], step: str, reader: str) -> AsyncGenerator[Row]:
    async with aclosing(rows):
        async for row in rows:
            child = row.child(step, 0)
            yield child if reader == DATASET else child.noted(reader, branch=step)
