"""The model as a step sees it: a provider behind the ledger, a limit and the one retry loop.

A call that is in the ledger is found there and costs nothing. One that is not is bought: it waits for a
place in its lane, is tried until it has an outcome, and its outcome is on disk before the step sees it.

What fails is of four kinds. Refused for coming too often: tried again for as long as `PATIENCE_S`, since
giving up would cost a row for nothing. Transient: tried `TRIES` times. This request is bad: the row fails.
The whole run is bad: it stops, and keeps what it has.
"""

import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.wait import wait_random_exponential

from synth.errors import BadReply, NotBought, RateLimited, RowError, Transient, bad_reply
from synth.models.base import Kind, Provider, Reply, Request, Usage, key_of
from synth.models.ledger import Ledger, Outcome
from synth.models.limits import LONGEST_PAUSE_S, Lane
from synth.models.spending import Amount, Spending, worst
from synth.rows import Message
from synth.signals import Stop
from synth.stream import Once

TRIES = 8
PATIENCE_S = 3600.0
SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "stop")

_backoff = wait_random_exponential(multiplier=0.5, max=60)


@dataclass(slots=True)
class Tally:
    """What a step has asked of a model in this run.

    Attributes:
        found: calls that were in the ledger, or in flight for another row.
        bought: calls that were made.
        missing: calls that `synth plan` would have to buy, as far as rows reach without them.
        missing_prompt, missing_most: about how many tokens their prompts have, and the most they may answer.
        found_prompt, found_completion: tokens of what was found.
        retries: attempts beyond the first.
        prompt_tokens, completion_tokens, usd: what was bought; `usd` without what has no price.
        unpriced: bought calls without a known price.
        models: how the provider itself named the model, in replies found or bought.
        failures: keys of the calls, found or bought, whose outcome is a failure.
    """

    found: int = 0
    bought: int = 0
    missing: int = 0
    missing_prompt: int = 0
    missing_most: int = 0
    found_prompt: int = 0
    found_completion: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unpriced: int = 0
    models: set[str] = field(default_factory=set)
    failures: set[str] = field(default_factory=set)

    @property
    def failed(self) -> int:
        """How many calls, found or bought, have a failure for their outcome."""
        return len(self.failures)

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        sums = {
            each.name: getattr(self, each.name) + getattr(other, each.name)
            for each in fields(self)
            if each.name not in ("models", "failures")
        }
        return Tally(**sums, models=self.models | other.models, failures=self.failures | other.failures)

    def book(self, outcome: Outcome, *, found: bool) -> None:
        """Count `outcome`, and what it cost if it was not found."""
        self.found += found
        self.bought += not found
        if outcome.reply is None:
            self.failures.add(outcome.key)
            return
        self.models.add(outcome.reply.model)
        if found:
            self.found_prompt += outcome.reply.usage.prompt
            self.found_completion += outcome.reply.usage.completion
        else:
            self._pay(outcome.reply.usage, outcome.usd)

    def miss(self, request: Request) -> None:
        """Count `request` as one that would have to be bought."""
        self.missing += 1
        self.missing_prompt += prompt_tokens(request)
        self.missing_most += request.max_tokens if request.kind != "score" else 0

    def _pay(self, usage: Usage, usd: float | None) -> None:
        self.prompt_tokens += usage.prompt
        self.completion_tokens += usage.completion
        self.usd += usd or 0.0
        self.unpriced += usd is None


@dataclass(frozen=True)
class Model:
    """One named entry of a pipeline's ``models:``, as one step sees it.

    Attributes:
        tallies: what was asked, by step and model name; shared by the whole run.
        lane: what all calls of this model share, whatever steps make them.
        flying: equal calls in flight are one call; shared by the whole run.
        spending: the account that a budget is held against; None without a budget.
        buying: False if nothing may be bought, as for `synth plan`.
        stop: whether the run is to end; shared by the whole run.
    """

    name: str
    provider: Provider
    ledger: Ledger
    lane: Lane
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    flying: Once = field(default_factory=Once)
    spending: Spending | None = None
    buying: bool = True
    stop: Stop = field(default_factory=Stop)
    step: str = ""

    def for_step(self, step: str) -> "Model":
        """This model, with its calls booked on `step`."""
        return replace(self, step=step)

    def can(self, capability: str) -> bool:
        """Whether the provider can do `capability`, one of `Capability`."""
        return capability in self.provider.capabilities

    @property
    def tally(self) -> Tally:
        """What this step has asked of this model."""
        return self.tallies.setdefault((self.step, self.name), Tally())

    async def ask(self, messages: Sequence[Message], *, kind: Kind = "chat", **fields: Any) -> Reply:
        """The reply to `messages`, found in the ledger or bought.

        Args:
            fields: the other fields of `Request`. A sampling parameter that the provider cannot take is
                left out: where a pipeline sets one by hand, that was refused before the first call.

        Raises:
            RowError: the call failed, now or on an earlier run.
            ProviderError: the provider refuses the whole run.
            NotBought: it is not in the ledger, and nothing may be bought.
        """
        able = {name: value for name, value in fields.items() if name not in SAMPLING or self.can(name)}
        request = Request(self.provider.endpoint, self.provider.name_in_key, tuple(messages), kind, **able)
        written = request.as_json()
        key = key_of(written)
        outcome = self.ledger.find(key)
        found = outcome is not None or key in self.flying
        if outcome is None:
            if not self.buying:
                self.tally.miss(request)
                raise NotBought("this call is not in the ledger")
            outcome = await self.flying.run(key, lambda: self._buy(request, Outcome(key, written)))
        self.tally.book(outcome, found=found)
        return replace(outcome.result(), key=key)

    async def _buy(self, request: Request, asked: Outcome) -> Outcome:
        """The outcome of `request`, on disk by then. `asked`: its key, and what that was made from."""
        failures: list[Transient] = []
        began = time.monotonic()
        try:
            return await self._try(request, asked, failures, began)
        except Transient as error:
            failures.append(error)
        except RowError as error:
            return await self._fail(asked, error, failures, began)
        try:
            return await self._try_again(request, asked, failures, began)
        except RowError as error:
            return await self._fail(asked, error, failures, began)

    async def _try_again(
        self, request: Request, asked: Outcome, failures: list[Transient], began: float
    ) -> Outcome:
        """The one retry loop, entered once a first attempt has failed, which most never do."""

        first = True

        def spent(_: RetryCallState) -> bool:
            tries = sum(not isinstance(failure, RateLimited) for failure in failures)
            return tries >= TRIES or time.monotonic() - began > PATIENCE_S

        async def attempt() -> Outcome:
            nonlocal first
            if first:
                first = False
                raise failures[0]
            self.tally.retries += 1
            try:
                return await self._try(request, asked, failures, began)
            except Transient as error:
                failures.append(error)
                raise

        again = AsyncRetrying(retry=retry_if_exception_type(Transient), stop=spent, wait=_wait, reraise=True)
        return await again(attempt)

    async def _fail(
        self, asked: Outcome, error: RowError, failures: Sequence[Transient], began: float
    ) -> Outcome:
        """The final failure, on disk."""
        causes = tuple(str(failure) for failure in failures if failure is not error)
        elapsed = time.monotonic() - began
        return await self._record(replace(asked, error=error, attempts=causes, latency_s=elapsed))

    async def _record(self, outcome: Outcome) -> Outcome:
        """What the ledger keeps of `outcome`: what another run bought meanwhile, if it did."""
        if await self.ledger.record(outcome):
            return outcome
        kept = self.ledger.find(outcome.key)
        assert kept, "it is there, since it could not be added"
        return kept

    async def _try(
        self, request: Request, asked: Outcome, failures: Sequence[Transient], began: float
    ) -> Outcome:
        """Ask once. The place is free when the reply is on disk, so a kill costs those in flight at most."""
        lane = self.lane.admitted(self.step, most(request))
        async with lane as ticket, self.stop.call(), self._reserved(request) as paid:
            reply = keepable(await self.provider.answer(request))
            usd = self.provider.cost_usd(reply.usage)
            paid(Amount(1, reply.usage.prompt + reply.usage.completion, usd or 0.0))
            self.lane.answered(ticket, reply.usage.prompt + reply.usage.completion, at_once=not failures)
            return await self._record(
                Outcome(
                    asked.key,
                    asked.request,
                    reply,
                    usd=usd,
                    attempts=tuple(map(str, failures)),
                    latency_s=time.monotonic() - began,
                )
            )

    @asynccontextmanager
    async def _reserved(self, request: Request) -> AsyncGenerator[Callable[[Amount], None]]:
        """Hold the most that `request` can cost, until what is yielded is told what it did cost."""
        if self.spending is None:
            yield lambda amount: None
            return
        actual: Amount | None = None

        def paid(amount: Amount) -> None:
            nonlocal actual
            actual = amount

        usage = worst(request)
        reserved = Amount(1, usage.prompt + usage.completion, self.provider.cost_usd(usage) or 0.0)
        number = await self.spending.reserve(self.name, reserved)
        try:
            yield paid
        except RowError as error:
            if actual is None and not getattr(error, "may_cost", isinstance(error, BadReply)):
                actual = Amount(calls=1)
            raise
        finally:
            self.spending.settle(number, self.name, reserved, actual)


def keepable(reply: Reply) -> Reply:
    """`reply`, if it can be written down and read again.

    Raises:
        BadReply: it holds half a character, or a probability that is no number.
    """
    try:
        reply.text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise bad_reply("text that is valid UTF-8", reply.text.encode("utf-8", "replace").decode()) from error
    if not all(math.isfinite(p) for token in reply.tokens for p in (token.logprob, *token.top.values())):
        raise bad_reply("finite log-probabilities", f"some that are not, in {reply.text}")
    return reply


def _wait(state: RetryCallState) -> float:
    """Seconds before the next attempt: a jittered back-off, or what a failing provider asks for.

    What one asks for that is called too often holds up its lane, and so all calls alike.
    """
    error = state.outcome.exception() if state.outcome else None
    asked = 0.0 if isinstance(error, RateLimited) else getattr(error, "retry_after_s", None)
    return max(_backoff(state), min(asked or 0.0, LONGEST_PAUSE_S))


def prompt_tokens(request: Request) -> int:
    """About how many tokens a prompt has: one for four letters of it."""
    return (sum(len(message.content) for message in request.messages) + len(request.target)) // 4


def most(request: Request) -> int:
    """How many tokens a provider will think that a call takes."""
    return prompt_tokens(request) + request.max_tokens


def totals(tallies: Mapping[tuple[str, str], Tally]) -> Tally:
    """All of `tallies` in one."""
    return sum(tallies.values(), Tally())
