"""Answers checked by code, through whole pipelines. The server's log is the referee of what was asked."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import Make, ReadPipeline, RowsOf, WriteLines
from provider_server import Body, ProviderServer

from synth.errors import UserError
from synth.methods.verify import Verify
from synth.rows import Row
from synth.run import Watch
from synth.store.version import Version

PIPELINE = """
name: verified
models: {{m: {{provider: compatible, model: m, base_url: "{url}/v1"}}}}
steps:
  - jsonl: {{path: asked}}
{before}
  - respond: {{model: m, count: {count}}}
  - verify: {{{fields}}}
dataset: {{views: [{{sft: {{answers: passed}}}}, preference]}}
"""
QUIET = "punctuation:no_comma"
QUOTED = "startend:quotation"

Verified = Callable[..., Any]


def demand(prompt: str, **constraints: dict[str, Any]) -> dict[str, Any]:
    """A line as IFEval's file has them: ``demand("Say hi.", no_comma={})``."""
    family = {"no_comma": QUIET, "quotation": QUOTED, "frequency": "keywords:frequency"}
    ids = [family.get(name, name) for name in constraints]
    return {"key": 1, "prompt": prompt, "instruction_id_list": ids, "kwargs": list(constraints.values())}


@pytest.fixture
def verified(
    server: ProviderServer,
    pipeline: ReadPipeline,
    make: Make,
    write_lines: WriteLines,
    rows_of: RowsOf,
) -> Verified:
    """Ask, and verify what the server says: the rows, the version, and what the run showed of itself."""

    async def verified_(
        *lines: dict[str, Any], says: list[str] | None = None, fields: str = "", before: str = ""
    ) -> tuple[list[Row], Version, Watch]:
        write_lines("asked.jsonl", *lines)
        rows = rows_of(Verify)
        if says:
            left = list(says)
            server.answer = lambda body: left.pop(0)
        count = len(says) // len(lines) if says else 1
        text = PIPELINE.format(url=server.url, fields=fields, before=before, count=count)
        version, watch = await make(pipeline(text))
        return sorted(rows, key=lambda row: row.prompt[-1].content), version, watch

    return verified_


def checks(row: Row) -> dict[tuple[str, str], float | None]:
    """What was found, by the text of the answer and what was looked at."""
    found = {}
    for judgment in row.judgments:
        assert judgment.kind == "check"
        assert judgment.candidates == judgment.order
        found[row.answers[judgment.candidates[0]].text, judgment.aspect] = judgment.value
    return found


def failed(version: Version) -> dict[str, str]:
    """Why rows were dropped, by the prompt."""
    lines = pq.read_table(version.path / ".synth" / "dropped.parquet").to_pylist()
    return {line["text"].split("\n")[0]: line["reason"] for line in lines}


# Constraints


async def test_every_answer_gets_a_check_for_every_constraint_and_no_call_is_made(
    verified: Verified, server: ProviderServer
) -> None:
    line = demand("Speak.", no_comma={}, quotation={})
    [row], _, watch = await verified(line, says=['"Hi."', "Hi, you."])
    assert checks(row) == {
        ('"Hi."', QUIET): 1.0,
        ('"Hi."', QUOTED): 1.0,
        ("Hi, you.", QUIET): 0.0,
        ("Hi, you.", QUOTED): 0.0,
    }
    assert all(judgment.step == "verify" and judgment.calls == () for judgment in row.judgments)
    assert len(server.bodies) == 2, "the answers themselves, and nothing for checking them"
    assert {step for step, _ in watch.tallies} == {"respond"}


async def test_what_passes_all_checks_is_chosen_and_learnt_from_and_what_fails_one_is_not(
    verified: Verified,
) -> None:
    line = demand("Speak.", no_comma={}, quotation={})
    _, version, _ = await verified(line, says=['"Hi, you."', '"Hi."'])
    [pair] = version.rows("preference")
    assert pair["chosen"][-1]["content"] == '"Hi."'
    assert pair["rejected"][-1]["content"] == '"Hi, you."'
    assert [each["completion"][-1]["content"] for each in version.rows("sft")] == ['"Hi."']


async def test_answers_that_all_pass_or_all_fail_alike_are_no_pair(verified: Verified) -> None:
    line = demand("Speak.", no_comma={})
    _, version, _ = await verified(line, says=["Hi.", "Hello."])
    assert list(version.rows("preference")) == []


async def test_loose_forgives_an_opening_line_that_strict_does_not(verified: Verified) -> None:
    said = 'Here it is:\n"Hi."'
    [strict], *_ = await verified(demand("Speak.", quotation={}), says=[said])
    [loose], *_ = await verified(demand("Speak.", quotation={}), says=[said], fields="mode: loose")
    assert checks(strict) == {(said, QUOTED): 0.0}
    assert checks(loose) == {(said, QUOTED): 1.0}


async def test_an_empty_answer_fails_its_constraints(verified: Verified) -> None:
    [row], *_ = await verified(demand("Speak.", no_comma={}), says=[" "])
    assert checks(row) == {("", QUIET): 0.0}


async def test_two_constraints_of_one_type_are_told_apart(verified: Verified) -> None:
    line = demand("Speak.", frequency={"keyword": "tea", "frequency": 1, "relation": "at least"})
    line["instruction_id_list"] *= 2
    line["kwargs"].append({"keyword": "rum", "frequency": 1, "relation": "at least"})
    [row], *_ = await verified(line, says=["Tea."])
    assert checks(row) == {("Tea.", "keywords:frequency"): 1.0, ("Tea.", "keywords:frequency#2"): 0.0}


BAD = [
    (
        demand("Unknown.", **{"keywords:never": {}}),
        "unknown_constraint",
        "unknown constraint 'keywords:never'",
    ),
    (demand("Misspelt.", frequency={"keywords": "tea"}), "bad_parameters", "unknown key 'keywords'"),
    ({"prompt": "Nothing."}, "no_constraint", "'instruction_id_list'"),
    (demand("Empty."), "no_constraint", "is empty"),
    (demand("Short.", no_comma={}) | {"kwargs": []}, "bad_parameters", "1 constraints, but parameters for 0"),
]


async def test_a_row_with_wrong_constraints_fails_with_its_reason_and_costs_no_other(
    verified: Verified,
) -> None:
    good = demand("Good.", no_comma={})
    rows, version, watch = await verified(good, *(line for line, *_ in BAD))
    assert [row.prompt[-1].content for row in rows] == ["Good."]
    assert watch.accounts["verify"].failed == {"RowError": len(BAD)}
    reasons = failed(version)
    for line, _, said in BAD:
        assert said in reasons[line["prompt"]]


async def test_checkable_drops_such_rows_before_an_answer_is_bought(
    verified: Verified, server: ProviderServer
) -> None:
    good = demand("Good.", no_comma={})
    rows, version, _ = await verified(good, *(line for line, *_ in BAD), before="  - checkable")
    assert [row.prompt[-1].content for row in rows] == ["Good."]
    assert [body["messages"][-1]["content"] for body in server.bodies] == ["Good."]
    assert failed(version) == {line["prompt"]: reason for line, reason, _ in BAD}


async def test_a_constraint_that_cannot_be_checked_here_ends_the_run_before_a_call(
    verified: Verified, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "py3langid" else usual(name, *rest)
    )
    line = demand("Sprich.", **{"language:response_language": {"language": "de"}})
    with pytest.raises(UserError, match="pip install py3langid"):
        await verified(line, before="  - checkable")
    assert server.bodies == []


async def test_facts_under_other_names_and_inside_others_are_found(verified: Verified) -> None:
    line = {"prompt": "Speak.", "task": {"types": [QUIET], "of": [{}]}}
    [row], *_ = await verified(line, says=["Hi."], fields="ids: task.types, parameters: task.of")
    assert checks(row) == {("Hi.", QUIET): 1.0}


# Known answers, as GSM8K marks them, with commas and without

GOLD = "She sells 2 x 900 = <<2*900=1800>>1800.\n#### 1,800"


SAID: dict[str, tuple[float | None, str]] = {
    "900 twice.\n#### 1800": (1.0, "1800"),
    "#### 18\nNo, wait.\n#### 1,800.00": (1.0, "1,800.00"),
    r"So \boxed{1{,}800}, as 900 + 900.": (1.0, "1,800"),
    "The answer is $1,800.": (1.0, "$1,800"),
    "Twice 900, so the answer is 3600/2.": (1.0, "3600/2"),
    "She gets 900 and then 900 more, 1,800": (1.0, "1,800"),
    "1800 at first, but less 10: 1790.": (0.0, "1790"),
    "#### 18": (0.0, "18"),
    "The answer is -1800.": (0.0, "-1800"),
    "It falls to \u22121800": (0.0, "\u22121800"),
    "Half of 3600 (3600-1800)": (1.0, "1800"),
    "I do not know.": (None, ""),
    "": (None, ""),
}


async def test_answer_extraction_on_gsm8k_style_and_commas(verified: Verified) -> None:
    [row], *_ = await verified({"prompt": "How much?", "answer": GOLD}, says=list(SAID), fields="what: maths")
    found = {row.answers[judgment.candidates[0]].text: judgment for judgment in row.judgments}
    assert {text: (judgment.value, judgment.said) for text, judgment in found.items()} == SAID
    for judgment in found.values():
        assert judgment.aspect == "maths"
        assert judgment.unreadable == (None if judgment.said else "no_final_answer")


async def test_a_number_is_the_same_in_all_its_forms(verified: Verified, server: ProviderServer) -> None:
    forms: dict[str, tuple[str | float, str, float | None]] = {
        "a": ("1/2", "The answer is 0.50.", 1.0),
        "b": (r"\frac{1}{2}", r"\boxed{1/2}", 1.0),
        "c": (50, "That is 50%", 1.0),
        "d": (2.5, "about 2.5", 1.0),
        "e": ("x + 1", "The answer is x+1.", 1.0),
        "f": ("x + 1", "it is 1", None),
        "g": ("3", "The answer is 3 apples.", 1.0),
        "h": ("3", "The answer is 30.", 0.0),
    }
    server.answer = lambda body: forms[body["messages"][-1]["content"]][1]
    lines = [{"prompt": prompt, "answer": gold} for prompt, (gold, *_) in forms.items()]
    rows, *_ = await verified(*lines, fields="what: maths")
    assert [row.judgments[0].value for row in rows] == [value for *_, value in forms.values()]


async def test_the_last_number_of_an_answer_that_was_cut_off_is_not_taken_for_its_answer(
    verified: Verified, server: ProviderServer
) -> None:
    def cut(body: Body) -> Body:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "Twice 900 is 1800 and"},
            "finish_reason": "length",
        }
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    server.answer = cut
    [row], *_ = await verified({"prompt": "How much?", "answer": GOLD}, fields="what: maths")
    assert [judgment.unreadable for judgment in row.judgments] == ["no_final_answer"]


async def test_an_answer_in_words_is_compared_only_where_it_is_marked(verified: Verified) -> None:
    line = {"prompt": "Which city?", "gold": "(B) Paris"}
    says = ["So the answer is B.", "The answer is paris.", "The answer is (C) Rome.", "Paris is 1 of 2."]
    [row], *_ = await verified(line, says=says, fields="what: answer, gold: gold")
    assert [judgment.value for judgment in row.judgments] == [1.0, 1.0, 0.0, None]


async def test_an_answer_that_hedges_or_names_two_options_is_unreadable_and_never_right_or_wrong(
    verified: Verified,
) -> None:
    line = {"prompt": "Which city?", "gold": "(B) Paris"}
    says = [f"The answer is {said}." for said in ("(B) or (C)", "(A) Paris", "Paris or Rome")]
    [row], *_ = await verified(line, says=says, fields="what: answer, gold: gold")
    assert [(each.value, each.unreadable) for each in row.judgments] == [(None, "unclear_final_answer")] * 3


async def test_a_row_without_a_known_answer_fails_or_is_dropped_before_a_call(
    verified: Verified, server: ProviderServer
) -> None:
    bad = [{"prompt": f"Bad {n}", "answer": gold} for n, gold in enumerate([None, "", " ", ["4"], True])]
    lines = [{"prompt": "Good", "answer": "4"}, *bad]
    _, version, watch = await verified(*lines, fields="what: maths")
    assert watch.accounts["verify"].failed == {"RowError": 5}
    assert all("expected an answer in 'answer'" in reason for reason in failed(version).values())
    bought = len(server.bodies)
    *_, watch = await verified(*lines, fields="what: maths", before="  - checkable: {what: maths}")
    assert watch.accounts["checkable"].filtered == {"no_known_answer": 5}
    assert len(server.bodies) == bought
