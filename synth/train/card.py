"""The README.md of a trained model: what it was made from, how, and what was measured on the way."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import orjson

_LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def card(about: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """The card of the model that `about` describes (see `synth.train.run`), as Markdown for the Hub."""
    base, dataset = about["base"], about["dataset"]
    made_from = {
        "base model": base["name"],
        "base digest": base["digest"],
        "dataset": f"{dataset['name']} {dataset['version']}",
        "dataset id": dataset["id"],
        "training key": about["key"],
    }
    sections = {
        "Made from": made_from,
        "Settings": about["settings"],
        "Rows": {name: value for name, value in metrics.items() if not isinstance(value, dict)},
        "Libraries": {name: version(name) for name in _LIBRARIES},
    }
    parts = [_front(about), f"# {dataset['name']}: {about['kind']}", _warning(metrics)]
    parts += [f"## {title}\n\n{_table(('', ''), fields.items())}" for title, fields in sections.items()]
    parts.append(f"## Training metrics\n\n{_logs(metrics)}\n\nThe whole history is in `metrics.json`.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _front(about: Mapping[str, Any]) -> str:
    """The block that the Hub reads. A name that is no repository's would be refused there."""
    lines = ["library_name: transformers", f"tags: [synth, trl, {about['kind']}]"]
    if _HUB_NAME.fullmatch(about["base"]["name"]):
        lines.append(f"base_model: {about['base']['name']}")
    return "\n".join(["---", *lines, "---"])


def _warning(metrics: Mapping[str, Any]) -> str:
    """A sentence about rows that were cut or left out, if there are any."""
    cut, left_out = metrics["truncated"], metrics["rows"] - metrics["trained"]
    if not cut and not left_out:
        return ""
    return (
        f"**{cut} of {metrics['rows']} rows were longer than `max_length`; {left_out} rows were left out.** "
        "Of the others that were too long, the end was cut."
    )


def _logs(metrics: Mapping[str, Any]) -> str:
    first, last = metrics["first"], metrics["last"]
    rows = ((name, f"{first[name]:.4g} | {last.get(name, first[name]):.4g}") for name in first)
    return _table(("metric", "first entry | last entry"), rows)


def _table(head: tuple[str, str], rows: Any) -> str:
    columns = 1 + head[1].count("|") + 1
    lines = [f"| {head[0]} | {head[1]} |", "|" + "---|" * columns]
    return "\n".join([*lines, *(f"| {name} | {_cell(value)} |" for name, value in rows)])


def _cell(value: Any) -> str:
    """A value of a setting, which is text that somebody else wrote, or numbers already in columns."""
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w.+-]+ \| [\w.+-]+", value) else f"`{_plain(value)}`"
    return orjson.dumps(value).decode()


def _plain(text: str) -> str:
    return re.sub(r"[`|\s]+", " ", text)
