"""Wrong answers that look right, through whole pipelines. The server's log is the referee."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Make, ReadPipeline, RowsOf, WriteLines
from provider_server import Body, ProviderServer

from synth.methods.hallucinate import KINDS, Hallucinate
from synth.rows import Row
from synth.run import Watch
from synth.scores import scores
from synth.store.version import Version

PIPELINE = """
name: hallucinate
models: {{m: {{provider: compatible, model: m, base_url: "{url}/v1"}}}}
steps:
  - jsonl: {{path: asked}}
  - hallucinate: {{model: m, {fields}}}
dataset: {{views: [preference]}}
"""
LINE = {
    "prompt": "Which river flows through Vienna?",
    "answer": "The Danube.",
    "passage": "It is the Danube.",
}


def said(body: Body) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def part(body: Body) -> str:
    """Which part of the method a request is."""
    if "more plausible" in said(body):
        return "filter"
    if "in two turns" in said(body):
        return "first_turn"
    return "second_turn" if len(body["messages"]) == 3 else "one_pass"


@pytest.fixture
def invent(
    server: ProviderServer,
    pipeline: ReadPipeline,
    make: Make,
    write_lines: WriteLines,
    rows_of: RowsOf,
) -> Callable[..., Any]:
    """Run the method on lines: the rows that it made, the version, and what the run showed of itself."""

    async def invent_(*lines: dict[str, Any], fields: str = "task: qa") -> tuple[list[Row], Version, Watch]:
        write_lines("asked.jsonl", *lines)
        rows = rows_of(Hallucinate)
        version, watch = await make(pipeline(PIPELINE.format(url=server.url, fields=fields)))
        return list(rows), version, watch

    return invent_


def script(server: ProviderServer, **answers: str) -> None:
    """Answer by part; the filter prefers the conversation's candidate wherever it stands."""

    def answer(body: Body) -> str:
        if part(body) in answers:
            return answers[part(body)]
        if part(body) == "filter":
            text = said(body)
            return f'{{"better": "{"A" if text.index("The Rhine") < text.index("The Elbe") else "B"}"}}'
        return {
            "one_pass": "The Elbe.",
            "first_turn": "Names that sound alike.",
            "second_turn": "The Rhine.",
        }[part(body)]

    server.answer = answer


async def test_two_generators_sample_and_the_filter_picks_at_temperature_0_in_both_orders(
    invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server)
    (row,), *_ = await invent(LINE)
    asked = Counter(part(body) for body in server.bodies)
    assert asked == {"one_pass": 1, "first_turn": 1, "second_turn": 1, "filter": 2}
    for body in server.bodies:
        assert body["temperature"] == (0.0 if part(body) == "filter" else 1.0)
        assert part(body) == "filter" or (body.get("max_completion_tokens") or body["max_tokens"]) == 256
    first, second = (said(body) for body in server.bodies if part(body) == "filter")
    assert (first.index("The Elbe") < first.index("The Rhine")) != (
        second.index("The Elbe") < second.index("The Rhine")
    )
    assert [answer.text for answer in row.answers] == ["The Danube.", "The Rhine."]
    assert row.facts["hallucinate"]["generator"] == "conversation"
    assert row.facts["hallucinate"]["agreed"]


async def test_the_right_answer_is_chosen_and_the_hallucination_rejected(
    invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server)
    _, version, _ = await invent(LINE)
    (line,) = version.rows("preference")
    assert (line["chosen"][0]["content"], line["rejected"][0]["content"]) == ("The Danube.", "The Rhine.")


@pytest.mark.parametrize("task", ["qa", "dialogue", "summary"])
async def test_the_kind_is_one_of_the_tasks_own_and_is_kept(
    task: str, invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server)
    lines = [{**LINE, "prompt": f"Question {number}?"} for number in range(12)]
    rows, *_ = await invent(*lines, fields=f"task: {task}")
    kinds = {row.facts["hallucinate"]["kind"] for row in rows}
    assert len(kinds) > 1
    assert kinds <= set(KINDS[task])
    for row in rows:
        assert row.judgments[1].said.endswith(row.facts["hallucinate"]["kind"])


@pytest.mark.parametrize("same", ["The Danube.", "the danube", " Danube! "])
async def test_a_negative_that_does_not_differ_from_the_truth_is_not_used(
    same: str, invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server, second_turn=same)
    (row,), *_ = await invent(LINE)
    assert row.answers[1].text == "The Elbe."
    assert row.facts["hallucinate"]["unused"] == [None, "same_as_truth"]
    assert "filter" not in {part(body) for body in server.bodies}


async def test_a_row_without_a_usable_negative_is_dropped_for_a_reason(
    invent: Callable[..., Any], server: ProviderServer
) -> None:
    def answer(body: Body) -> str:
        return "Danube" if "Vienna" in said(body) else "The Rhine." if part(body) != "filter" else "{}"

    server.answer = answer
    rows, _, watch = await invent(LINE, {**LINE, "prompt": "Which river?"})
    assert watch.accounts["hallucinate"].filtered == {"same_as_truth": 1}
    assert len(rows) == 1


async def test_where_the_orders_disagree_or_cannot_be_read_chance_picks_and_says_so(
    invent: Callable[..., Any], server: ProviderServer
) -> None:
    lines = [{**LINE, "prompt": f"Question {number}?"} for number in range(12)]
    script(server, filter='{"better": "A"}')
    rows, *_ = await invent(*lines)
    assert {row.facts["hallucinate"]["agreed"] for row in rows} == {False}
    assert len({row.facts["hallucinate"]["generator"] for row in rows}) == 2
    script(server, filter="Both are nice.")
    (row,), *_ = await invent({**LINE, "prompt": "Another?"})
    assert row.facts["hallucinate"]["named"] == [None, None]
    assert [j.unreadable for j in row.judgments] == ["filter_unreadable", "filter_unreadable", None, None]
    assert scores(row).of == {0: 1.0, 1: 0.0}, "what cannot be read is no score"


async def test_what_the_filter_said_and_what_it_did_not_pick_are_kept(
    invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server)
    (row,), *_ = await invent(LINE)
    assert row.facts["hallucinate"]["other"]["text"] == "The Elbe."
    known = {*row.answers[1].calls, *row.facts["hallucinate"]["other"]["calls"]}
    assert len(row.answers[1].calls) == 4, "the two turns of the conversation and both orders of the filter"
    assert len(known) == len(server.bodies) == 5
    script(server, filter="Both are nice.")
    (row,), version, _ = await invent({**LINE, "prompt": "Another?"})
    counted = version.manifest["judges"]["hallucinate"]
    assert (counted["unreadable"], counted["reasons"]) == (2, {"filter_unreadable": 2})
    assert (counted["passed"], counted["failed"]) == (1, 1)


@pytest.mark.parametrize(("truth", "candidate"), [("5", "-5"), ("C", "C++")])
async def test_a_candidate_that_differs_from_the_truth_in_its_marks_alone_is_another_answer(
    truth: str, candidate: str, invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server, one_pass=candidate, second_turn=candidate)
    (row,), *_ = await invent({**LINE, "answer": truth})
    assert row.answers[1].text == candidate
    assert "filter" not in {part(body) for body in server.bodies}, "both candidates are the same"


@pytest.mark.parametrize(("finish", "reason"), [("length", "cut_off"), ("content_filter", "content_filter")])
async def test_a_candidate_that_its_model_did_not_end_itself_is_not_used_and_its_reason_is_said(
    finish: str, reason: str, invent: Callable[..., Any], server: ProviderServer
) -> None:
    def answer(body: Body) -> str | Body:
        if part(body) == "one_pass":
            return "The Elbe."
        message = {"role": "assistant", "content": "The Rhine."}
        ended = {"choices": [{"message": message, "finish_reason": finish}]}
        return ended if part(body) == "second_turn" else "Names that sound alike."

    server.answer = answer
    (row,), *_ = await invent(LINE)
    assert row.facts["hallucinate"]["unused"] == [None, reason]
    assert row.answers[1].text == "The Elbe."


async def test_a_row_without_a_truth_or_a_passage_is_dropped_before_any_call(
    invent: Callable[..., Any], server: ProviderServer
) -> None:
    script(server)
    bare = {"prompt": "Which river?"}
    _, _, watch = await invent(LINE, {**bare, "passage": "Some."}, {**bare, "answer": "The Rhine."})
    assert watch.accounts["hallucinate"].filtered == {"no_gold_answer": 1, "no_passage": 1}
    assert len(server.bodies) == 5
