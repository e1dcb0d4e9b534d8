"""Columns: what a pipeline file names in the facts of a row."""

from collections.abc import Mapping
from typing import Any


def at(facts: Mapping[str, Any], path: str) -> Any:
    """What `facts` hold at `path`, None if nothing.

    ``source`` is a column, ``curate.place`` what a step noted; as many dots as there are levels. A column
    with dots in its own name comes first.
    """
    if path in facts:
        return facts[path]
    first, dot, rest = path.partition(".")
    inner = facts.get(first) if dot else None
    return at(inner, rest) if isinstance(inner, Mapping) else None
