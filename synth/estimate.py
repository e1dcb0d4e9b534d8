"""About how many rows and calls a pipeline will see, by its steps' own formulas: for plans and time left.

Tokens are estimated from real prompts, as far as rows reach without a call: a token for four letters. An
answer is taken to be at least as long as the mean of those found, if there are any, and at most as long as
its step allows. Of a step that no row reaches before a call is missing, no tokens are known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from synth.models.base import Provider, Usage
from synth.models.client import Tally
from synth.pipeline import Pipeline
from synth.run import Watch


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do in one step. `found` is exact; the rest is by the step's own formulas.

    Attributes:
        prompt: tokens of the prompts of what is to be bought; None if nothing is known of them.
        least, most: tokens of the answers.
        usd: what that costs, at least and at most, in US dollars; None if it is not known.
    """

    step: str
    model: str
    rows: float
    calls: float
    found: int
    to_buy: float
    prompt: float | None = None
    least: float = 0.0
    most: float = 0.0
    usd: tuple[float, float] | None = None


def calls(pipeline: Pipeline, limit: int | None) -> float:
    """About how many calls a run of `pipeline` asks for, found or bought."""
    return sum(count for _, count in _expected(pipeline, limit).values())


def forecast(pipeline: Pipeline, watch: Watch, limit: int | None) -> list[Forecast]:
    """What a run would do, step by step, after the ledger was followed as far as it reaches in `watch`.

    Where no row waits for a call, here and in the steps before, there is nothing to buy, whatever the
    formulas say.
    """
    waiting: set[str] = set()
    forecasts = []
    for step in pipeline.steps:
        rows, count = _expected(pipeline, limit)[step.id]
        if watch.accounts[step.id].waiting or waiting & set(step.from_):
            waiting.add(step.id)
        found = sum(tally.found for (by, _), tally in watch.tallies.items() if by == step.id)
        to_buy = max(count - found, 0.0) if step.id in waiting else 0.0
        tallies = {model: tally for (by, model), tally in watch.tallies.items() if by == step.id}
        models = {name: pipeline.providers[name] for name in step.models_used()}
        worth = _worth(to_buy, tallies, models)
        forecasts.append(Forecast(step.id, ", ".join(models), rows, count, found, to_buy, *worth))
    return forecasts


_Worth = tuple[float | None, float, float, tuple[float, float] | None]


def _worth(to_buy: float, tallies: Mapping[str, Tally], models: Mapping[str, Provider]) -> _Worth:
    """Tokens and US dollars of `to_buy` calls, which the models share as they share those that are known."""
    if not to_buy:
        return 0.0, 0.0, 0.0, (0.0, 0.0)
    known = {model: tally for model, tally in tallies.items() if tally.missing or tally.found}
    if not known:
        return None, 0.0, 0.0, None
    of = sum(tally.missing + tally.found for tally in known.values())
    prompt = least = most = 0.0
    usd: list[tuple[float, float]] = []
    for model, tally in known.items():
        calls = to_buy * (tally.missing + tally.found) / of
        a_prompt, at_least, at_most = _a_call(tally)
        prompt, least, most = prompt + calls * a_prompt, least + calls * at_least, most + calls * at_most
        costs = [models[model].cost_usd(Usage(round(a_prompt), round(each))) for each in (at_least, at_most)]
        usd.append(tuple(inf if cost is None else calls * cost for cost in costs))  # type: ignore[arg-type]
    return prompt, least, most, _sum(usd)


def _a_call(tally: Tally) -> tuple[float, float, float]:
    """Tokens of a call's prompt, and of its answer at least and at most."""
    if not tally.missing:
        answer = tally.found_completion / tally.found
        return tally.found_prompt / tally.found, answer, answer
    at_most = tally.missing_most / tally.missing
    at_least = min(at_most, tally.found_completion / tally.found) if tally.found else 0.0
    return tally.missing_prompt / tally.missing, at_least, at_most


def _sum(usd: Iterable[tuple[float, float]]) -> tuple[float, float] | None:
    """All together; None if one of them is not known."""
    low, high = (sum(values) for values in zip(*usd, strict=True))
    return None if high == inf else (low, high)


def _expected(pipeline: Pipeline, limit: int | None) -> dict[str, tuple[float, float]]:
    """About how many rows and calls each step will see, by the formulas of the steps themselves."""
    seen: dict[str, tuple[float, float]] = {}
    out: dict[str, float] = {}
    for step in pipeline.steps:
        rows = sum(out[name] for name in step.from_)
        after = step.rows_out(rows, pipeline.folder)
        if step.makes:
            rows = after = min(after, limit or after)
        out[step.id] = after
        seen[step.id] = rows, step.calls(rows)
    return seen
