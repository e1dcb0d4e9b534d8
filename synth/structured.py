"""Structured output: JSON that fits a schema, or word that there is none; never a guess.

A provider that can constrain its output to a schema is told to. What comes back is validated; a reply with
words or a code fence around its JSON is repaired without a model; what still does not fit is asked for
again, a few times, each another call; a greedy model would say the same again, so a re-ask is sampled. A
schema is asked for in the words of a prompt too, so that a provider that cannot constrain has a chance.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from synth.errors import BadReply, bad_reply
from synth.models.base import Reply, schema_text
from synth.models.client import Model
from synth.rows import Message

ASKS = 2
REASK_TEMPERATURE = 0.5
_FENCED = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Told:
    """What a model said when it was asked for JSON.

    Attributes:
        value: the JSON, None if no reply could be read.
        reply: the last reply.
        calls: keys of all calls that were made for it.
        error: why there is no value, None if there is one.
    """

    value: Any
    reply: Reply
    calls: tuple[str, ...]
    error: BadReply | None = None


async def tell_json(
    model: Model, messages: Sequence[Message], schema: Mapping[str, Any], *, asks: int = ASKS, **fields: Any
) -> Told:
    """What `model` says as JSON that fits `schema`; a reply that cannot be read is told, not raised.

    Args:
        asks: how often to ask at most; every ask is another call with another key.
        fields: other fields of `Request`.

    Raises:
        RowError, ProviderError, NotBought: as `Model.ask`.
    """
    assert asks > 0
    if model.can("schema"):
        fields["schema"] = schema_text(schema)
    calls: tuple[str, ...] = ()
    for ask in range(asks):
        if ask and fields.get("temperature") == 0:
            fields["temperature"] = REASK_TEMPERATURE
        reply = await model.ask(messages, ask=ask, **fields)
        calls += (reply.key,)
        try:
            return Told(read_json(reply.text, schema), reply, calls)
        except BadReply as error:
            told = Told(None, reply, calls, error)
    return told


async def ask_json(
    model: Model, messages: Sequence[Message], schema: Mapping[str, Any], *, asks: int = ASKS, **fields: Any
) -> tuple[Any, Reply]:
    """As `tell_json`, for a step that can do nothing without the JSON.

    Raises:
        BadReply: no reply fitted; says what the last one was. Its call is in the ledger.
    """
    told = await tell_json(model, messages, schema, asks=asks, **fields)
    if told.error:
        raise told.error
    return told.value, told.reply


def closed(**properties: Any) -> dict[str, Any]:
    """JSON Schema of an object that has each of `properties`, schemas by name, and no other."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read_json(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON in `text` that fits `schema`: the whole text, or the one thing in it that does.

    Raises:
        BadReply: there is none, or there are several that differ, so that one would have to be guessed.
    """
    validator = Draft202012Validator(schema)
    fitting: list[Any] = []
    for part in _parts(text):
        try:
            value = json.loads(part, object_pairs_hook=_once, parse_constant=_no_number)
        except (ValueError, RecursionError):
            continue
        if validator.is_valid(value) and value not in fitting:
            fitting.append(value)
    if len(fitting) != 1:
        raise bad_reply(f"JSON that fits {schema_text(schema)}", text)
    return fitting[0]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys each stand once: of two values for one, none would be the model's word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(constant: str) -> float:
    """NaN and the infinities are no JSON, and fit between no bounds."""
    raise ValueError(f"{constant} is no number")


def _parts(text: str) -> Iterator[str]:
    """Where JSON may stand in `text`: alone, in code fences, or between the outermost brackets."""
    yield text
    yield from _FENCED.findall(text)
    for opening, closing in ("{}", "[]"):
        start, end = text.find(opening), text.rfind(closing)
        if 0 <= start < end:
            yield text[start : end + 1]
