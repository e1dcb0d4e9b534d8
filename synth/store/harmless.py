"""Harmless: whether a row's source says that its prompt asks for nothing harmful."""

from synth.rows import Row

COLUMN, CATEGORY = "harmless", "category"


def is_harmless(row: Row) -> bool:
    """Whether the source has ``"harmless": true`` or ``"category": "harmless"`` for the prompt of `row`."""
    return row.facts.get(COLUMN) is True or row.facts.get(CATEGORY) == COLUMN
