"""Lanes: how many calls are in flight, how fast they go, and who goes first."""

import asyncio
import math
from collections import Counter
from datetime import UTC, datetime

import pytest
from conftest import Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from provider_server import Fault, ProviderServer

from synth.errors import RateLimited, Transient
from synth.models import limits
from synth.models.limits import CUT, FIRST, HOPELESS, Breaker, Lane, Pace, Places
from synth.models.rates import NOTHING, Told, told

MOST = 64


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Places


def test_the_number_of_places_grows_fourfold_until_the_first_refusal_and_is_then_cut_once() -> None:
    places = Places(1000)
    for _ in range(FIRST):
        places.answered(in_flight=int(places.limit))
    assert places.limit == 4 * FIRST
    for _ in range(30):
        places.refused(sent_at=5.0, now=10.0, others=70)
    assert places.limit == 4 * FIRST * CUT
    places.answered(in_flight=int(places.limit))
    assert places.limit < 4 * FIRST * CUT + 1


def test_calls_that_were_sent_before_a_cut_are_no_reason_for_another() -> None:
    places = Places(MOST)
    places.refused(sent_at=0.0, now=10.0, others=20)
    after = places.limit
    places.refused(sent_at=9.9, now=60.0, others=20)
    assert places.limit == after
    places.refused(sent_at=10.1, now=60.0, others=20)
    assert places.limit == after * CUT


def test_a_call_that_is_refused_soon_after_a_cut_costs_its_own_place() -> None:
    places = Places(100)
    places.limit = 60.0
    places.refused(sent_at=0.0, now=10.0, others=59)
    for others in (44, 43, 42):
        places.refused(sent_at=10.1, now=10.2, others=others)
    assert places.limit == 42
    assert places.ceiling == 60


def test_an_answer_is_a_reason_for_more_places_only_if_all_were_taken() -> None:
    places = Places(MOST)
    places.answered(in_flight=FIRST - 1)
    assert places.limit == FIRST


def test_the_ceiling_is_neared_slowly_and_forgotten_once_it_is_passed() -> None:
    places = Places(1000)
    places.limit = 100.0
    places.refused(sent_at=1.0, now=1.0, others=99)
    quick = answers_until(places, 94.9)
    slow = answers_until(places, 110.5)
    assert slow > 2 * quick
    places.answered(in_flight=int(places.limit))
    assert places.ceiling == math.inf
    assert answers_until(places, 126.0) < slow / 2


def answers_until(places: Places, wanted: float) -> int:
    count = 0
    while places.limit < wanted:
        places.answered(in_flight=int(places.limit))
        count += 1
    return count


def test_a_server_with_a_fixed_number_of_slots_is_given_that_number() -> None:
    places = Places(3, adaptive=False)
    places.refused(sent_at=1.0, now=1.0, others=99)
    places.answered(in_flight=3)
    assert places.limit == 3


class AnyHistory(RuleBasedStateMachine):
    """Whatever comes back in whatever order, the limit stays between 1 and the most that was allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.now, self.sent = Places(MOST), 0.0, [0.0]

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.sent.append(self.now)

    @rule(share=st.floats(0, 1))
    def an_answer_comes(self, share: float) -> None:
        self.places.answered(in_flight=math.ceil(share * self.places.limit))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), others=st.integers(0, MOST))
    def a_refusal_comes(self, data: st.DataObject, others: int) -> None:
        before, cut_at = self.places.limit, self.places._cut_at
        sent_at = data.draw(st.sampled_from(self.sent))
        self.places.refused(sent_at, self.now, others)
        if self.places.limit < before:
            assert sent_at >= cut_at
            assert self.places.limit >= min(before * CUT, others) or self.places.limit == 1

    @invariant()
    def the_limit_is_in_its_bounds(self) -> None:
        assert 1 <= self.places.limit <= MOST


TestAnyHistory = AnyHistory.TestCase


# Pace


@given(st.floats(1, 1e5), st.lists(st.floats(0, 0.5), min_size=1, max_size=200))
def test_in_no_minute_more_is_taken_than_the_rate_and_a_second_of_it(rpm: float, gaps: list[float]) -> None:
    pace, now, taken = Pace(rpm), 0.0, []
    for gap in gaps:
        now = max(now + gap, pace.free_at())
        pace.take(1, now)
        taken.append(now)
    for first in taken:
        in_a_minute = sum(first <= at < first + 60 for at in taken)
        assert in_a_minute <= rpm + rpm / 60 + 1


def test_what_was_taken_too_much_is_given_back() -> None:
    pace = Pace(60.0)
    pace.take(10, 0.0)
    later = pace.free_at()
    pace.take(-9, 0.0)
    assert pace.free_at() == later - 9


# Breaker


def test_after_many_refusals_in_a_row_a_lane_rests_longer_each_time_until_an_answer_comes() -> None:
    breaker = Breaker()
    for _ in range(HOPELESS - 1):
        breaker.refused(0.0)
    assert not breaker.is_open
    breaker.refused(0.0)
    rests = [breaker.rest_s]
    for _ in range(6):
        breaker.refused(breaker.until)
        rests.append(breaker.rest_s)
    assert rests == [1, 2, 4, 8, *[limits.LONGEST_REST_S] * 3]
    breaker.answered()
    assert not breaker.is_open


def test_calls_that_were_on_their_way_when_a_lane_closed_do_not_prolong_its_rest() -> None:
    breaker = Breaker()
    for _ in range(3 * HOPELESS):
        breaker.refused(0.0)
    assert breaker.until == limits.FIRST_REST_S


# Lanes


async def test_a_place_is_free_again_whatever_becomes_of_a_call() -> None:
    lane = Lane(1)
    for error in (Transient("broken"), RateLimited("slow down"), ValueError("ours")):
        with pytest.raises(type(error)):
            async with lane.admitted("s", 1):
                raise error
    async with lane.admitted("s", 1):
        waiting = asyncio.ensure_future(hold(lane, "s", asyncio.Event()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert lane.in_flight == 0
    async with asyncio.timeout(1), lane.admitted("s", 1):
        pass


async def test_a_call_that_is_given_up_as_its_turn_comes_leaves_its_place_to_the_next() -> None:
    lane, end = Lane(1), asyncio.Event()
    first = asyncio.ensure_future(hold(lane, "s", end))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(hold(lane, "s", end))
    await asyncio.sleep(0)
    end.set()
    await first  # the turn of the second comes in this very moment
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert lane.in_flight == 0


async def hold(lane: Lane, step: str, end: asyncio.Event, entered: list[str] | None = None) -> None:
    async with lane.admitted(step, 1):
        if entered is not None:
            entered.append(step)
        await end.wait()


async def test_late_steps_are_not_starved_by_early_ones() -> None:
    lane, entered = Lane(4), list[str]()
    ends = [asyncio.Event() for _ in range(24)]
    early = [asyncio.ensure_future(hold(lane, "early", end, entered)) for end in ends[:20]]
    await asyncio.sleep(0)
    late = [asyncio.ensure_future(hold(lane, "late", end, entered)) for end in ends[20:]]
    for end in ends:
        end.set()
        await asyncio.sleep(0.001)
    await asyncio.gather(*early, *late)
    assert entered[:4] == ["early"] * 4
    assert entered[4:6] == ["late"] * 2, "the next places are theirs, though sixteen came before them"
    assert entered[6:18] == ["early"] * 12, "which leaves half of the places to the others"


async def test_requests_are_paced(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = Lane(100, rpm=60 * 50)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(70):  # a second's worth at once, then fifty a second
        async with lane.admitted("s", 1):
            pass
    assert loop.time() - began >= 0.35


async def test_tokens_are_paced_by_what_calls_take_at_most_and_settled_by_what_they_took() -> None:
    lane = Lane(100, tpm=60_000)
    async with lane.admitted("s", 3000) as ticket:
        assert lane.tokens.free_at() > lane._clock() + 1.9
        lane.answered(ticket, 10, at_once=True)
        assert lane.tokens.free_at() < lane._clock()


async def test_what_the_provider_says_of_its_limits_holds_unless_the_pipeline_says_otherwise() -> None:
    told_, mine = Lane(9), Lane(9, rpm=5)
    for lane in (told_, mine):
        lane.hear(Told(rpm=500, tpm=9000))
    assert (told_.requests.per_minute, told_.tokens.per_minute) == (500, 9000)
    assert (mine.requests.per_minute, mine.tokens.per_minute) == (5, 9000)


async def test_a_provider_with_nothing_left_is_left_alone_until_it_has() -> None:
    lane = Lane(9)
    lane.hear(Told(wait_s=0.2))
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with lane.admitted("s", 1):
        assert loop.time() - began >= 0.19


async def test_a_closed_lane_lets_one_call_try() -> None:
    clock = Clock()
    lane = Lane(50, clock=clock)
    for _ in range(HOPELESS):
        with pytest.raises(RateLimited):
            async with lane.admitted("s", 1):
                raise RateLimited("slow down")
    clock.now += limits.FIRST_REST_S + 0.01
    async with lane.admitted("s", 1) as ticket:
        second = asyncio.ensure_future(hold(lane, "s", asyncio.Event()))
        await asyncio.sleep(0.02)
        assert lane.in_flight == 1
        lane.answered(ticket, 1, at_once=True)
    await asyncio.sleep(0)
    assert lane.in_flight == 1
    second.cancel()


# Against a server


@pytest.mark.parametrize("refusal", ["cap", "at first"])
async def test_a_server_that_refuses_gets_every_row_answered_and_few_requests_too_many(
    refusal: str, server: ProviderServer, pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    rows = 150
    write_lines("questions.jsonl", *({"prompt": f"Question {number}?"} for number in range(rows)))
    server.latency = 0.02
    if refusal == "cap":
        server.cap = 6
    else:  # for its first 40 answers
        server.script = [Fault(status=429, headers={"Retry-After": "0.05"})] * 40
        server._faults.extend(server.script)
    version, watch = await make(pipeline(ASKED.format(url=server.url)))
    assert version.manifest["rows"] == rows
    statuses = Counter(entry.status for entry in server.log)
    assert statuses[200] == rows
    assert statuses[429] <= 40
    assert sum(tally.retries for tally in watch.tallies.values()) == statuses[429]
    assert server.peak <= 7 or refusal != "cap"


ASKED = """
name: asked
models:
  m: {{provider: compatible, model: made, base_url: "{url}/v1", max_concurrency: 32}}
steps:
  - jsonl: {{path: questions}}
  - respond: {{model: m, max_tokens: 16}}
dataset: {{views: [sft]}}
"""


# What headers say


async def test_what_a_server_says_of_its_limits_reaches_the_lane(
    server: ProviderServer, pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines("questions.jsonl", *({"prompt": f"Question {number}?"} for number in range(3)))
    server.rpm = 6000
    heard: list[float | None] = []
    usual = Lane.hear

    def hear(self: Lane, told: Told) -> None:
        usual(self, told)
        heard.append(self.requests.per_minute)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Lane, "hear", hear)
        await make(pipeline(ASKED.format(url=server.url)))
    assert heard == [6000, 6000, 6000]


def test_openais_headers_are_read() -> None:
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-requests": "120ms",
        "x-ratelimit-reset-tokens": "1m3.5s",
    }
    assert told(headers) == Told(500, 30000, 63.5)


def test_anthropics_headers_are_read() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:07Z",
        "anthropic-ratelimit-tokens-limit": "40000",
        "anthropic-ratelimit-tokens-remaining": "1",
        "anthropic-ratelimit-tokens-reset": "2026-01-01T00:01:00Z",
    }
    assert told(headers, now) == Told(50, 40000, 7.0)


@pytest.mark.parametrize("odd", ["", "-1", "many", "1e9", "nan", "\u0661"])
def test_odd_headers_say_nothing(odd: str) -> None:
    names = ("limit-requests", "remaining-requests", "reset-requests", "limit-tokens")
    assert told({f"x-ratelimit-{name}": odd for name in names}) == Told()
    assert told({}) is NOTHING
