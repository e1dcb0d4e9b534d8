"""A component's name is its file's name: ``critique_revise`` is synth/methods/critique_revise.py.

No list of components is kept anywhere. Somebody else's come by entry points (groups ``synth.steps``,
``synth.providers``, ``synth.views``), or by a dotted name in a pipeline: ``my_package.my_step``. The latter
runs code that the pipeline names, so it wants ``--allow-code`` and a file inside the project.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from synth.errors import UserError, unknown

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Group:
    """A kind of component: the word for it, the folders of ours, the entry points of others'."""

    word: str
    folders: tuple[str, ...]
    entry_points: str


STEPS = Group("step", ("synth.sources", "synth.methods", "synth.filters"), "synth.steps")
PROVIDERS = Group("provider", ("synth.providers",), "synth.providers")
VIEWS = Group("view", ("synth.store.views",), "synth.views")
TRAININGS = Group("training", ("synth.trainings",), "synth.trainings")


def names(group: Group) -> Mapping[str, str]:
    """The module of every component of `group`, by the component's name."""
    ours = {
        info.name: f"{folder}.{info.name}"
        for folder in group.folders
        for info in pkgutil.iter_modules(importlib.import_module(folder).__path__)
    }
    return {**_offered(group.entry_points), **ours}


@cache
def _offered(entry_point_group: str) -> Mapping[str, str]:
    """What installed packages offer, looked up once: that reads the metadata of every one of them."""
    return {point.name: point.module for point in entry_points(group=entry_point_group)}


def find(kind: type[Part], name: str, group: Group, project: Path | None = None) -> type[Part]:
    """The one `kind` that the file called `name` defines.

    Args:
        project: the folder whose code may be run by a dotted name; None to run none.

    Raises:
        UserError: no such file, code that may not be run, or not exactly one `kind` in it.
    """
    path = names(group).get(name)
    if path is None and "." in name:
        path = _theirs(name, project)
    if path is None:
        raise UserError(unknown(group.word, name, names(group)))
    module = _imported(path, is_ours=path in names(group).values())
    found: list[type[Part]] = [
        part for part in vars(module).values() if _is(part, kind) and part.__module__ == path
    ]
    if len(found) != 1:
        raise UserError(f"{path} must define exactly one {kind.__name__}, it defines {len(found)}")
    return found[0]


def _imported(path: str, *, is_ours: bool) -> ModuleType:
    """The module `path`. What goes wrong in somebody else's is theirs to mend, and said as that.

    Raises:
        UserError: theirs cannot be imported.
    """
    if is_ours:
        return importlib.import_module(path)
    try:
        return importlib.import_module(path)
    except Exception as error:
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


def _is(part: object, kind: type[Part]) -> bool:
    return inspect.isclass(part) and issubclass(part, kind) and not inspect.isabstract(part)


def _theirs(name: str, project: Path | None) -> str:
    """`name` if it is a module inside `project`.

    Raises:
        UserError: it is not, or running code was not allowed.
    """
    if project is None:
        raise UserError(f"{name!r} is Python code of yours; run it with --allow-code if you trust it")
    file = project.joinpath(*name.split(".")).with_suffix(".py")
    if not file.is_file() or not file.resolve().is_relative_to(project.resolve()):
        raise UserError(f"no module {name!r} inside the project folder {project}")
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    return name
