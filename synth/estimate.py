"""About how many rows and calls a pipeline will see, by its steps' own formulas: for plans and time left."""

from dataclasses import dataclass

from synth.pipeline import Pipeline
from synth.run import Watch


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do in one step. `found` is exact; the rest is by the step's own formulas."""

    step: str
    model: str
    rows: float
    calls: float
    found: int
    to_buy: float


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
        forecasts.append(Forecast(step.id, ", ".join(step.models_used()), rows, count, found, to_buy))
    return forecasts


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
