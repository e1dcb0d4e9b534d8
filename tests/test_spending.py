"""Budgets: what the server counted never exceeds what was allowed, whatever stops a run."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import Fault, ProviderServer

from synth.errors import BudgetSpent, UserError
from synth.models.base import Budget, Price, Request, Usage
from synth.models.spending import Amount, Spending, spent, worst
from synth.rows import Message

PRICE = Price(input=1000.0, output=4000.0)
PIPELINE = """
name: paid
seed: 3
models:
  m: {{provider: compatible, model: made, base_url: "{url}/v1", max_concurrency: 8{model}}}
steps:
  - jsonl: {{path: questions}}
  - respond: {{model: m, max_tokens: 40}}
dataset: {{views: [sft]}}
{rest}
"""
PRICED = f", price: {{input: {PRICE.input}, output: {PRICE.output}}}"
ROWS = 30

Paid = Callable[..., str]


@pytest.fixture
def paid(server: ProviderServer, write_lines: WriteLines) -> Paid:
    """The text of a pipeline with a budget, for so many questions."""
    write_lines("questions.jsonl", *({"prompt": f"Question {number}?"} for number in range(ROWS)))

    def text(rest: str, model: str = "") -> str:
        return PIPELINE.format(url=server.url, rest=rest, model=model)

    return text


def billed(server: ProviderServer) -> float:
    """What the server asks in USD for all that it answered, by its own count."""
    usage = [server._usual(entry, None)["usage"] for entry in server.log if entry.sent]  # type: ignore[index]
    return sum(PRICE.usd(Usage(each["prompt_tokens"], each["completion_tokens"])) for each in usage)


async def test_no_more_calls_are_made_than_allowed_and_a_higher_cap_goes_on_where_it_ended(
    paid: Paid, pipeline: ReadPipeline, make: Make, server: ProviderServer
) -> None:
    with pytest.raises(BudgetSpent, match=r"12 of budget\.calls: 12 are used"):
        await make(pipeline(paid("budget: {calls: 12}")))
    assert len(server.log) == 12
    version, _ = await make(pipeline(paid(f"budget: {{calls: {ROWS}}}")))
    assert len(server.log) == ROWS
    assert version.manifest["rows"] == ROWS
    await make(pipeline(paid(f"budget: {{calls: {ROWS}}}")))
    assert len(server.log) == ROWS, "what is found costs nothing"


async def test_no_more_is_spent_than_allowed_by_the_servers_own_count(
    paid: Paid, pipeline: ReadPipeline, make: Make, server: ProviderServer, project: Path
) -> None:
    with pytest.raises(BudgetSpent, match=r"budget\.usd"):
        await make(pipeline(paid("budget: {usd: 1.5}", PRICED)))
    assert 0.5 < billed(server) <= 1.5
    known = spent(project / ".synth" / "spending.sqlite", "paid")
    assert known.usd == pytest.approx(billed(server))
    assert known.calls == len(server.log)


async def test_a_model_has_a_budget_of_its_own(
    paid: Paid, pipeline: ReadPipeline, make: Make, server: ProviderServer
) -> None:
    with pytest.raises(BudgetSpent, match=r"models\.m\.budget\.calls: 5"):
        await make(pipeline(paid("", ", budget: {calls: 5}")))
    assert len(server.log) == 5


async def test_a_failure_that_the_provider_answered_with_costs_a_call_and_no_money(
    paid: Paid, pipeline: ReadPipeline, make: Make, server: ProviderServer, project: Path
) -> None:
    server.fault = lambda body: Fault(status=400)
    with pytest.raises(Exception, match="no row reached the end"):
        await make(pipeline(paid("budget: {usd: 50}", PRICED)))
    assert spent(project / ".synth" / "spending.sqlite", "paid") == Amount(ROWS, 0, 0.0)


async def test_an_answer_that_never_came_whole_counts_at_its_most(
    paid: Paid, pipeline: ReadPipeline, make: Make, server: ProviderServer, project: Path
) -> None:
    server.script = (Fault(status=200, drop_after=20),)
    server._faults.extend(server.script)
    await make(pipeline(paid("budget: {usd: 50}", PRICED)), limit=1)
    usage = worst(Request("", "", (Message("user", "Question 0?"),), max_tokens=40))
    known = spent(project / ".synth" / "spending.sqlite", "paid")
    assert known.calls == 2
    assert known.usd == pytest.approx(PRICE.usd(usage) + billed(server))


async def test_a_reservation_that_a_kill_left_open_counts_whole(tmp_path: Path) -> None:
    file = tmp_path / "spending.sqlite"
    killed = Spending(file, "p", Budget(usd=10), {})
    await killed.reserve("m", Amount(1, 100, 4.0))
    again = Spending(file, "p", Budget(usd=10), {})
    assert again.spent[""] == Amount(1, 100, 4.0)
    with pytest.raises(BudgetSpent):
        await again.reserve("m", Amount(1, 100, 6.1))
    other = Spending(file, "another", Budget(usd=10), {})
    assert other.spent[""] == Amount()
    for account in (killed, again, other):
        account.close()


async def test_a_call_waits_for_others_to_settle_before_the_budget_counts_as_spent(tmp_path: Path) -> None:
    account = Spending(tmp_path / "spending.sqlite", "p", Budget(usd=10), {})
    first = await account.reserve("m", Amount(usd=8))
    second = asyncio.ensure_future(account.reserve("m", Amount(usd=8)))
    await asyncio.sleep(0.01)
    assert not second.done()
    account.settle(first, "m", Amount(usd=8), Amount(usd=1))
    await asyncio.wait_for(second, 1)
    assert account.spent[""].usd == 9
    account.close()


def test_a_cap_in_dollars_on_a_model_without_a_price_is_a_mistake_with_its_place(
    paid: Paid, pipeline: ReadPipeline
) -> None:
    with pytest.raises(
        UserError, match=r"pipeline\.yaml:\d+:\d+  budget\.usd: what models\.m costs"
    ) as caught:
        pipeline(paid("budget: {usd: 3}"))
    assert "price: {input" in str(caught.value)
    with pytest.raises(UserError, match=r"models\.m\.budget\.usd"):
        pipeline(paid("", ", budget: {usd: 3}"))
    assert pipeline(paid("budget: {usd: 3}", PRICED)).budget == Budget(usd=3)
    assert pipeline(paid("budget: {calls: 3}")).budget == Budget(calls=3)


def test_cached_tokens_have_a_price_of_their_own() -> None:
    usage = Usage(prompt=100, completion=10, cached=60)
    assert Price(input=1, output=2).usd(usage) == pytest.approx(120e-6)
    assert Price(input=1, output=2, cached=0.5).usd(usage) == pytest.approx(90e-6)
