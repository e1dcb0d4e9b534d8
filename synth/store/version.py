"""A version: an immutable folder that holds a dataset, named by what it holds.

The id is the SHA-256 of the canonical sorted rows of all views and splits, the views' columns and the
licence, and of nothing else: not of time, cost, or who answered. So the same rows are the same version
wherever and however they were made. The folder appears whole or not at all, and is already a dataset
repository as the Hub and ``load_dataset`` want it.

    datasets/NAME/v3-1a2b3c4d5e6f/
        README.md                              the card
        data/<view>/<split>-00000-of-00001.parquet
        .synth/manifest.json, statistics.json, lineage.parquet, dropped.parquet, pipeline.yaml
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from synth import assets, crash, disk, leftovers
from synth.errors import UserError, unknown
from synth.journal import Journal
from synth.rows import Row
from synth.spool import Spool
from synth.store import card, statistics
from synth.store.evidence import Judges
from synth.store.seen import Seen
from synth.store.statistics import Statistics
from synth.store.views import LeftOut, View

SPLITS = ("train", "test")
BATCH = 1000
NAME = re.compile(r"v(\d+)-([0-9a-f]{12})")
LINEAGE = pa.schema(
    [
        ("row", pa.string()),
        ("root", pa.string()),
        ("part", pa.string()),
        ("step", pa.string()),
        ("call", pa.string()),
    ]
)
DROPPED = pa.schema([(name, pa.string()) for name in ("step", "row", "kind", "reason", "text")])


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """What a dataset is to look like: its name, its views by name, split, and licence."""

    name: str
    views: Mapping[str, View]
    test_fraction: float = 0.0
    license: str = "other"


@dataclass(frozen=True, slots=True)
class Version:
    """A version in its folder. `manifest` is what `.synth/manifest.json` says."""

    path: Path
    manifest: Mapping[str, Any]
    is_new: bool = False

    @property
    def id(self) -> str:
        """SHA-256 of the content, hex."""
        return str(self.manifest["id"])

    @property
    def name(self) -> str:
        """Such as ``v3-1a2b3c4d5e6f``."""
        return self.path.name

    @property
    def statistics(self) -> Mapping[str, Any]:
        """What `.synth/statistics.json` says; nothing in a version made before there was one."""
        return statistics.read(self.path)

    def rows(self, view: str, split: str = "train") -> Iterator[dict[str, Any]]:
        """The rows of a split of a view, in the order of ids."""
        for file in sorted((self.path / "data" / view).glob(f"{split}-*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches(BATCH):
                yield from batch.to_pylist()


def read(path: Path) -> Version:
    """The version in the folder `path`.

    Raises:
        UserError: there is none.
    """
    manifest = path / ".synth" / "manifest.json"
    if not manifest.is_file():
        raise UserError(f"{str(path)!r} is not a dataset version: it has no .synth/manifest.json")
    return Version(path, json.loads(manifest.read_text(encoding="utf-8")))


def versions(folder: Path) -> list[Version]:
    """The versions of the dataset in `folder`, oldest first."""
    found = [path for path in folder.glob("v*-*") if NAME.fullmatch(path.name)]
    return [read(path) for path in sorted(found, key=lambda path: int(path.name[1:].split("-")[0]))]


def find(name: str, datasets: Path) -> Version:
    """The version that `name` stands for: a folder, ``NAME/v3-…``, ``NAME/v3``, or ``NAME`` for the newest.

    Raises:
        UserError: there is none.
    """
    if (Path(name) / ".synth" / "manifest.json").is_file():
        return read(Path(name))
    dataset, _, wanted = name.partition("/")
    known = versions(datasets / dataset)
    fitting = [version for version in known if _is(version, wanted)]
    if not fitting:
        names = [
            f"{folder.name}/{version.name}" for folder in _folders(datasets) for version in versions(folder)
        ]
        raise UserError(unknown("dataset version", name, names))
    return fitting[-1]


def _is(version: Version, wanted: str) -> bool:
    """Whether `wanted`, such as "", ``v3``, ``v3-1a2b`` or ``1a2b3c``, means `version`."""
    number, _, digits = version.name.partition("-")
    asked, _, start = wanted.partition("-")
    named = wanted in ("", number) or (asked == number and digits.startswith(start))
    return named or version.id.startswith(wanted)


def _folders(datasets: Path) -> list[Path]:
    return sorted(path for path in datasets.glob("*") if path.is_dir())


@dataclass(slots=True)
class Counts:
    """What a view holds: rows by split, and what was left out by reason."""

    rows: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, shown: Iterator[dict[str, Any] | LeftOut], split: str, table: "_Table") -> None:
        """Write what a row shows as to `table`, and count it."""
        for line in shown:
            if isinstance(line, LeftOut):
                self.left_out[line.reason] += 1
            else:
                self.rows[split] += 1
                table.add(line)


def commit(
    rows: Spool,
    spec: DatasetSpec,
    journal: Journal,
    origin: Mapping[str, Any],
    pipeline_text: str,
    datasets: Path,
) -> Version:
    """Write `rows` as a version of ``datasets/<spec.name>``, or find that it is there already.

    Args:
        origin: what the manifest says of how the rows were made, such as the accounting.
        pipeline_text: the pipeline file, kept with the version.

    Raises:
        StorageError: the folder cannot be written.
    """
    folder = datasets / spec.name
    partial = None
    try:
        partial = leftovers.making(folder, "version")
        (partial / ".synth").mkdir()
        manifest = _write(rows, spec, journal, partial) | dict(origin)
        return _appear(folder, partial, manifest, pipeline_text)
    except OSError as error:
        written = disk.size(partial) if partial else 0
        raise disk.failed(folder, error, "cannot write the version in", written) from error
    finally:
        if partial:
            shutil.rmtree(partial, ignore_errors=True)


def _write(rows: Spool, spec: DatasetSpec, journal: Journal, partial: Path) -> dict[str, Any]:
    """Write the data files; returns the part of the manifest that they decide."""
    test = held_back(rows.roots(), spec.test_fraction)
    judges, counts = Judges(), {name: Counts() for name in spec.views}
    known = Statistics()
    with ExitStack() as files:
        roots = files.enter_context(Seen())
        lineage = files.enter_context(_Table(partial / ".synth" / "lineage.parquet", LINEAGE))
        tables = {
            (name, split): files.enter_context(_Table(_data(partial, name, split), view.columns))
            for name, view in spec.views.items()
            for split in SPLITS
        }
        for row in rows:
            judges.add(row)
            known.add(row, is_first=roots.add(row.root))
            for line in _lineage(row):
                lineage.add(line)
            split = "test" if row.root in test else "train"
            for name, view in spec.views.items():
                counts[name].add(view.shown(row), split, tables[name, split])
    crash.here("version.tables")
    _write_dropped(journal, partial)
    statistics.write(known, {step: account.note for step, account in journal.accounts.items()}, partial)
    views = {name: _view(name, counts[name], spec.views[name], tables, partial) for name in spec.views}
    content = {"license": spec.license, "views": {name: view["content"] for name, view in views.items()}}
    return {
        "id": hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        "name": spec.name,
        "license": spec.license,
        "rows": len(rows),
        "views": views,
        "judges": judges.as_json(),
    }


def held_back(roots: list[str], fraction: float) -> set[str]:
    """The root prompts of the test split: the ⌈fraction · n⌉ with the lowest digest. `roots` is sorted.

    In exact arithmetic on the decimal that the file says: 0.07 of 100 is 7, where floats make it 8.
    """
    return set(roots[: math.ceil(Fraction(str(fraction)) * len(roots))])


def _view(
    name: str, counts: Counts, view: View, tables: Mapping[tuple[str, str], "_Table"], partial: Path
) -> dict[str, Any]:
    """What the manifest says of a view. A split without rows has no file: `datasets` reads none."""
    splits = [split for split in SPLITS if counts.rows[split]]
    for split in set(SPLITS) - set(splits):
        _data(partial, name, split).unlink()
    return {
        "rows": {split: counts.rows[split] for split in splits},
        "left_out": dict(sorted(counts.left_out.items())),
        "content": {
            "columns": [[column.name, str(column.type)] for column in view.columns],
            "splits": {split: tables[name, split].digest() for split in splits},
        },
    }


def _data(folder: Path, view: str, split: str) -> Path:
    return folder / "data" / view / f"{split}-00000-of-00001.parquet"


def _lineage(row: Row) -> Iterator[dict[str, str]]:
    """The calls behind every part of `row`."""
    about = {"row": row.id, "root": row.root}
    for call in row.calls:
        yield about | {"part": "prompt", "step": "", "call": call}
    for number, answer in enumerate(row.answers):
        for call in answer.calls:
            yield about | {"part": f"answer {number}", "step": answer.step, "call": call}
    for judgment in row.judgments:
        part = f"judgment of {' and '.join(map(str, judgment.order))}"
        for call in judgment.calls:
            yield about | {"part": part, "step": judgment.step, "call": call}


def _write_dropped(journal: Journal, partial: Path) -> None:
    with _Table(partial / ".synth" / "dropped.parquet", DROPPED) as table:
        for fate in journal.dropped():
            table.add({name: getattr(fate, name) for name in DROPPED.names})


def _appear(folder: Path, partial: Path, manifest: dict[str, Any], pipeline_text: str) -> Version:
    """Give the folder its name and let it appear; or find the version of the same content."""
    crash.here("version.data")
    known = versions(folder)
    for version in known:
        if version.id == manifest["id"]:
            return version
    number = 1 + max((int(NAME.fullmatch(version.name)[1]) for version in known), default=0)  # type: ignore[index]
    name = f"v{number}-{manifest['id'][:12]}"
    (partial / ".synth" / "pipeline.yaml").write_text(pipeline_text, encoding="utf-8")
    manifest = {"version": name, "parent": known[-1].name if known else None} | manifest
    text = card.write(manifest, statistics.read(partial), pipeline_text)
    (partial / "README.md").write_text(text, encoding="utf-8")
    manifest["files"] = {str(path.relative_to(partial)): assets.digest(path) for path in _files(partial)}
    (partial / ".synth" / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    crash.here("version.manifest")
    for path in (*_files(partial), *_folders_in(partial)):
        _sync(path)
    crash.here("version.synced")
    partial.rename(folder / name)
    crash.here("version.renamed")
    _sync(folder)
    return Version(folder / name, manifest, is_new=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _folders_in(folder: Path) -> list[Path]:
    """`folder` and those in it: a file's name is on disk once its folder is."""
    return [folder, *(path for path in folder.rglob("*") if path.is_dir())]


def _sync(path: Path) -> None:
    """Have what is written to `path` on disk before going on."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Table:
    """A Parquet file that is written in batches, and the digest of its rows as canonical JSON."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._batch: list[dict[str, Any]] = []
        self._hash = hashlib.sha256()

    def add(self, line: dict[str, Any]) -> None:
        """Write `line`."""
        self._hash.update(orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
        self._batch.append(line)
        if len(self._batch) == BATCH:
            self._flush()

    def digest(self) -> str:
        """SHA-256 of the rows, hex."""
        return self._hash.hexdigest()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._batch, schema=self._schema))
        self._batch = []

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()
