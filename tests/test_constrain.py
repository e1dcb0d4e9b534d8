"""Pairs by a relaxed constraint: the verifier passes the chosen answer and fails the rejected one."""

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import Body, ProviderServer

from synth.constraints.catalogue import read, read_all
from synth.constraints.modes import follows
from synth.errors import SynthError
from synth.methods import constrain
from synth.methods.constrain import Constrain
from synth.methods.verify import Verify
from synth.rows import Judgment, Row
from synth.run import Watch
from synth.store.version import Version

PIPELINE = """
name: constrained
models: {{m: {{provider: compatible, model: m, base_url: "{url}/v1"}}}}
steps:
  - jsonl: {{path: asked}}
  - constrain: {{model: m, count: {count}}}
  - verify: {{ids: constrain.instruction_id_list, parameters: constrain.kwargs}}
dataset: {{views: [{{preference: {{judge: constrain}}}}, {{sft: {{answers: passed, judge: constrain}}}}]}}
"""
# How to follow three types that go together, and a reply that follows none of them.
FREE = "Well, the Rain falls."
OBEYING: dict[str, Callable[[str], str]] = {
    "punctuation:no_comma": lambda text: text.replace(",", ""),
    "change_case:english_lowercase": str.lower,
    "startend:quotation": lambda text: f'"{text}"',
}
DEMANDS = {id_: read(id_, {}).words() for id_ in OBEYING}

Run = Callable[..., Any]


def asks(body: Body) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def obedient(body: Body) -> str:
    """Follows every demand that it knows and that is made, and no other."""
    text = FREE
    for id_, obey in OBEYING.items():
        text = obey(text) if DEMANDS[id_] in asks(body) else text
    return text


@pytest.fixture
def constrained(
    server: ProviderServer,
    pipeline: ReadPipeline,
    make: Make,
    write_lines: WriteLines,
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Put so many prompts under constraints: the rows at the end, the version, what the run showed."""

    async def run(prompts: int, count: int = 3) -> tuple[list[Row], Version, Watch]:
        write_lines("asked.jsonl", *({"prompt": f"Speak of rain in town {n}."} for n in range(prompts)))
        rows: list[Row] = []
        usual = Verify.run

        async def watched(self: Verify, *given: Any) -> AsyncGenerator[Row]:
            async for row in usual(self, *given):
                rows.append(row)
                yield row

        monkeypatch.setattr(Verify, "run", watched)
        version, watch = await make(pipeline(PIPELINE.format(url=server.url, count=count)))
        return rows, version, watch

    return run


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """The three types that the obedient model knows are the ones that are drawn."""
    drawn = [read(id_, {}) for id_ in OBEYING]
    monkeypatch.setattr(constrain, "draw", lambda prompt, count, dice: drawn[:count])


def checks(row: Row, step: str) -> dict[tuple[int, str], float | None]:
    return {(one.candidates[0], one.aspect): one.value for one in row.judgments if one.step == step}


async def test_a_relaxed_constraint_pair_has_a_chosen_that_passes_and_a_rejected_that_fails(
    constrained: Run, server: ProviderServer
) -> None:
    """Of whatever type is drawn. The model knows three of the 25, and of the others follows some by luck."""
    server.answer = obedient
    rows, version, watch = await constrained(48, count=1)
    account = watch.accounts["constrain"]
    assert 3 < len(rows) == account.continued == 48 - sum(account.filtered.values())
    assert set(account.filtered) == {"chosen_fails", "rejected_passes"}
    for row in rows:
        known = row.facts["constrain"]
        [constraint] = read_all(known["instruction_id_list"], known["kwargs"])
        assert [follows(constraint, answer.text) for answer in row.answers] == [True, False]
        assert row.prompt[-1].content == f"{known['prompt']}\n\n{constraint.words()}"
    pairs = list(version.rows("preference"))
    assert {pair["rejected"][0]["content"] for pair in pairs} == {FREE}
    assert len(pairs) == len(list(version.rows("sft"))) == len(rows)


async def test_of_several_constraints_one_is_relaxed_and_the_rejected_answer_fails_just_that(
    constrained: Run, server: ProviderServer, three: None
) -> None:
    server.answer = obedient
    rows, _, _ = await constrained(60)
    assert len(rows) == 60
    for row in rows:
        relaxed = row.facts["constrain"]["relaxed"]
        found = checks(row, "constrain")
        assert len(found) == 6
        assert [key for key, value in found.items() if value == 0.0] == [(1, relaxed)]
    relaxed_how_often = Counter(row.facts["constrain"]["relaxed"] for row in rows)
    assert set(relaxed_how_often) == set(OBEYING)
    assert min(relaxed_how_often.values()) >= 8, "of 60, 20 expected each"


async def test_two_calls_a_row_one_with_all_constraints_and_one_without_the_relaxed_one(
    constrained: Run, server: ProviderServer, three: None
) -> None:
    server.answer = obedient
    rows, _, _ = await constrained(20)
    asked: dict[str, list[str]] = defaultdict(list)
    for body in server.bodies:
        asked[asks(body).split("\n")[0]].append(asks(body))
    assert len(server.bodies) == 40 == Constrain(model="m").calls(20)
    for row in rows:
        known = row.facts["constrain"]
        less = row.prompt[-1].content.replace(f"\n{DEMANDS[known['relaxed']]}", "")
        assert sorted(asked[known["prompt"]]) == sorted([row.prompt[-1].content, less])
        assert all(answer.model == "m" and len(answer.calls) == 1 for answer in row.answers)


async def test_verify_reads_the_constraints_and_finds_the_same(
    constrained: Run, server: ProviderServer, three: None
) -> None:
    server.answer = obedient
    rows, _, _ = await constrained(10)
    assert all(checks(row, "verify") == checks(row, "constrain") for row in rows)
    assert all(isinstance(one, Judgment) and one.kind == "check" for row in rows for one in row.judgments)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (FREE, "chosen_fails"),
        (f'"{FREE.lower().replace(",", "")}"', "rejected_passes"),
        (" ", "empty_answer"),
        (
            {"choices": [{"message": {"role": "assistant", "content": '"so'}, "finish_reason": "length"}]},
            "cut_off",
        ),
    ],
    ids=["never obeys", "always obeys", "says nothing", "runs out"],
)
async def test_what_the_verifier_does_not_tell_apart_is_dropped_and_counted(
    constrained: Run, server: ProviderServer, three: None, says: str | Body, reason: str
) -> None:
    server.answer = lambda body: says
    with pytest.raises(SynthError, match=f"no row reached the end of the pipeline: constrain: {reason} 4"):
        await constrained(4)


async def test_answers_to_the_prompt_without_constraints_are_left_behind(
    server: ProviderServer, pipeline: ReadPipeline, make: Make, write_lines: WriteLines, three: None
) -> None:
    server.answer = obedient
    write_lines("asked.jsonl", {"prompt": "Speak of rain."})
    text = PIPELINE.format(url=server.url, count=2)
    version, _ = await make(pipeline(text.replace("  - constrain", "  - respond: {model: m}\n  - constrain")))
    assert len(server.bodies) == 3
    [line] = version.rows("sft")
    assert line["completion"][0]["content"] == FREE.lower().replace(",", "")
    assert line["prompt"][0]["content"].startswith("Speak of rain.\n\n")
