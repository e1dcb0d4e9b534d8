"""What the tests of self-instruct, Alpaca and instances share: rows with their facts, and completions."""

from collections.abc import Callable
from typing import Any

import pytest

from synth.journal import Journal
from synth.rows import Row


def kept_rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """A list to which every row is added that a step lets go on."""
    kept: list[Row] = []
    usual = Journal.continued

    def continued(self: Journal, step: str, row: str, going: list[Row]) -> None:
        kept.extend(going)
        usual(self, step, row, going)

    monkeypatch.setattr(Journal, "continued", continued)
    return kept


def completion(text: str, finish: str = "stop") -> dict[str, Any]:
    """The body of a completion that says `text`."""
    choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    return {"id": "said", "object": "text_completion", "model": "made", "choices": [choice]}


def saying(*texts: str, finish: str = "stop") -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """What a server is to answer: `texts`, one each, and then its usual invention."""
    left = list(texts)
    return lambda body: completion(left.pop(0), finish) if left else None
