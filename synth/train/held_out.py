"""Models before and after, on pairs that none was trained on.

A causal model's score of an answer is its mean log-probability a token (nats) given the prompt, under the
model's own chat template; a reward model's is its number. A pair is won where the chosen answer scores
strictly higher. The pairs are fixed and few: an interval says what so many of them can tell, and nothing
about pairs of another kind.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from synth.errors import Problem, UserError
from synth.models.embedded.weights import can_run_checkpoints, locate
from synth.train.child import listen
from synth.train.intervals import Interval, bootstrap_mean, wilson

# The code that a score depends on: another reading of the pairs is not found under the old one's name.
_READER = Path(__file__).with_name("scoring.py")


class Pair(BaseModel):
    """One line of a file of pairs. `kind` says in what way the rejected answer is worse."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    prompt: str = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What a model made of one pair."""

    pair: str
    kind: str
    chosen: float
    rejected: float

    @property
    def margin(self) -> float:
        """By how much the chosen answer scores higher."""
        return self.chosen - self.rejected


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A model's evidence.

    Attributes:
        model: what the caller calls it.
        digest: what identifies it, as in `synth.models.embedded.weights.Weights.digest`.
        reward: whether it is a reward model; if so margins are in its own unit, else in nats a token.
        accuracy: share of the pairs that the chosen answer wins, with Wilson's interval.
        margin: mean margin, with a bootstrap interval.
        chosen, rejected: mean scores.
        change: the mean change of a pair's margin since the first model of the comparison, with a
            bootstrap interval over pairs; None for that model and where units differ.
        scores: the pairs, in the order of their file.
    """

    model: str
    digest: str
    reward: bool
    accuracy: Interval
    margin: Interval
    chosen: float
    rejected: float
    change: Interval | None
    scores: tuple[Score, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A model's scores, as they are kept beside it."""

    digest: str
    reward: bool
    scores: tuple[tuple[float, float], ...]


def compare(models: Mapping[str, Path], pairs: Path, log: Path | None = None) -> list[HeldOut]:
    """The evidence of each of `models`, checkpoints by name, in their order; the first is the baseline.

    A model's scores are kept in its folder, so that it is loaded once for a file of pairs. `log` gets what
    the process that loads models writes to its standard error.

    Raises:
        UserError: the pairs cannot be read, or one is longer than a model's context.
        SynthError: the process failed.
    """
    known = read_pairs(pairs)
    name = f"held_out-{reading_digest(known)[:12]}.json"
    digests = {model: locate(str(path)).digest for model, path in models.items()}
    kept = {model: kept_reading(path / name, digests[model]) for model, path in models.items()}
    missing = {model: path for model, path in models.items() if kept[model] is None}
    fresh = read_models(missing, known, digests, log) if missing else {}
    for model, reading in fresh.items():
        keep(reading, models[model] / name)
    readings = {model: kept[model] or fresh[model] for model in models}
    baseline = next(iter(readings.values()))
    return [evidence(model, reading, known, baseline) for model, reading in readings.items()]


def change(before: Sequence[Score], after: Sequence[Score], seed: int = 0) -> Interval:
    """The mean change of a pair's margin from one model to another, with its bootstrap interval."""
    differences = [late.margin - early.margin for early, late in zip(before, after, strict=True)]
    return bootstrap_mean(differences, seed)


def evidence(model: str, reading: _Reading, pairs: Sequence[Pair], baseline: _Reading) -> HeldOut:
    """A model's scores as numbers with intervals."""
    scores, before = scored(reading, pairs), scored(baseline, pairs)
    comparable = reading is not baseline and reading.reward == baseline.reward
    return HeldOut(
        model=model,
        digest=reading.digest,
        reward=reading.reward,
        accuracy=wilson(sum(score.margin > 0 for score in scores), len(scores)),
        margin=bootstrap_mean([score.margin for score in scores]),
        chosen=sum(score.chosen for score in scores) / len(scores),
        rejected=sum(score.rejected for score in scores) / len(scores),
        change=change(before, scores) if comparable else None,
        scores=scores,
    )


def scored(reading: _Reading, pairs: Sequence[Pair]) -> tuple[Score, ...]:
    """The numbers of `reading` beside the pairs that they belong to."""
    both = zip(pairs, reading.scores, strict=True)
    return tuple(Score(pair.id, pair.kind, chosen, rejected) for pair, (chosen, rejected) in both)


def read_pairs(file: Path) -> list[Pair]:
    """The pairs in a file of JSON Lines.

    Raises:
        UserError: every line that is no pair, or that there are none.
    """
    pairs, problems = [], []
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            pairs.append(Pair.model_validate_json(line))
        except ValidationError as error:
            places = (".".join(map(str, one["loc"])) or "pair" for one in error.errors())
            said = (one["msg"] for one in error.errors())
            wrong = "; ".join(map(": ".join, zip(places, said, strict=True)))
            problems.append(Problem(wrong, str(file), number))
    if problems or not pairs:
        raise UserError(problems or Problem("no pairs", str(file)))
    return pairs


def reading_digest(pairs: Sequence[Pair]) -> str:
    """What a model's scores depend on besides the model: the pairs, and the code that reads them."""
    code = _READER.read_text(encoding="utf-8")
    return sha256(orjson.dumps([[pair.model_dump() for pair in pairs], code])).hexdigest()


def read_models(
    models: Mapping[str, Path], pairs: Sequence[Pair], digests: Mapping[str, str], log: Path | None
) -> dict[str, _Reading]:
    """The scores of `models`, loaded one after another in a process of its own."""
    if not can_run_checkpoints():
        raise UserError("measuring models needs torch: pip install 'synth-feedback[train]'")
    paths = {model: str(path.resolve()) for model, path in models.items()}
    spec = {"models": paths, "pairs": [pair.model_dump() for pair in pairs]}
    with tempfile.TemporaryDirectory() as folder:
        said = list(listen("synth.train.scoring", spec, log or Path(folder) / "scoring.log"))
    return {
        line["model"]: _Reading(digests[line["model"]], line["reward"], tuple(map(tuple, line["scores"])))
        for line in said
    }


def kept_reading(file: Path, digest: str) -> _Reading | None:
    """The scores in `file` if they are those of the model with this `digest`."""
    try:
        content: dict[str, Any] = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    if content["digest"] != digest:
        return None
    return _Reading(digest, content["reward"], tuple(map(tuple, content["scores"])))


def keep(reading: _Reading, file: Path) -> None:
    """Write `reading` to `file`, whole or not at all; a read-only folder costs another loading."""
    with contextlib.suppress(OSError):
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_bytes(orjson.dumps(reading))
        partial.replace(file)
