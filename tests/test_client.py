"""The model as a step sees it: found or bought, tried again or not, recorded before it is used."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synth.errors import (
    BadReply,
    BadRequest,
    NotBought,
    ProviderError,
    RateLimited,
    RowError,
    SynthError,
    Transient,
)
from synth.models import client
from synth.models.base import Capability, Provider, Reply, Request, Token, Usage
from synth.models.client import Model, Tally
from synth.models.ledger import Ledger
from synth.models.limits import LONGEST_PAUSE_S, Lane
from synth.rows import Message

HELLO = [Message("user", "Hello")]
Ends = list[Reply | Exception]


class Fake(Provider):
    """Answers with what is in `ends`, one by one, the last for ever; keeps what it was asked."""

    model: str = "fake"
    able: frozenset[Capability] = frozenset({"temperature", "schema"})
    ends: Any = None
    asked: list[Request] = []  # noqa: RUF012 - pydantic copies it
    latency_s: float = 0.0
    usd: float | None = 0.5
    now: int = 0
    peak: int = 0

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.able

    @property
    def endpoint(self) -> str:
        return "fake"

    async def answer(self, request: Request) -> Reply:
        self.asked.append(request)
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(self.latency_s)
        self.now -= 1
        ends = self.ends or [Reply(f"Answer {len(self.asked)}.", usage=Usage(3, 5), model="fake-1")]
        end = ends[min(len(self.asked), len(ends)) - 1]
        if isinstance(end, Exception):
            raise end
        reply: Reply = end
        return reply

    def price_usd(self, usage: Usage) -> float | None:
        return self.usd


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the retry loop would have waited. It does not."""
    waits: list[float] = []
    usual = client._wait

    def wait(state: Any) -> float:
        waits.append(usual(state))
        return 0.0

    monkeypatch.setattr(client, "_wait", wait)
    return waits


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


Build = Callable[..., Model]


@pytest.fixture
def model(ledger: Ledger) -> Build:
    def build(*ends: Reply | Exception, buying: bool = True, **fields: Any) -> Model:
        fake = Fake(ends=list(ends), **fields)
        return Model("m", fake, ledger, Lane(fake.max_concurrency, adaptive=False), buying=buying, step="s")

    return build


def asked(model: Model) -> list[Request]:
    assert isinstance(model.provider, Fake)
    return model.provider.asked


async def test_a_call_is_bought_once_and_found_ever_after(model: Build) -> None:
    writer = model()
    first = await writer.ask(HELLO)
    again = await writer.ask(HELLO)
    assert first == again
    assert first.key == asked(writer)[0].key
    assert len(asked(writer)) == 1
    tally = writer.tally
    assert (tally.found, tally.bought, tally.failed, tally.retries) == (1, 1, 0, 0)
    assert (tally.prompt_tokens, tally.completion_tokens, tally.usd) == (3, 5, 0.5)
    assert tally.models == {"fake-1"}


async def test_whatever_changes_the_answer_is_another_call(model: Build) -> None:
    writer = model(able=frozenset({"temperature", "top_p", "stop", "presence_penalty", "frequency_penalty"}))
    variants: list[dict[str, Any]] = [
        {},
        {"sample": 1},
        {"ask": 1},
        {"temperature": 0.5},
        {"temperature": 0.0},
        {"top_p": 0.5},
        {"stop": ("\n",)},
        {"presence_penalty": 1.0},
        {"frequency_penalty": 1.0},
        {"max_tokens": 7},
        {"top_logprobs": 5},
        {"schema": "{}"},
        {"kind": "complete"},
        {"kind": "score", "target": "x"},
    ]
    for fields in variants:
        await writer.ask(HELLO, **fields)
    await writer.ask([Message("system", "Be brief."), *HELLO])
    assert len({request.key for request in asked(writer)}) == len(asked(writer)) == len(variants) + 1


async def test_equal_calls_in_flight_are_one_call_and_are_paid_once(model: Build) -> None:
    writer = model(latency_s=0.01)
    replies = await asyncio.gather(*(writer.ask(HELLO) for _ in range(5)))
    assert len(asked(writer)) == 1
    assert len({reply.text for reply in replies}) == 1
    tally = writer.tally
    assert (tally.bought, tally.found) == (1, 4)
    assert (tally.completion_tokens, tally.usd) == (5, 0.5)


async def test_two_steps_share_the_slots_of_a_model(model: Build) -> None:
    writer = model(max_concurrency=3, latency_s=0.002)
    steps = [writer.for_step("one"), writer.for_step("two")]
    await asyncio.gather(
        *(step.ask(HELLO, sample=10 * n + m) for n, step in enumerate(steps) for m in range(8))
    )
    assert isinstance(writer.provider, Fake)
    assert writer.provider.peak == 3
    assert {step: tally.bought for (step, _), tally in writer.tallies.items()} == {"one": 8, "two": 8}


async def test_a_failure_that_may_mend_is_tried_again(model: Build, ledger: Ledger) -> None:
    writer = model(Transient("time-out"), RateLimited("slow down"), Reply("There."))
    reply = await writer.ask(HELLO)
    assert reply.text == "There."
    assert len(asked(writer)) == 3
    assert len({request.key for request in asked(writer)}) == 1
    assert writer.tally.retries == 2
    outcome = ledger.find(reply.key)
    assert outcome
    assert outcome.attempts == ("time-out", "slow down")


async def test_a_failing_provider_is_asked_again_when_it_says_and_no_later_than_is_bearable(
    model: Build, slept: list[float]
) -> None:
    writer = model(Transient("busy", 200.0), Transient("busy", 1e9), Reply("There."))
    await writer.ask(HELLO)
    assert slept[0] >= 200
    assert slept[1] <= max(LONGEST_PAUSE_S, 60)


async def test_no_call_of_the_lane_is_sent_while_the_provider_wants_to_be_left_alone(model: Build) -> None:
    writer = model(RateLimited("slow down", retry_after_s=0.3), Reply("There."))
    began = time.monotonic()
    first = asyncio.ensure_future(writer.ask(HELLO))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(writer.ask(HELLO, sample=1), 5)
    assert time.monotonic() - began >= 0.3
    await first
    assert len(asked(writer)) == 3


async def test_a_call_that_is_only_refused_for_coming_often_is_not_given_up(model: Build) -> None:
    refusals = [RateLimited("slow down")] * (2 * client.TRIES)
    writer = model(*refusals, Reply("At last."))
    assert (await writer.ask(HELLO)).text == "At last."
    assert writer.tally.retries == len(refusals)


async def test_patience_has_an_end(model: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE_S", 0.0)
    writer = model(RateLimited("slow down"))
    with pytest.raises(RateLimited):
        await writer.ask(HELLO)
    assert len(asked(writer)) == 1


async def test_a_waiting_call_leaves_its_slot_to_others(
    model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_wait", lambda state: 1.0)
    writer = model(RateLimited("slow down"), Reply("There."), max_concurrency=1)
    first = asyncio.ensure_future(writer.ask(HELLO))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(writer.ask(HELLO, sample=1), 5)
    assert not first.done()
    assert (await first).text == "There."


async def test_a_failure_that_never_mends_is_given_up_after_so_many_tries(
    model: Build, ledger: Ledger
) -> None:
    writer = model(Transient("time-out"))
    with pytest.raises(Transient, match="time-out"):
        await writer.ask(HELLO)
    assert len(asked(writer)) == client.TRIES
    assert writer.tally.retries == client.TRIES - 1
    with pytest.raises(Transient):
        await writer.ask(HELLO)
    assert len(asked(writer)) == client.TRIES, "a final failure is replayed"


@pytest.mark.parametrize("error", [BadRequest("too long", hint="shorten it"), BadReply("no JSON")])
async def test_a_failure_of_one_row_is_recorded_and_replayed(
    model: Build, ledger: Ledger, error: RowError
) -> None:
    writer = model(error, Reply("Too late."))
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)) as caught:
            await writer.ask(HELLO)
        assert caught.value.hint == error.hint
    assert len(asked(writer)) == 1
    assert (writer.tally.failed, writer.tally.found, writer.tally.bought) == (1, 1, 1)
    ledger.supersede_failures(sorted(writer.tally.failures))
    assert (await writer.ask(HELLO)).text == "Too late."


@pytest.mark.parametrize("error", [ProviderError("wrong key"), SynthError("anything else of ours")])
async def test_a_failure_of_the_whole_run_is_not_recorded(
    model: Build, ledger: Ledger, error: SynthError
) -> None:
    writer = model(error, Reply("Too late for this run."))
    with pytest.raises(type(error)):
        await writer.ask(HELLO)
    assert list(ledger) == []
    with pytest.raises(type(error)):
        await writer.ask(HELLO, sample=1)
    assert len(asked(writer)) == 1, "nothing more is asked in this run"
    assert (await model(Reply("The key is right now.")).ask(HELLO)).text == "The key is right now."


async def test_what_a_model_cannot_take_is_left_out_and_no_part_of_the_key(model: Build) -> None:
    able, unable = model(), model(able=frozenset())
    await able.ask(HELLO, temperature=0.3, top_p=0.5, stop=("\n",))
    await unable.ask(HELLO, sample=1, temperature=0.3, top_p=0.5)
    [taken], [left_out] = asked(able), asked(unable)
    assert (taken.temperature, taken.top_p, taken.stop) == (0.3, None, ())
    assert (left_out.temperature, left_out.top_p) == (None, None)
    assert await unable.ask(HELLO, sample=1) == await unable.ask(HELLO, sample=1, temperature=0.9)
    assert len(asked(unable)) == 1


async def test_nothing_is_bought_where_nothing_may_be(model: Build) -> None:
    planner, buyer = model(buying=False), model()
    with pytest.raises(NotBought):
        await planner.ask(HELLO)
    assert asked(planner) == []
    assert planner.tally.missing == 1
    reply = await buyer.ask(HELLO)
    assert await planner.ask(HELLO) == reply
    assert (planner.tally.found, planner.tally.missing) == (1, 1)


async def test_a_price_that_is_not_known_is_counted_as_such(model: Build) -> None:
    writer = model(usd=None)
    await writer.ask(HELLO)
    assert (writer.tally.usd, writer.tally.unpriced) == (0.0, 1)


async def test_two_runs_that_buy_the_same_call_at_once_use_the_same_reply(tmp_path: Path) -> None:
    """The ledger keeps the first; whoever comes second goes by it too, or its rows could not be had again."""
    one, other = Ledger(tmp_path / "ledger.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    models = [
        Model("m", Fake(ends=[Reply(text)], latency_s=0.01), ledger, Lane(1))
        for ledger, text in ((one, "from one"), (other, "from the other"))
    ]
    first, second = await asyncio.gather(*(model.ask(HELLO) for model in models))
    recorded = one.find(first.key)
    assert recorded
    one.close()
    other.close()
    assert first.text == second.text == recorded.result().text


async def test_an_outcome_is_on_disk_before_anybody_sees_it(
    tmp_path: Path, ledger: Ledger, model: Build
) -> None:
    reply = await model().ask(HELLO)
    elsewhere = Ledger(tmp_path / "ledger.sqlite")
    assert elsewhere.find(reply.key)
    elsewhere.close()


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(Reply("half of a pair: \ud83d"), id="lone surrogate"),
        pytest.param(
            Reply("x", tokens=(Token("x", float("-inf"), {"x": float("-inf")}),)), id="minus infinity"
        ),
        pytest.param(Reply("x", tokens=(Token("x", float("nan")),)), id="no number"),
    ],
)
async def test_a_reply_that_cannot_be_kept_costs_one_row_and_never_the_run(model: Build, odd: Reply) -> None:
    writer = model(odd)
    ends = []
    for _ in range(2):
        try:
            ends.append(await asyncio.wait_for(writer.ask(HELLO), 5))
        except RowError as error:
            ends.append(type(error))  # type: ignore[arg-type]
    assert ends[0] == ends[1]
    assert len(asked(writer)) == 1


def test_tallies_add_up() -> None:
    one = Tally(found=1, bought=2, missing=4, retries=5, prompt_tokens=6, completion_tokens=7)
    one.usd, one.unpriced, one.models, one.failures = 0.5, 8, {"a"}, {"x", "y", "z"}
    whole = client.totals({("s", "m"): one, ("t", "m"): Tally(found=10, models={"b"})})
    assert (whole.found, whole.bought, whole.failed, whole.missing) == (11, 2, 3, 4)
    assert (whole.retries, whole.prompt_tokens, whole.completion_tokens) == (5, 6, 7)
    assert (whole.usd, whole.unpriced, whole.models) == (0.5, 8, {"a", "b"})
