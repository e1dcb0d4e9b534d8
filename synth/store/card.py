"""The card: what a person reads of a version first, and what tells ``load_dataset`` where its views are."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from synth.store.told import told

TEMPLATE = Path(__file__).with_name("card.md")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def write(manifest: Mapping[str, Any], statistics: Mapping[str, Any], pipeline: str) -> str:
    """The text of README.md for a version with `manifest`, made by the pipeline file `pipeline`."""
    return _template().render(
        manifest,
        statistics=statistics,
        told=told,
        pipeline=pipeline,
        fence="`" * _longest_fence(pipeline),
        size=_size(manifest),
    )


def _longest_fence(text: str) -> int:
    """How many backticks a fence needs that `text` cannot close."""
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    return max(3, longest + 1)


def _size(manifest: Mapping[str, Any]) -> str:
    """The Hub's word for how many rows there are."""
    rows = max((sum(view["rows"].values()) for view in manifest["views"].values()), default=0)
    for most, word in (
        (1_000, "n<1K"),
        (10_000, "1K<n<10K"),
        (100_000, "10K<n<100K"),
        (1_000_000, "100K<n<1M"),
    ):
        if rows < most:
            return word
    return "1M<n<10M"
