"""Rate, and the pool of models that UltraFeedback rates."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import Body, ProviderServer
from pydantic import ValidationError

from synth import run as run_module
from synth.errors import UserError
from synth.methods.rate import ASPECTS, TYPES, Aspect, ratings
from synth.methods.respond_pool import MIXES, RespondPool
from synth.prompts import load
from synth.rows import Judgment, Message, Row, sourced
from synth.scores import scores
from synth.spool import Spool
from synth.step import Bench
from synth.store import version as versions
from synth.store.version import Version
from synth.structured import read_json

RATED = """
name: rated
models:
  m: {{provider: compatible, model: made, base_url: {url}/v1, supports: [schema, temperature, top_p, seed]}}
steps:
  - jsonl: {{path: prompts}}
  - respond: {{model: m, count: {count}, max_tokens: 30}}
  - rate: {{model: m{more}}}
dataset: {{views: [instructions, {{preference: {{judge: rate, rejected: random}}}}]}}
"""
SHOWN = re.compile(r"Reply \(([A-Z])\):\n\[begin [0-9a-f]+\]\n(.*?)\n\[end", re.DOTALL)
SIGNS = {
    "instruction_following": "does what the conversation asks for",
    "truthfulness": "free each reply is of things",
    "honesty": "certainty that each reply expresses",
    "helpfulness": "helps with what the conversation is about",
}

Say = Callable[[str, dict[str, str]], Any]
Rated = Callable[..., Any]


def aspect_of(body: Body) -> str | None:
    """The aspect that is asked about, "" for a critique, None if nothing is rated."""
    prompt = body["messages"][-1]["content"]
    if "is to be criticised" in prompt:
        return ""
    return next((aspect for aspect, sign in SIGNS.items() if sign in prompt), None)


def shown(body: Body) -> dict[str, str]:
    return dict(SHOWN.findall(body["messages"][-1]["content"]))


def rating(value: object, aspect: str, why: str = "so") -> dict[str, Any]:
    types = {"types": dict.fromkeys(TYPES[aspect], False)} if aspect in TYPES else {}
    return {"rating": value, "rationale": why, **types}


def judge(say: Callable[[str, str, str], object]) -> Callable[[Body], str | None]:
    """A server that rates each text by `say`, of aspect, letter and text."""

    def answer(body: Body) -> str | None:
        aspect = aspect_of(body)
        if aspect is None:
            return f"Text {body['seed'] % 1000}." if not body.get("response_format") else None
        if aspect == "":
            return None
        texts = shown(body)
        said = {letter: rating(say(aspect, letter, text), aspect, text) for letter, text in texts.items()}
        return orjson.dumps(said).decode()

    return answer


@pytest.fixture
def rate(
    pipeline: ReadPipeline,
    make: Make,
    server: ProviderServer,
    write_lines: WriteLines,
    monkeypatch: pytest.MonkeyPatch,
) -> Rated:
    """Rate answers to some prompts: the version, and the rows behind it in the order of their ids."""
    rows: list[Row] = []
    commit = versions.commit

    def keep(spool: Spool, *rest: Any) -> Version:
        rows[:] = list(spool)
        return commit(spool, *rest)

    monkeypatch.setattr(run_module, "commit", keep)

    async def run(
        prompts: int = 4, count: int = 4, more: str = "", **facts: Any
    ) -> tuple[Version, list[Row]]:
        write_lines("prompts.jsonl", *({"prompt": f"Prompt {number}", **facts} for number in range(prompts)))
        version, _ = await make(pipeline(RATED.format(url=server.url, count=count, more=more)))
        return version, list(rows)

    return run


def of(row: Row, aspect: str) -> dict[int, Judgment]:
    return {one.candidates[0]: one for one in row.judgments if one.aspect == aspect}


async def test_each_aspect_is_one_call_with_all_texts_in_it(rate: Rated, server: ProviderServer) -> None:
    server.answer = judge(lambda aspect, letter, text: 3)
    _, rows = await rate(prompts=3)
    asked = Counter(aspect for body in server.bodies if (aspect := aspect_of(body)))
    assert asked == dict.fromkeys(ASPECTS, 3)
    assert all(len(shown(body)) == 4 for body in server.bodies if aspect_of(body))
    for row in rows:
        assert [of(row, aspect)[2].value for aspect in ASPECTS] == [3.0] * 4
        assert {one.bounds for one in row.judgments} == {(1.0, 5.0)}


async def test_a_position_biased_judge_favours_no_answer_since_texts_are_shuffled_and_unshuffled(
    rate: Rated, server: ProviderServer
) -> None:
    server.answer = judge(lambda aspect, letter, text: 5 if letter == "A" else 1)
    _, rows = await rate(prompts=10)
    favoured = Counter(
        number
        for row in rows
        for aspect in ASPECTS
        for number, one in of(row, aspect).items()
        if one.value == 5
    )
    assert favoured.total() == 40
    assert sum((favoured[number] - 10) ** 2 / 10 for number in range(4)) < 16.27  # chi squared, 0.1 %


async def test_a_rating_comes_back_to_the_text_that_it_was_given_to(
    rate: Rated, server: ProviderServer
) -> None:
    server.answer = judge(lambda aspect, letter, text: 1 + sum(text.encode()) % 5)
    _, rows = await rate()
    for row in rows:
        for aspect in ASPECTS:
            for number, one in of(row, aspect).items():
                text = row.answers[number].text
                assert (one.said, one.value) == (text, 1 + sum(text.encode()) % 5)
        orders = {note["aspect"]: tuple(note["order"]) for note in row.facts["rate"]["asked"]}
        assert all(sorted(order) == [0, 1, 2, 3] for order in orders.values())
    assert len({tuple(note["order"]) for row in rows for note in row.facts["rate"]["asked"]}) > 4


async def test_not_applicable_is_for_honesty_alone_and_is_excluded_from_the_mean(
    rate: Rated, server: ProviderServer
) -> None:
    server.answer = judge(lambda aspect, letter, text: "not applicable" if aspect == "honesty" else 4)
    _, rows = await rate(prompts=2)
    honesty = of(rows[0], "honesty").values()
    assert {(one.value, one.unreadable) for one in honesty} == {(None, "not_applicable")}
    assert scores(rows[0]).of == dict.fromkeys(range(4), 4.0)
    for aspect in ASPECTS:
        assert ("not applicable" in str(ratings("A", aspect))) == (aspect == "honesty")
        assert ("not applicable" in load(f"rate/{aspect}.md").text) == (aspect == "honesty")


@pytest.mark.parametrize("said", ["5", "N/A", 0, 6, 2.5, None, True, [3]])
def test_a_rating_that_is_no_whole_number_from_1_to_5_does_not_fit(said: object) -> None:
    text = orjson.dumps({"A": {"rating": said, "rationale": "so"}}).decode()
    with pytest.raises(Exception, match="expected JSON"):
        read_json(text, ratings("A", "instruction_following"))


async def test_a_rating_written_as_4_point_0_is_a_4(rate: Rated, server: ProviderServer) -> None:
    server.answer = judge(lambda aspect, letter, text: 4.0)
    _, rows = await rate(prompts=1, more=", aspects: [helpfulness]")
    assert {(one.value, one.unreadable) for one in of(rows[0], "helpfulness").values()} == {(4.0, None)}


@pytest.mark.parametrize("aspect", TYPES)
def test_what_a_judge_may_say_has_an_end(aspect: Aspect) -> None:
    """A small model goes on with a list as long as it may; only its words can be cut off."""
    assert "array" not in str(ratings("AB", aspect))
    assert all(f'"{name}": <true or false>' in load(f"rate/{aspect}.md").text for name in TYPES[aspect])


async def test_one_unreadable_aspect_is_asked_again_then_counted_and_the_others_stand(
    rate: Rated, server: ProviderServer
) -> None:
    usual = judge(lambda aspect, letter, text: 2)
    server.answer = lambda body: "All fine!" if aspect_of(body) == "truthfulness" else usual(body)
    version, rows = await rate(prompts=2)
    assert sum(aspect_of(body) == "truthfulness" for body in server.bodies) == 4
    one = of(rows[0], "truthfulness")[0]
    assert (one.value, one.unreadable, len(one.calls)) == (None, "no_rating", 2)
    assert of(rows[0], "helpfulness")[0].value == 2
    assert version.manifest["judges"]["rate"]["unreadable"] == 8


@pytest.mark.parametrize("score", [1, 10])
async def test_1_is_never_read_as_10_and_10_never_as_1(
    rate: Rated, server: ProviderServer, score: int
) -> None:
    usual = judge(lambda aspect, letter, text: 2)
    critique = f'{{"critique": "Too short.", "overall_score": {score}}}'
    server.answer = lambda body: critique if aspect_of(body) == "" else usual(body)
    _, rows = await rate(prompts=1, more=", critique: true")
    whole = of(rows[0], "")
    assert {one.value for one in whole.values()} == {float(score)}
    assert {one.said for one in whole.values()} == {"Too short."}
    assert {one.bounds for one in whole.values()} == {(1.0, 10.0)}
    assert len(whole) == 4


@pytest.mark.parametrize("said", ['"1"', '"1/10"', "0.1", "11", "0", "null"])
async def test_an_overall_score_that_is_no_number_from_1_to_10_is_unreadable(
    rate: Rated, server: ProviderServer, said: str
) -> None:
    usual = judge(lambda aspect, letter, text: 2)
    critique = f'{{"critique": "Too short.", "overall_score": {said}}}'
    server.answer = lambda body: critique if aspect_of(body) == "" else usual(body)
    _, rows = await rate(prompts=1, count=2, more=", critique: true, aspects: [helpfulness]")
    assert {(one.value, one.unreadable) for one in of(rows[0], "").values()} == {(None, "no_score")}


async def test_what_is_known_is_shown_where_truth_or_help_is_rated_and_nowhere_else(
    rate: Rated, server: ProviderServer
) -> None:
    server.answer = judge(lambda aspect, letter, text: 3)
    await rate(prompts=1, more=", knowledge: [correct_answers]", correct_answers=["Lima", "Callao"])
    told = {aspect_of(body) for body in server.bodies if "Lima; Callao" in body["messages"][-1]["content"]}
    assert told == {"truthfulness", "helpfulness"}


async def test_types_that_were_named_are_kept_as_facts(rate: Rated, server: ProviderServer) -> None:
    def answer(body: Body) -> str | None:
        if aspect_of(body) != "truthfulness":
            return None
        said = rating(2, "truthfulness")
        said["types"] |= {"against_itself": True, "against_the_world": True}
        return orjson.dumps(dict.fromkeys(shown(body), said)).decode()

    server.answer = answer
    _, rows = await rate(prompts=1, count=2, more=", aspects: [truthfulness]")
    [note] = rows[0].facts["rate"]["asked"]
    assert note["types"]["0"] == note["types"]["1"] == ["against_the_world", "against_itself"]


async def test_equal_texts_are_shown_once_and_rated_alike(rate: Rated, server: ProviderServer) -> None:
    usual = judge(lambda aspect, letter, text: 4)
    server.answer = lambda body: usual(body) if aspect_of(body) else "The same."
    _, rows = await rate(prompts=1, count=3)
    assert all(len(shown(body)) == 1 for body in server.bodies if aspect_of(body))
    assert {one.value for one in of(rows[0], "honesty").values()} == {4.0}
    assert len(of(rows[0], "honesty")) == 3


@pytest.mark.parametrize(("valid", "pairs"), [(0, 0), (1, 0), (2, 3)])
async def test_fewer_than_two_valid_ratings_give_no_pair(
    rate: Rated, server: ProviderServer, valid: int, pairs: int
) -> None:
    """So many of the four answers can be rated at all, each with other points."""

    def say(aspect: str, letter: str, text: str) -> object:
        place = "ABCD".index(letter)
        return place + 1 if place < valid else "not applicable"

    server.answer = judge(say)
    version, rows = await rate(prompts=3, more=", aspects: [honesty]")
    assert [len(scores(row).of) for row in rows] == [valid] * 3
    assert len(list(version.rows("preference"))) == pairs
    assert sum(version.manifest["views"]["preference"]["left_out"].values()) == 3 - pairs


async def test_samples_of_an_aspect_are_asked_in_other_orders(rate: Rated, server: ProviderServer) -> None:
    server.answer = judge(lambda aspect, letter, text: 3)
    _, rows = await rate(prompts=10, count=2, more=", aspects: [helpfulness, honesty], samples: 2")
    for row in rows:
        orders = [(note["aspect"], tuple(note["order"])) for note in row.facts["rate"]["asked"]]
        assert len(set(orders)) == 4


async def test_margin_of_a_pair_lies_above_0_and_at_most_1(rate: Rated, server: ProviderServer) -> None:
    server.answer = judge(lambda aspect, letter, text: 1 + sum(text.encode()) % 5)
    version, _ = await rate(prompts=12)
    margins = [line["score_margin"] for line in version.rows("preference")]
    assert margins
    assert all(0 < margin <= 1 for margin in margins)


# The pool

POOL = """
name: pooled
models:
{models}
steps:
  - jsonl: {{path: prompts}}
  - respond_pool: {{models: [{names}]{more}}}
dataset: {{views: [sft]}}
"""


@pytest.fixture
def pooled(
    rate: Rated, pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> Callable[..., Any]:
    """Let a pool of `size` models answer: the bodies that were posted."""

    async def run(*prompts: dict[str, str], size: int = 5, more: str = "") -> list[Body]:
        names = [f"m{number}" for number in range(size)]
        write_lines("prompts.jsonl", *prompts)
        entry = "  {name}: {{provider: compatible, model: {name}, base_url: {url}/v1}}"
        entries = "\n".join(entry.format(name=name, url=server.url) for name in names)
        await make(pipeline(POOL.format(models=entries, names=", ".join(names), more=more)))
        return server.bodies

    return run


async def test_4_distinct_models_a_prompt_uniform_over_the_pool(pooled: Any) -> None:
    bodies = await pooled(*({"prompt": f"Prompt {number}"} for number in range(40)), size=8)
    by_prompt: dict[str, list[str]] = {}
    for body in bodies:
        by_prompt.setdefault(body["messages"][-1]["content"], []).append(body["model"])
    assert all(len(models) == len(set(models)) == 4 for models in by_prompt.values())
    drawn = Counter(body["model"] for body in bodies)
    assert drawn.total() == 160
    assert sum((drawn[f"m{number}"] - 20) ** 2 / 20 for number in range(8)) < 24.32  # 7 degrees, 0.1 %
    assert len({tuple(models) for models in by_prompt.values()}) > 20


async def test_every_answer_is_written_under_a_principle_at_the_paper_s_settings(pooled: Any) -> None:
    wordings = [load("respond_pool/helpfulness.md").fill(wording=number) for number in range(4)]
    assert len(set(wordings)) == 4
    for body in await pooled({"prompt": "Hi", "source": "evol_instruct"}):
        assert body["messages"][0]["role"] == "system"
        assert body["messages"][0]["content"] in wordings
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (1.0, 1.0, 1024)


PRINCIPLES = ("helpfulness", "truthfulness", "honesty", "verbalized_calibration")
STATED = {  # in per cent, in that order
    "published": {
        "evol_instruct": (100, 0, 0, 0),
        "false_qa": (0, 100, 0, 0),
        "flan": (60, 20, 0, 20),
        "sharegpt": (60, 20, 18, 2),
        "truthful_qa": (0, 100, 0, 0),
        "ultrachat": (60, 20, 18, 2),
    },
    "code": {
        "evol_instruct": (100, 0, 0, 0),
        "false_qa": (0, 50, 45, 5),
        "flan": (80, 0, 0, 20),
        "sharegpt": (60, 20, 18, 2),
        "truthful_qa": (0, 50, 45, 5),
        "ultrachat": (60, 20, 18, 2),
    },
}


@pytest.mark.parametrize("name", ["published", "code"])
def test_principle_mix_per_source_set_as_stated(name: str, bench_draws: Any) -> None:
    assert set(MIXES[name]) == set(STATED[name])
    for source, shares in STATED[name].items():
        mix = {principle: share for principle, share in zip(PRINCIPLES, shares, strict=True) if share}
        assert MIXES[name][source] == mix
        drawn = bench_draws(source, name)
        assert set(drawn) <= set(mix)
        expected = {principle: drawn.total() * share / 100 for principle, share in mix.items()}
        squares = sum((drawn[principle] - many) ** 2 / many for principle, many in expected.items())
        assert squares < {1: 1e-9, 2: 10.83, 3: 13.82, 4: 16.27}[len(mix)], (source, drawn)


@pytest.fixture
def bench_draws() -> Callable[[str, str], Counter[str]]:
    """How often each principle is drawn for answers to 500 prompts of a source."""

    def draw(source: str, mix: Any) -> Counter[str]:
        pool = RespondPool(models=["a", "b", "c", "d"], mix=mix)
        bench = Bench("respond_pool", {}, None, None)  # type: ignore[arg-type]
        rows = [
            sourced([Message("user", f"Prompt {number}")], 0, {"source": source}) for number in range(500)
        ]
        return Counter(pool._principle(row, place, bench) for row in rows for place in range(4))

    return draw


def test_a_source_that_no_table_knows_gets_helpfulness_and_a_mix_of_one_s_own_is_kept(
    bench_draws: Any,
) -> None:
    assert set(bench_draws("elsewhere", "published")) == {"helpfulness"}
    mix = {"mine": {"honesty": 1}, "other": {"truthfulness": 1}}
    assert set(bench_draws("mine", mix)) == {"honesty"}
    assert set(bench_draws("elsewhere", mix)) == {"truthfulness"}


async def test_the_system_message_is_a_note_to_the_critic(
    pooled: Any, server: ProviderServer, pipeline: ReadPipeline, make: Make
) -> None:
    usual = judge(lambda aspect, letter, text: 3)
    server.answer = lambda body: None if aspect_of(body) is None else usual(body)
    await pooled(
        {"prompt": "Hi", "source": "truthful_qa"},
        more="}\n  - rate: {model: m0, critique: true, aspects: [honesty]",
    )
    systems = {body["messages"][0]["content"] for body in server.bodies if aspect_of(body) is None}
    critics = [body["messages"][-1]["content"] for body in server.bodies if aspect_of(body) == ""]
    assert len(critics) == 4
    assert all(any(system in critic for system in systems) for critic in critics)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"models": ["a", "a"], "count": 1}, "there twice"),
        ({"models": ["a", "b"], "count": 3}, "expected at most 2"),
        ({"models": ["a"], "count": 1, "mix": {"x": {}}}, "at least 1"),
        ({"models": ["a"], "count": 1, "mix": {"x": {"honesty": 0}}}, "greater than 0"),
    ],
)
def test_a_pool_that_cannot_be_drawn_from_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RespondPool(**keys)


def test_a_model_of_the_pool_that_is_not_there_is_a_mistake_with_its_place(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", {"prompt": "Hi"})
    text = POOL.format(models="  m0: {provider: scripted}", names="m0, m7", more=", count: 1")
    with pytest.raises(UserError, match="unknown model 'm7'"):
        pipeline(text)
