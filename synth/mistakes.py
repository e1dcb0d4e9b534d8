"""Mistakes in a user's keys, in words: where, what would be right, what was found."""

from typing import Any

from pydantic import BaseModel

from synth.errors import unknown

At = tuple[str | int, ...]


def dotted(at: At) -> str:
    """A place as people write it: ``steps[2].rounds``."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in at).lstrip(".")


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "a text like {pattern}",
    "too_short": "at least {min_length} entry",
}


def sentence(mistake: Any, kind: type[BaseModel]) -> str:
    """A pydantic mistake in our words: what would be right, and what was found."""
    known = [info.alias or name for name, info in kind.model_fields.items()]
    if mistake["type"] == "extra_forbidden":
        return unknown("key", str(mistake["loc"][-1]), known)
    if mistake["type"] == "missing":
        return "missing; this key has no default"
    expected = _EXPECTED.get(mistake["type"])
    if expected is None:
        return f"{mistake['msg']}, found {mistake['input']!r}"
    return f"expected {expected.format(**mistake.get('ctx', {}))}, found {mistake['input']!r}"
