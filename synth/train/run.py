"""One training: found if it was made before, made in a process of its own if not.

A trained model is a function of the dataset's version, the base's content, the settings and the code in
this folder. Their digest names its folder, which appears whole or not at all.
"""

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet

from synth import crash, leftovers
from synth.errors import SynthError, UserError
from synth.models.embedded.weights import locate
from synth.train.base import Training
from synth.train.child import listen

Progress = Callable[[int, int, Mapping[str, float]], None]

# Code that measures models after the fact and makes none.
_MEASURES = frozenset({"held_out.py", "scoring.py", "intervals.py"})
# Names that mean nothing to the weights: the base is in the key by its content.
_NAMES = frozenset({"id", "base", "from_"})
_EXTRA = ("torch", "transformers", "trl", "peft", "accelerate")


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        path: its folder, a plain checkpoint with `metrics.json`, `training.json` and a card.
        kind: ``sft``, ``dpo``, ``reward``.
        key: what it is a function of, 64 hex digits.
        reused: whether it was there already, so that nothing was computed.
        metrics: the summary in `metrics.json`: how the rows fit into `max_length`, steps, seconds,
            and the first and last entry of the log.
    """

    path: Path
    kind: str
    key: str
    reused: bool
    metrics: Mapping[str, Any]


def key(training: Training, version_id: str, base_digest: str) -> str:
    """The digest of all that the trained weights depend on, 64 hex digits."""
    settings = training.model_dump(mode="json", exclude=set(_NAMES))
    parts = [version_id, base_digest, training.kind, settings, code_digest(training)]
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def code_digest(training: Training) -> str:
    """The digest of the source in this folder, and of the file that `training` is in, wherever that is."""
    own = importlib.util.find_spec(type(training).__module__)
    files = {file for file in Path(__file__).parent.glob("*.py") if file.name not in _MEASURES}
    if own and own.origin:
        files.add(Path(own.origin))
    # Line ends differ between checkouts.
    sources = {file.name: file.read_text(encoding="utf-8") for file in files}
    return sha256(orjson.dumps(sources, option=orjson.OPT_SORT_KEYS)).hexdigest()


def train(
    training: Training,
    version: Path,
    base: Path,
    out: Path,
    *,
    progress: Progress = lambda step, of, metrics: None,
    base_digest: str | None = None,
) -> Trained:
    """Train `base` on the dataset `version`, into a folder of `out` that is named after the key.

    Args:
        training: what to do.
        version: a dataset version's folder.
        base: a checkpoint's folder.
        out: where trained models are kept.
        progress: told the step, of how many, and the metrics that were logged at it.
        base_digest: what identifies the base, where its content is not to be read again.

    Raises:
        UserError: the data cannot be trained on, or the `train` extra is not installed.
        SynthError: the training failed; its log is in `out`.
    """
    about = describe(training, version, base, base_digest)
    folder = out / f"{training.kind}-{about['key'][:12]}"
    leftovers.sweep(out)
    if (metrics := finished(folder, about["key"])) is not None:
        return Trained(folder, training.kind, about["key"], True, metrics)
    files = train_files(training, version)
    check_installed()
    temporary = leftovers.making(out, folder.name)
    try:
        made = temporary / "model"
        spec = {"about": about, "training": portable(training), "base": str(base.resolve())}
        spec |= {"files": files, "out": str(made)}
        metrics = follow(spec, out / f"{folder.name}.log", progress)
        (made / "training.json").write_bytes(orjson.dumps(about, option=orjson.OPT_INDENT_2) + b"\n")
        publish(made, folder, about["key"])
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Trained(folder, training.kind, about["key"], False, metrics)


def describe(training: Training, version: Path, base: Path, base_digest: str | None) -> dict[str, Any]:
    """What the model will be made from: `training.json`, and what its card says."""
    manifest = read_manifest(version)
    digest = base_digest or locate(str(base)).digest
    settings = training.model_dump(mode="json", exclude=set(_NAMES)) | {"learning_rate": training.rate}
    return {
        "key": key(training, manifest["id"], digest),
        "kind": training.kind,
        # Of a path the last part: where it lay is nobody's business.
        "base": {"name": base_name(training, base), "digest": digest},
        "dataset": {name: manifest[name] for name in ("name", "version", "id")},
        "settings": settings,
    }


def base_name(training: Training, base: Path) -> str:
    """What the card calls the base: the Hub's name if it was given, else its folder's."""
    named = training.base or ""
    return named if named and not Path(named).exists() else base.name


def finished(folder: Path, wanted: str) -> dict[str, Any] | None:
    """The summary of the model in `folder` if it is the one that is `wanted`, else None."""
    try:
        about = orjson.loads((folder / "training.json").read_bytes())
        metrics = orjson.loads((folder / "metrics.json").read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return dict(metrics["summary"]) if about["key"] == wanted else None


def read_manifest(version: Path) -> dict[str, Any]:
    """The manifest of a dataset version."""
    try:
        return dict(orjson.loads((version / ".synth" / "manifest.json").read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{version} is no dataset version: it has no .synth/manifest.json") from None


def train_files(training: Training, version: Path) -> list[str]:
    """The Parquet files of the view's train split, once it is known that they can be trained on."""
    folder = version / "data" / training.view
    files = sorted(folder.glob("train-*.parquet"))
    if not folder.is_dir():
        views = ", ".join(sorted(path.name for path in (version / "data").glob("*"))) or "none"
        raise UserError(
            f"{training.name} learns from the {training.view} view, which {version.name} does not have "
            f"(views: {views}); add it to dataset.views"
        )
    rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
    if not rows:
        raise UserError(
            f"{training.name}: the train split of the {training.view} view of {version.name} is empty"
        )
    return [str(file.resolve()) for file in files]


def check_installed() -> None:
    """Refuse to start without the libraries. Imports none of them."""
    if missing := [name for name in _EXTRA if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"training needs {', '.join(missing)}, which is not installed; get it with: "
            "pip install 'synth-feedback[train]'"
        )


def portable(training: Training) -> dict[str, Any]:
    """`training` for another process."""
    kind = type(training)
    fields = training.model_dump(mode="json", by_alias=True)
    return {"module": kind.__module__, "class": kind.__qualname__, "fields": fields}


def follow(spec: Mapping[str, Any], log: Path, progress: Progress) -> dict[str, Any]:
    """Run the worker and pass its progress on; its summary."""
    for said in listen("synth.train.worker", spec, log):
        if "done" in said:
            return dict(said["done"])
        progress(said["step"], said["of"], said["metrics"])
    raise SynthError(f"the training ended without a result; its log is {log}")


def publish(made: Path, folder: Path, wanted: str) -> None:
    """Give the finished model its name. If another process was first, its model is as good as this one."""
    crash.here("training.saved")
    try:
        made.rename(folder)
    except OSError:
        if finished(folder, wanted) is None:
            shutil.rmtree(folder)
            made.rename(folder)
    crash.here("training.renamed")
