"""Everything synth raises on purpose, by whose mistake it is.

* SynthError
  - UserError            a file or an option needs an edit; exit code 2
  - RowError             belongs to one row, which fails; the run goes on
    · BadRequest         the provider refuses this very request: too long, filtered, malformed
    · RateLimited        too many requests; worth another try after `retry_after_s`
    · Transient          worth another try: time-out, connection, 5xx
    · BadReply           the model answered, but not in the form that was asked for
  - ProviderError        the whole run is refused: wrong key, no credit, no such model; exit code 3
  - BudgetSpent          the next call may cost more than is left; exit code 4
  - StorageError         a file of ours cannot be written or read; exit code 5
  - TooManyFailed        more rows failed than the pipeline's `fail_on` allows; exit code 1
  - Interrupted          a signal stopped the run; exit code 130 or 143
  - NotBought            not in the ledger, and `synth plan` buys nothing

`Filtered` is no error: it is how a step says why it drops a row.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a user's file.

    `line` and `column` count from 1; 0 means that the place is unknown or is no line of a file.
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return f"{place}  {self.message}" if place else self.message


class SynthError(Exception):
    """Base of every error that synth raises on purpose."""

    exit_code: ClassVar[int] = 1


class UserError(SynthError):
    """Files or options need an edit. Holds every mistake that was found, not only the first."""

    exit_code = 2

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RowError(SynthError):
    """A failure that costs one row. `hint` says what a person can do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class BadRequest(RowError):
    """The provider refuses this request, and would refuse it again."""


class Transient(RowError):
    """A failure that another try may mend.

    `retry_after_s`: seconds that the provider asked us to wait, or None if it did not say.
    `may_cost`: False if the provider answered with a failure, for which it asks no money.
    """

    def __init__(
        self, message: str, retry_after_s: float | None = None, hint: str = "", *, may_cost: bool = True
    ) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s
        self.may_cost = may_cost


class RateLimited(Transient):
    """Too many requests for now."""


class BadReply(RowError):
    """A reply without the form that the prompt asked for."""


def bad_reply(expected: str, found: str) -> BadReply:
    """The error for a reply that says `found` where `expected` was asked for."""
    return BadReply(f"expected {expected}, found {found[:200]!r}")


class ProviderError(SynthError):
    """The provider refuses the whole run; what was bought is kept."""

    exit_code = 3


class BudgetSpent(SynthError):
    """The next call may cost more than the budget leaves; what was bought is kept."""

    exit_code = 4


class StorageError(SynthError):
    """A file of ours cannot be written or read."""

    exit_code = 5


class TooManyFailed(SynthError):
    """More rows failed than the pipeline allows; the version is there all the same."""


class Interrupted(SynthError):
    """A signal stopped the run; what was bought is kept."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class NotBought(SynthError):
    """The call is not in the ledger, and nothing may be bought."""


class Filtered(Exception):
    """Raised by a step to drop the row it holds. `reason` is one or two words in snake_case."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that nothing answers to: the closest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names) or 'none'}."
    return f"unknown {kind} {name!r}. {hint}"
