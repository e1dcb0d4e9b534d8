"""What a name in a pipeline file finds in the facts of a row: one rule, wherever such a name stands."""

from typing import Any

import pytest

from synth.columns import at
from synth.filters.curate import Curate
from synth.rows import Answer, Message, sourced
from synth.store.views import LeftOut
from synth.store.views.sft import Sft

FACTS: dict[str, Any] = {
    "source": "stem",
    "meta": {"score": 1, "post": {"score": 2}, "a.b": 3},
    "meta.score": 4,
    "none": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("source", "stem"),
        ("meta.post.score", 2),
        ("meta.a.b", 3),
        ("meta.score", 4),
        ("none", None),
        ("none.more", None),
        ("source.more", None),
        ("meta.post.score.more", None),
        ("", None),
        (".", None),
    ],
)
def test_a_name_finds_what_lies_at_any_depth_and_a_column_with_dots_first(path: str, found: Any) -> None:
    assert at(FACTS, path) == found


@pytest.mark.parametrize(("path", "found"), [("meta.post.score", 2), ("meta.score", 4)])
def test_a_filter_and_a_view_find_the_same(path: str, found: int) -> None:
    row = sourced([Message("user", "Why?")], 0, FACTS).answered(Answer("So."))
    passes, fails = (Curate(score=path, least_score=least) for least in (found, found + 1))
    assert (passes._reason_unfit(row), fails._reason_unfit(row)) == (None, "low_score")
    assert not isinstance(next(Sft(where={path: found}).shown(row)), LeftOut)
    assert next(Sft(where={path: found + 1}).shown(row)) == LeftOut("not_picked")
