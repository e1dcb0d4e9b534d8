"""How a bench says what it measured: the promise, the value, the bound and the verdict side by side."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One promise: what was measured, what it must be, and whether it is."""

    promise: str
    value: str
    bound: str
    holds: bool


def show(lines: Iterable[Line]) -> bool:
    """Print each line as it comes; whether all of them hold."""
    every = True
    for line in lines:
        verdict = "holds" if line.holds else "FAILS"
        print(f"{verdict:6} {line.promise:58} {line.value:28} must be {line.bound}", flush=True)
        every &= line.holds
    return every
