"""Answers made from a hash: no model, no chance and no clock, the same on every machine.

For the scripted provider and for tests. The text means nothing; its form is what a model would
return: words, a numbered list of tasks, a verdict with its log-probabilities, JSON for a schema.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from synth.models.base import Token

_VERBS = """
    Explain Compare Rewrite Summarise Invent Recommend Translate Criticise Rank Describe Outline Defend
    Question Shorten Classify Estimate Plan Name Correct Expand Sketch Evaluate Paraphrase Schedule
""".split()  # noqa: SIM905 - a hundred lines shorter than a list
_WORDS = """
    amber anchor apricot autumn bakery balcony barley basket beacon bicycle birch blanket bridge bronze
    butter cabin candle canyon carpet castle cedar cellar chalk cherry chimney cider cinnamon citadel
    clover coast comet copper coral cotton cradle cricket crystal curtain dairy desert dolphin drum
    eagle ember engine falcon feather fern ferry fiddle flint forest fountain galaxy garden garlic
    ginger glacier granite grove hammer harbour harvest hazel hedge helmet heron honey island ivory
    jacket jasmine jungle kettle ladder lagoon lantern lemon library lilac linen lobster magnet maple
    marble market meadow melon mirror mountain museum mustard needle nettle oak ocean olive onion
    orchard orchid otter oyster paddle parsley pebble pepper pigeon pillow planet plaza pocket pond
    poppy portrait prairie pumpkin quarry quilt rabbit raven ribbon river rocket rose saddle saffron
    sailor salmon saturn shadow shelter silver sparrow spruce station stone summer sunset swan teapot
    temple thistle thunder timber tower tractor tulip tunnel turnip valley velvet vessel village violin
    walnut water willow window winter yarrow
""".split()  # noqa: SIM905 - a hundred lines shorter than a list
_VERDICTS = ("A", "B")
_LIST_END = re.compile(r"(?:^|\n)[ \t]*(\d{1,6})\.\s*$")


def text(seed: str, least: int = 8, most: int = 30) -> str:
    """One sentence of `least` to `most` words."""
    count = least + _draw(seed, "length") % (most - least + 1)
    return " ".join(_pick(_WORDS, seed, place) for place in range(count)).capitalize() + "."


def instruction(seed: str) -> str:
    """A task of ten words. Two of them share little but their small words."""
    noun = [_pick(_WORDS, seed, place) for place in range(6)]
    verb = _pick(_VERBS, seed, "verb")
    return f"{verb} the {noun[0]} {noun[1]} for a {noun[2]} {noun[3]}, with {noun[4]} and {noun[5]}."


def list_start(prompt: str) -> int | None:
    """The number that `prompt` ends with, if its last line is ``<number>.``; None otherwise."""
    found = _LIST_END.search(prompt)
    return int(found[1]) if found else None


def numbered(seed: str, first: int, count: int = 8) -> str:
    """`count` tasks, going on from a prompt that ends with ``<first>.``."""
    tasks = [instruction(f"{seed}:{number}") for number in range(first, first + count)]
    lines = [f" {tasks[0]}"]
    lines += [f"{number}. {task}" for number, task in enumerate(tasks[1:], first + 1)]
    return "\n".join(lines)


def cut(whole: str, max_tokens: int, stop: Sequence[str] = ()) -> tuple[str, str]:
    """`whole` as far as a model may go, and its finish. A word counts as one token."""
    ends = [place for mark in stop if mark and (place := whole.find(mark)) >= 0]
    whole = whole[: min(ends)] if ends else whole
    words = pieces(whole)
    return ("".join(words[:max_tokens]), "length") if len(words) > max_tokens else (whole, "stop")


def pieces(whole: str) -> list[str]:
    """`whole` in words that carry the space before them; joined they are `whole`."""
    return re.findall(r"\s*\S+|\s+", whole)


def tokens(seed: str, whole: str, top: int = 0) -> tuple[Token, ...]:
    """`whole` with log-probabilities, and `top` alternatives for each token, its own the first."""
    return tuple(_token(f"{seed}:{place}", word, top) for place, word in enumerate(pieces(whole)))


def verdict(seed: str, top: int) -> Token:
    """A or B, the likelier one; the two share 0.97 of the probability."""
    p_first = 0.02 + 0.96 * _fraction(seed, "verdict")
    both = dict(zip(_VERDICTS, (0.97 * p_first, 0.97 * (1 - p_first)), strict=True))
    chosen = max(both, key=both.__getitem__)
    ranked = [*sorted(both.items(), key=lambda pair: -pair[1]), (" A", 0.001), (" B", 0.0005)]
    return Token(chosen, math.log(both[chosen]), {word: math.log(p) for word, p in ranked[:top]})


def json_text(seed: str, schema: Mapping[str, Any]) -> str:
    """JSON that fits a simple `schema`: types, enum, const, anyOf, $ref, bounds; no patterns or formats."""
    return orjson.dumps(_value(seed, schema, schema)).decode()


def _value(seed: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(seed, _definition(schema["$ref"], root), root)
    if "const" in schema:
        return schema["const"]
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return _value(seed, _pick(schema[choices], seed, choices), root)
    if "enum" in schema:
        return _pick(schema["enum"], seed, "enum")
    return _typed(seed, schema, root)


def _typed(seed: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind if isinstance(kind, str) else kind[0]:
        case "object":
            fields = schema.get("properties", {}).items()
            return {name: _value(f"{seed}.{name}", field, root) for name, field in fields}
        case "array":
            return list(_members(seed, schema, root))
        case "integer" | "number" as number:
            return _number(seed, schema, whole=number == "integer")
        case "boolean":
            return bool(_draw(seed, "boolean") % 2)
        case "null":
            return None
        case _:
            return text(seed, least=3, most=8)


def _members(seed: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Any]:
    least = schema.get("minItems", 1)
    for place in range(min(max(least, 2), schema.get("maxItems", 2))):
        yield _value(f"{seed}[{place}]", schema.get("items", {}), root)


def _number(seed: str, schema: Mapping[str, Any], *, whole: bool) -> float:
    low: float = schema.get("minimum", 0)
    high: float = schema.get("maximum", low + 10)
    if whole:
        return int(low) + _draw(seed, "integer") % (int(high) - int(low) + 1)
    return round(low + (high - low) * _fraction(seed, "number"), 3)


def _definition(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _token(seed: str, word: str, top: int) -> Token:
    logprob = math.log(0.5 + 0.5 * _fraction(seed, "logprob"))
    others = {f" {_pick(_WORDS, seed, place)}": logprob - 1 - place for place in range(top - 1)}
    return Token(word, logprob, ({word: logprob} | others) if top else {})


def _pick(options: Sequence[Any], seed: str, place: object) -> Any:
    return options[_draw(seed, place) % len(options)]


def _fraction(seed: str, place: object) -> float:
    """In [0, 1)."""
    return _draw(seed, place) / 2**64


def _draw(seed: str, place: object) -> int:
    return int.from_bytes(sha256(f"{seed}|{place}".encode()).digest()[:8])
