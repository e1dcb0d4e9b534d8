"""IFEval's four metrics: {prompt, instruction} x {strict, loose}.

IFEval (arXiv:2311.07911), section 2.3. A prompt is followed if all of its constraints are; an instruction
is one constraint of one prompt.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from synth.constraints import Constraint
from synth.constraints.modes import follows


@dataclass(frozen=True, slots=True)
class Followed:
    """Which of the constraints of type `ids` one reply followed, in their order."""

    ids: tuple[str, ...]
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """How many of `count` were followed."""

    count: int
    strict: int
    loose: int

    def as_json(self) -> dict[str, Any]:
        """The counts and the shares in [0, 1]; a share of nothing is None."""
        shares = {
            f"{mode}_accuracy": getattr(self, mode) / self.count if self.count else None
            for mode in ("strict", "loose")
        }
        return asdict(self) | shares


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The four metrics, and those of every type alone."""

    prompt: Share
    instruction: Share
    by_type: Mapping[str, Share]

    def as_json(self) -> dict[str, Any]:
        """For a report: level, or type, to its counts and shares."""
        return {
            "prompt": self.prompt.as_json(),
            "instruction": self.instruction.as_json(),
            "by_type": {id_: share.as_json() for id_, share in self.by_type.items()},
        }


def followed(constraints: Sequence[Constraint], text: str) -> Followed:
    """What `text` follows of `constraints`, both ways."""
    return Followed(
        ids=tuple(constraint.id for constraint in constraints),
        strict=tuple(follows(constraint, text, "strict") for constraint in constraints),
        loose=tuple(follows(constraint, text, "loose") for constraint in constraints),
    )


def accuracy(results: Iterable[Followed]) -> Accuracy:
    """The metrics over `results`, a reply each. A reply without constraints does not count."""
    prompts: list[tuple[bool, bool]] = []
    by_type = defaultdict[str, list[tuple[bool, bool]]](list)
    for result in results:
        if result.ids:
            prompts.append((all(result.strict), all(result.loose)))
        for id_, *both in zip(result.ids, result.strict, result.loose, strict=True):
            by_type[id_].append((both[0], both[1]))
    return Accuracy(
        prompt=_share(prompts),
        instruction=_share([both for of_type in by_type.values() for both in of_type]),
        by_type={id_: _share(by_type[id_]) for id_ in sorted(by_type)},
    )


def _share(both: Sequence[tuple[bool, bool]]) -> Share:
    return Share(len(both), sum(strict for strict, _ in both), sum(loose for _, loose in both))
