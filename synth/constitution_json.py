"""Principles from JSON: with our own keys, or in the two forms in which the paper's are published.

Bai et al. 2022, "Constitutional AI" (arXiv:2212.08073), ``anthropics/ConstitutionalHarmlessnessPaper``: an
object of ``{prompt: [critique request], edit_request: revision request}`` for the supervised stage, a list of
questions that end with ``Options:`` for the judging. Those files have no licence, so none comes with synth; a
user who has them can load them as they are. The marks around a wording, such as ``CritiqueRequest:``, are
left off, since a prompt file says where it stands.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from synth import transcript
from synth.errors import unknown

Parts = dict[str, str]
KEYS = ("id", "text", "critique", "revise", "judge", "weight")

_ASKED = re.compile(r"\s*(?:CritiqueRequest|RevisionRequest):\s*(.*?)\s*(?:Critique|Revision):\s*", re.DOTALL)
_OPTIONS = re.compile(r"\s*Options:\s*\Z")


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys it had twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.twice = sorted({key for key in keys if keys.count(key) > 1})


def read(text: str) -> tuple[list[Parts], list[str]]:
    """The principles in `text`, each by its keys with "" for its text, and what is wrong with them.

    Raises:
        json.JSONDecodeError: it is not JSON.
    """
    value = json.loads(text, object_pairs_hook=_Object)
    if not isinstance(value, list | _Object):
        return [], [f"expected a list or an object of principles, found {_shown(value)}"]
    named = list(value.items() if isinstance(value, _Object) else enumerate(value, start=1))
    wrong = [f"{key!r} is there twice" for key in getattr(value, "twice", ())]
    wrong += [f"principle {name!r}: {mistake}" for name, entry in named for mistake in _wrong(entry)]
    if wrong:
        return [], wrong
    return [{"id": name if isinstance(name, str) else ""} | _parts(entry) for name, entry in named], []


def _parts(entry: Any) -> Parts:
    """One principle by its keys; there is nothing wrong with it."""
    if isinstance(entry, str):
        return _question(entry) if _OPTIONS.search(entry) else {"": _line(entry)}
    if "edit_request" in entry:
        [critique] = [entry["prompt"]] if isinstance(entry["prompt"], str) else entry["prompt"]
        revise = _asked(entry["edit_request"])
        return {"": revise, "critique": _asked(critique), "revise": revise}
    return {"" if key == "text" else key: _line(str(value)) for key, value in entry.items()}


def _wrong(entry: Any) -> Iterator[str]:
    """What is wrong with one principle."""
    match entry:
        case str():
            if transcript.parse(entry):
                yield "a transcript is no principle; is this a file of examples?"
            elif not _is_utf8(entry):
                yield "it holds half a character"
        case {"prompt": str() | [str()], "edit_request": str(), **rest} if not rest:
            return
        case {"prompt": _} | {"edit_request": _}:
            yield "expected a prompt, which is one critique request, an edit_request, and nothing else"
        case _Object():
            yield from _wrong_keys(entry)
        case _:
            yield f"expected a text or an object, found {_shown(entry)}"


def _wrong_keys(entry: _Object) -> Iterator[str]:
    """What is wrong with an object of our own keys."""
    yield from (f"{key!r} is there twice" for key in entry.twice)
    for key, value in entry.items():
        if key not in KEYS:
            yield unknown("key", key, KEYS)
        elif key == "weight" and isinstance(value, bool | list | dict | None):
            yield f"weight: expected a positive number, found {_shown(value)}"
        elif key != "weight" and not isinstance(value, str):
            yield f"{key}: expected a text, found {_shown(value)}"
        elif isinstance(value, str) and not _is_utf8(value):
            yield f"{key}: it holds half a character"


def _question(text: str) -> Parts:
    """What a judge is asked, of which the principle itself says no more."""
    said = _line(_OPTIONS.sub("", text))
    return {"": said, "judge": said}


def _asked(text: str) -> str:
    found = _ASKED.fullmatch(text)
    return _line(found[1] if found else text)


def _line(text: str) -> str:
    return " ".join(text.split())


def _is_utf8(text: str) -> bool:
    """False for half a character, which JSON can spell and no request can hold."""
    return text == text.encode("utf-8", "replace").decode()


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]
