"""How much of a provider is used at once: a lane for each address, key and model, that all steps share.

A call enters its lane when nothing forbids it: there is a place among those in flight, the rate allows one
more, and the provider has not asked to be left alone. How many places there are is learned. The number grows
fast until the provider first refuses; each episode of refusals costs one cut, however many calls it hit; the
number at which that happened is remembered, neared slowly and passed carefully, and forgotten once it has
been passed by a tenth. Only the first answer to a call that found all places taken is a reason for more. A
provider that refuses everything, and does not say for how long, is left alone for a while, then asked by one
call.

Where several steps wait for a place, the one with the fewest calls in flight gets it, and of equals the later
one, so that rows which are nearly done are not held up by those that begin.

Additive increase, multiplicative decrease after Chiu and Jain 1989; the remembered ceiling after CUBIC (Ha,
Rhee and Xu 2008); paced rates by the generic cell rate algorithm (ITU-T I.371).
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from synth.errors import RateLimited
from synth.models.rates import Told

FIRST = 20  # places to begin with
CUT = 0.8
COOL_DOWN_S = 2.0  # between two cuts
NEAR, PASSED = 0.95, 1.1  # of the remembered ceiling
# More places a first answer: four times as many each time that all were used, or a tenth, or a hundredth.
FIRST_GROWTH, FAST, SLOW = 3.0, 0.1, 0.01
HOPELESS = 20  # refusals in a row, without an answer between, that close the lane
FIRST_REST_S, LONGEST_REST_S = 1.0, 10.0
LONGEST_PAUSE_S = 300.0  # of what a provider asks for
BURST_S = 1.0  # a rate may be this far ahead of its pace


@dataclass(slots=True)
class Places:
    """How many calls may be in flight. Knows no clock: whoever asks says what time it is, in seconds."""

    most: int
    adaptive: bool = True
    limit: float = field(init=False)
    ceiling: float = field(default=math.inf, init=False)
    _unrefused: bool = field(default=True, init=False)
    _cut_at: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self.limit = float(min(FIRST, self.most) if self.adaptive else self.most)

    def answered(self, in_flight: int) -> None:
        """A first answer came while `in_flight` calls, it among them, were on their way."""
        if not self.adaptive or in_flight < math.floor(self.limit):
            return
        if self.limit > self.ceiling * PASSED:
            self.ceiling = math.inf
        near = self.limit >= self.ceiling * NEAR
        self.limit = min(
            self.most, self.limit + (FIRST_GROWTH if self._unrefused else SLOW if near else FAST)
        )

    def refused(self, sent_at: float, now: float, others: int) -> None:
        """A call that was sent at `sent_at` was refused for coming too often, beside `others` in flight.

        One that was sent before the last cut says nothing new. Of those sent soon after, each costs its own
        place, so that no other call is sent there to be refused as well.
        """
        if not self.adaptive or sent_at < self._cut_at:
            return
        if now - self._cut_at < COOL_DOWN_S:
            self.limit = max(1.0, min(self.limit, others))
            return
        self.ceiling = self.limit
        self.limit = max(1.0, self.limit * CUT)
        self._unrefused, self._cut_at = False, now


@dataclass(slots=True)
class Pace:
    """At most `per_minute` of something, evenly. None: no limit."""

    per_minute: float | None
    _due: float = field(default=-math.inf, init=False)  # when all that was taken would be worked off

    def free_at(self) -> float:
        """When more may be taken."""
        return -math.inf if self.per_minute is None else self._due - BURST_S

    def take(self, amount: float, now: float) -> None:
        """Take `amount`; a negative one gives back what was taken too much."""
        if self.per_minute is not None:
            self._due = max(self._due, now) + 60 * amount / self.per_minute


@dataclass(slots=True)
class Breaker:
    """Closes a lane on which everything is refused, and lets one call try it after a rest."""

    refusals: int = field(default=0, init=False)
    rest_s: float = field(default=0.0, init=False)
    until: float = field(default=-math.inf, init=False)

    @property
    def is_open(self) -> bool:
        """Whether the lane is closed but for one call at a time."""
        return self.rest_s > 0

    def answered(self) -> None:
        """An answer came: all is well."""
        self.refusals, self.rest_s, self.until = 0, 0.0, -math.inf

    def refused(self, now: float) -> None:
        """A refusal came; calls that were on their way when the lane closed do not count."""
        self.refusals += 1
        if self.refusals < HOPELESS or now < self.until:
            return
        self.rest_s = min(LONGEST_REST_S, max(FIRST_REST_S, 2 * self.rest_s))
        self.until = now + self.rest_s


@dataclass(slots=True)
class Ticket:
    """A call in its lane. `tokens`: what it may take, until it is known what it took."""

    step: str
    tokens: int
    sent_at: float = 0.0


class Lane:
    """What all calls of one address, key and model share. Use it from one event loop.

    Args:
        most: places, at most.
        adaptive: learn how many there are; a server on this machine has as many as it has slots.
        rpm, tpm: requests and tokens a minute; if left out, what the provider's answers say.
    """

    def __init__(
        self,
        most: int,
        *,
        adaptive: bool = True,
        rpm: float | None = None,
        tpm: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.places = Places(most, adaptive)
        self.requests, self.tokens = Pace(rpm), Pace(tpm)
        self.breaker = Breaker()
        self.in_flight = 0
        self._fixed = rpm is not None, tpm is not None
        self._clock = clock
        self._paused_until = -math.inf
        self._steps: dict[str, _Queue] = {}
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def admitted(self, step: str, tokens: int) -> AsyncGenerator[Ticket]:
        """Wait until a call of `step` may be sent, and hold its place.

        Args:
            tokens: what it takes at most, prompt and reply.
        """
        ticket = Ticket(step, tokens)
        await self._enter(ticket)
        try:
            yield ticket
        except RateLimited as error:
            self._refused(ticket, error.retry_after_s)
            raise
        finally:
            self.in_flight -= 1
            self._steps[step].in_flight -= 1
            self._admit()

    def answered(self, ticket: Ticket, tokens: int, *, at_once: bool) -> None:
        """An answer to `ticket` took `tokens`. `at_once`: at the first attempt."""
        self.tokens.take(tokens - ticket.tokens, self._clock())
        self.breaker.answered()
        if at_once:
            self.places.answered(self.in_flight)

    def hear(self, told: Told) -> None:
        """What an answer said of the limits: they hold where the pipeline says nothing else."""
        if not self._fixed[0] and told.rpm:
            self.requests.per_minute = told.rpm
        if not self._fixed[1] and told.tpm:
            self.tokens.per_minute = told.tpm
        if told.wait_s:
            self._pause(told.wait_s)

    def _refused(self, ticket: Ticket, retry_after_s: float | None) -> None:
        now = self._clock()
        self.tokens.take(-ticket.tokens, now)
        self.places.refused(ticket.sent_at, now, self.in_flight - 1)
        if retry_after_s:
            self._pause(retry_after_s)
        else:
            self.breaker.refused(now)

    def _pause(self, seconds: float) -> None:
        until = self._clock() + min(seconds, LONGEST_PAUSE_S)
        self._paused_until = max(self._paused_until, until)

    async def _enter(self, ticket: Ticket) -> None:
        queue = self._steps.setdefault(ticket.step, _Queue(len(self._steps)))
        if not any(each.waiting for each in self._steps.values()) and self._free_at(self._clock()) is None:
            self._send(ticket)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append((turn, ticket))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn came as it was given up
                self.in_flight -= 1
                queue.in_flight -= 1
            self._admit()
            raise

    def _admit(self) -> None:
        """Send what may be sent, and come back when more may be."""
        now = self._clock()
        while waiting := [queue for queue in self._steps.values() if queue.next()]:
            wait_until = self._free_at(now)
            if wait_until is not None:
                self._come_back(wait_until - now)
                return
            queue = min(waiting, key=lambda each: (each.in_flight, -each.order))
            turn, ticket = queue.waiting.popleft()
            self._send(ticket)
            turn.set_result(None)

    def _free_at(self, now: float) -> float | None:
        """None if a call may be sent now; else when to look again, infinity if a place must become free."""
        places = 1 if self.breaker.is_open else math.floor(self.places.limit)
        if self.in_flight >= places:
            return math.inf
        until = max(self._paused_until, self.breaker.until, self.requests.free_at(), self.tokens.free_at())
        return until if until > now else None

    def _send(self, ticket: Ticket) -> None:
        ticket.sent_at = self._clock()
        self.requests.take(1, ticket.sent_at)
        self.tokens.take(ticket.tokens, ticket.sent_at)
        self.in_flight += 1
        self._steps[ticket.step].in_flight += 1

    def _come_back(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if math.isfinite(seconds):
            self._timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._admit)


@dataclass(slots=True)
class _Queue:
    """The calls of a step that wait. `order`: steps in the order in which they first asked."""

    order: int
    in_flight: int = 0
    waiting: "deque[tuple[asyncio.Future[None], Ticket]]" = field(default_factory=deque)

    def next(self) -> bool:
        """Whether anybody waits still; who gave up is forgotten."""
        while self.waiting and self.waiting[0][0].done():
            self.waiting.popleft()
        return bool(self.waiting)
