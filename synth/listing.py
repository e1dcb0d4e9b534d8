"""What there is: components by name, files to edit, versions and models."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from synth import assets, registry
from synth.models.base import Provider
from synth.models.embedded import weights
from synth.project import Project
from synth.registry import Group
from synth.step import Step
from synth.store import version
from synth.store.views import View
from synth.train.base import Training

Line = tuple[str, str, str]
KINDS: tuple[assets.Kind, ...] = ("constitutions", "seeds", "pipelines")
COMPONENTS: tuple[tuple[type[Any], Group], ...] = (
    (Step, registry.STEPS),
    (Provider, registry.PROVIDERS),
    (View, registry.VIEWS),
    (Training, registry.TRAININGS),
)


def show(project: Project, console: Console) -> None:
    """Print all of it, a line each."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for word, name, about in [*_components(), *_assets(), *_results(project)]:
        table.add_row(word, Text(name), Text(about))
    console.print(table)


def _components() -> Iterator[Line]:
    for kind, group in COMPONENTS:
        for name in sorted(registry.names(group)):
            yield group.word, name, (inspect.getdoc(registry.find(kind, name, group)) or "").splitlines()[0]


def _assets() -> Iterator[Line]:
    """Files of the user's, and ours that none of theirs replaces."""
    for folder in KINDS:
        own = {path.stem: path for path in (Path.cwd() / folder).glob("*.*")}
        ours = {path.stem: path for path in assets.shipped(folder).glob("*.*")}
        for name, path in sorted((ours | own).items()):
            yield folder, name, str(path)


def _results(project: Project) -> Iterator[Line]:
    for dataset in sorted(project.datasets.glob("*")):
        for made in version.versions(dataset):
            yield "dataset", f"{dataset.name}/{made.name}", f"{made.manifest['rows']} rows"
    for path in sorted(project.folder.glob("models/*/*/config.json")):
        yield "model", path.parent.name, str(path.parent.relative_to(project.folder))
    for path in sorted((weights.home() / "models").glob("*")):
        yield "fetched", path.name, ""
