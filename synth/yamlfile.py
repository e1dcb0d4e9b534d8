"""YAML 1.2 with positions: every value can be told by line and column, and nothing in a file is executed.

Tags, anchors and duplicate keys are refused; a file is small and flat, or refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.reader import ReaderError

from synth.errors import Problem, UserError

MOST_BYTES = 1_000_000
MOST_DEPTH = 12

Path_ = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file's values, and where they stand."""

    path: Path
    text: str
    values: Any
    _nodes: Any

    def problem(self, message: str, at: Path_ = (), *, on_value: bool = True) -> Problem:
        """`message`, with the place of the value (or of its key) that is reached by the keys `at`."""
        line, column = self._place(at, on_value=on_value)
        return Problem(message, str(self.path), line, column)

    def _place(self, at: Path_, *, on_value: bool) -> tuple[int, int]:
        node, place = self._nodes, (0, 0)
        for key in at:
            try:
                is_last_key = not on_value and key == at[-1]
                finder = (
                    node.lc.item if isinstance(key, int) else (node.lc.key if is_last_key else node.lc.value)
                )
                place = finder(key)
                node = node[key]
            except (KeyError, IndexError, AttributeError, TypeError):
                break  # the value is not in the file: its parent's place stands
        return place[0] + 1, place[1] + 1


def read(path: Path) -> YamlFile:
    """The file at `path`.

    Raises:
        UserError: it cannot be read, is no YAML, or uses what is refused; with its place.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Problem(f"cannot be read as UTF-8 text: {error}", str(path))) from error
    if len(content) > MOST_BYTES:
        raise UserError(Problem(f"larger than {MOST_BYTES:,} bytes", str(path)))
    try:
        refused = _refused(text, path)
        if refused:
            raise UserError(refused)
        nodes = YAML(typ="rt").load(text)
        return YamlFile(path, text, YAML(typ="safe", pure=True).load(text), nodes)
    except DuplicateKeyError as error:
        key = str(error.problem).split('"')[1]
        raise UserError(_marked(f"duplicate key {key!r}", path, error)) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(Problem(f"not YAML: character {error.character!r}", str(path), line)) from error
    except MarkedYAMLError as error:
        raise UserError(_marked(f"not YAML: {error.problem or error.context}", path, error)) from error


def _marked(message: str, path: Path, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    return (
        Problem(message, str(path), mark.line + 1, mark.column + 1) if mark else Problem(message, str(path))
    )


def _refused(text: str, path: Path) -> list[Problem]:
    """What the file uses and may not: found in the events, before anything is built from them."""
    problems, depth = [], 0
    for event in YAML(typ="safe", pure=True).parse(text):
        what = None
        if isinstance(event, NodeEvent) and event.anchor is not None:
            what = "anchors and aliases are not read; write the value out"
        elif getattr(event, "ctag", None) is not None and str(event.ctag):
            what = f"tags are not read, found {str(event.ctag)!r}"
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MOST_DEPTH:
            what = f"nested deeper than {MOST_DEPTH} levels"
        if what:
            mark = event.start_mark
            problems.append(Problem(what, str(path), mark.line + 1, mark.column + 1))
        if depth > MOST_DEPTH:
            break
    return problems
