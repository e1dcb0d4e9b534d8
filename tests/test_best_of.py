"""Best of n: which sample is best, what its n are worth, and what is kept."""

import asyncio
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any

import orjson
import pytest
from conftest import Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st
from provider_server import Body, ProviderServer

from synth.best_of_n import doublings, expected_best, kl_bound
from synth.errors import Filtered
from synth.methods.best_of import BestOf
from synth.methods.rate import TYPES
from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.step import Bench

PIPELINE = """
name: best
models:
  m: {{provider: compatible, model: made, base_url: {url}/v1, supports: [schema, temperature, seed]}}
steps:
  - jsonl: {{path: prompts}}
  - respond: {{model: m, count: 4, max_tokens: 30}}
  - rate: {{model: m, aspects: [helpfulness]}}
  - best_of: {{judge: rate, keep: {keep}{more}}}
dataset: {{views: [{{sft: {{answers: {answers}}}}}, preference]}}
"""


def scored(
    values: Sequence[float | None],
    texts: Sequence[str] = (),
    *,
    models: Sequence[str] = (),
    step: str = "rate",
) -> Row:
    """A row with an answer for each value, by that value's judgement."""
    row = sourced([Message("user", "Why?")], 0)
    for number, value in enumerate(values):
        text = texts[number] if texts else f"text {number}"
        model = models[number] if models else "m"
        reason = None if value is not None else "no_rating"
        judgment = Judgment(step, "score", (number,), (number,), value, reason, bounds=(0.0, 10.0))
        row = row.answered(Answer(text, "respond", model=model)).judged(judgment)
    return row


def made(row: Row, **keys: Any) -> Row:
    """What the step makes of `row`."""

    async def first() -> Row:
        bench = Bench("best_of", {}, None, None)  # type: ignore[arg-type]
        [found] = [row async for row in BestOf(**keys).each(row, bench)]
        return found

    return asyncio.run(first())


def facts(row: Row, **keys: Any) -> dict[str, Any]:
    found: dict[str, Any] = made(row, **keys).facts["best_of"]
    return found


# Golden numbers and laws of the estimates


@pytest.mark.parametrize(("n", "nats"), [(1, 0.0), (4, 0.6362944), (16, 1.8350887), (64, 3.1745081)])
def test_kl_bound_of_the_best_of_n_is_the_golden_number(n: int, nats: float) -> None:
    assert kl_bound(n) == pytest.approx(nats, abs=1e-6)


@pytest.mark.parametrize(("n", "best"), [(1, 2.5), (2, 3.3333333), (3, 3.75), (4, 4.0)])
def test_unbiased_best_of_n_of_1_2_3_4_is_the_golden_number(n: int, best: float) -> None:
    assert expected_best([2, 4, 1, 3], n) == pytest.approx(best, abs=1e-6)


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=7)


@given(values, st.data())
def test_the_estimate_is_the_mean_of_the_maximum_over_all_subsets(
    some: list[float], data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(some)))
    exact = fmean(max(subset) for subset in combinations(some, n))
    assert expected_best(some, n) == pytest.approx(exact, rel=1e-9, abs=1e-6)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40))
def test_the_estimate_grows_with_n_from_the_mean_to_the_maximum(some: list[float]) -> None:
    estimates = [expected_best(some, n) for n in range(1, len(some) + 1)]
    assert estimates[0] == pytest.approx(fmean(some), abs=1e-9)
    assert estimates[-1] == pytest.approx(max(some), abs=1e-9)
    assert all(more >= less - 1e-9 for less, more in pairwise(estimates))


def test_the_estimate_stays_finite_where_binomials_do_not() -> None:
    many = [number / 5000 for number in range(5000)]
    assert expected_best(many, 2500) == pytest.approx(2500 / 2501 * 5001 / 5000 - 1 / 5000, abs=1e-9)


def test_the_estimate_is_unbiased() -> None:
    """Over many draws of 8 uniform numbers, the estimate for n = 4 has the mean 4/5."""
    dice = random.Random(1)
    estimates = [expected_best([dice.random() for _ in range(8)], 4) for _ in range(4000)]
    assert fmean(estimates) == pytest.approx(0.8, abs=0.006)


def test_n_doubles_as_far_as_there_are_samples() -> None:
    assert [doublings(most) for most in (0, 1, 2, 5, 16)] == [[], [1], [1, 2], [1, 2, 4], [1, 2, 4, 8, 16]]


# The step


def test_a_row_says_what_its_samples_were_worth() -> None:
    known = facts(scored([1, 2, 3, 4]))
    assert (known["n"], known["best"], known["worst"], known["judge"]) == (4, 3, 0, "rate")
    assert known["kl_bound"] == pytest.approx(0.6362944, abs=1e-6)
    assert known["expected_best"] == {"1": 2.5, "2": pytest.approx(10 / 3), "4": 4.0}
    assert not known["zero_variance"]


@given(st.permutations([0.25, 0.5, 0.5, 0.125]))
def test_ties_are_deterministic_the_first_answer_wins(some: list[float]) -> None:
    assert facts(scored(some))["best"] == some.index(0.5)


def test_identical_completions_are_merged_with_the_mean_of_their_scores() -> None:
    known = facts(scored([9, 1, 6], ["same", "same", "other"]))
    assert (known["best"], known["worst"], known["distinct"], known["n"]) == (2, 0, 2, 3)


def test_a_prompt_with_zero_variance_is_flagged_and_dropped_only_if_asked() -> None:
    row = scored([3, 3, 3])
    assert facts(row)["zero_variance"]
    with pytest.raises(Filtered, match="no_variance"):
        made(row, drop_no_variance=True)


def test_the_reference_answer_stands_for_election_only_if_asked() -> None:
    row = scored([10, 2, 3], models=["", "m", "m"])
    alone, beside = facts(row), facts(row, include_reference=True)
    assert (alone["best"], alone["n"], alone["best_is_reference"]) == (2, 2, False)
    assert (beside["best"], beside["n"], beside["best_is_reference"]) == (0, 2, True)
    assert alone["kl_bound"] == pytest.approx(math.log(2) - 0.5)
    assert beside["kl_bound"] is None


def test_a_margin_below_the_least_drops_the_row() -> None:
    assert facts(scored([1, 2]), least_margin=1)["best"] == 1
    with pytest.raises(Filtered, match="below_least_margin"):
        made(scored([1, 2]), least_margin=1.5)


def with_one_cut_off(row: Row, value: float) -> Row:
    """`row` with a sample more that was cut off, and scored all the same."""
    number = len(row.answers)
    judgment = Judgment("rate", "score", (number,), (number,), value, bounds=(0.0, 10.0))
    return row.answered(Answer("cut", "respond", finish="length", model="m")).judged(judgment)


def test_unreadable_scores_and_cut_off_answers_are_never_the_best() -> None:
    known = facts(with_one_cut_off(scored([None, 5, 9]), 10.0))
    assert (known["best"], known["worst"], known["n"]) == (2, 1, 4)
    for empty in (scored([None, None]), scored([])):
        with pytest.raises(Filtered, match="no_scored_answer"):
            made(empty)


def test_nothing_is_estimated_where_a_sample_could_not_be_chosen() -> None:
    """The best of two by the judge would be the one that was cut off, which the step does not choose."""
    known = facts(with_one_cut_off(scored([5.0]), 10.0))
    assert (known["best"], known["expected_best"], known["n"]) == (0, {}, 2)


def test_the_bound_counts_every_sample_that_was_drawn_also_those_without_a_score() -> None:
    known = facts(scored([1, 2, *[None] * 14]))
    assert (known["n"], known["expected_best"]) == (16, {})
    assert known["kl_bound"] == pytest.approx(1.8350887, abs=1e-6)


def test_one_candidate_has_no_variance_to_be_zero() -> None:
    row = scored([3, None])
    assert not facts(row)["zero_variance"]
    assert made(row, drop_no_variance=True).facts["best_of"]["best"] == 0


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.lists(st.sampled_from("abc"), min_size=8, max_size=8),
)
def test_the_estimate_for_all_samples_is_the_score_of_the_one_that_is_chosen(
    some: list[int], texts: list[str]
) -> None:
    row = scored(some, texts[: len(some)])
    known = facts(row)
    alike = [value for value, text in zip(some, texts, strict=False) if text == texts[known["best"]]]
    if str(known["n"]) in known["expected_best"]:
        assert known["expected_best"][str(known["n"])] == pytest.approx(fmean(alike))


def test_nothing_is_estimated_of_answers_by_several_models() -> None:
    known = facts(scored([1, 2], models=["a", "b"]))
    assert (known["best"], known["kl_bound"], known["expected_best"]) == (1, None, {})


def test_with_keep_best_the_row_has_one_answer_and_what_was_said_of_it() -> None:
    pair = Judgment("pairs", "pair", (0, 1), (0, 1), 1.0)
    row = made(scored([1, 4, 2]).judged(pair), keep="best")
    assert [answer.text for answer in row.answers] == ["text 1"]
    assert [(one.candidates, one.value) for one in row.judgments] == [((0,), 4)]
    assert row.facts["best_of"]["n"] == 3


def test_the_step_that_is_named_is_gone_by() -> None:
    row = scored([1, 2]).judged(*scored([8, 7], step="other").judgments)
    assert [facts(row, judge=judge)["best"] for judge in ("rate", "other", None)] == [1, 0, 0]
    with pytest.raises(Filtered, match="no_scored_answer"):
        made(row, judge="nobody")


# Whole pipelines


CRITICISED = """
name: criticised
models:
  a: {{provider: compatible, model: a, base_url: {url}/v1, supports: [schema, temperature, seed]}}
  b: {{provider: compatible, model: b, base_url: {url}/v1, supports: [schema, temperature, seed]}}
  c: {{provider: compatible, model: c, base_url: {url}/v1, supports: [schema, temperature, seed]}}
steps:
  - jsonl: {{path: prompts}}
  - respond_pool: {{models: [a, b, c], count: 3, mix: {{other: {{helpfulness: 1, honesty: 1}}}}, top_p: null}}
  - rate: {{model: a, aspects: [helpfulness]}}
  - best_of: {{judge: rate, keep: best}}
  - rate: {{id: again, model: a, aspects: [helpfulness], critique: true}}
dataset: {{views: [sft]}}
"""
SHOWN = re.compile(r"Reply \(([A-Z])\):\n\[begin [0-9a-f]+\]\n(.*?)\n\[end", re.DOTALL)


def is_rating(body: Body) -> bool:
    return "are to be rated" in body["messages"][-1]["content"]


def is_critique(body: Body) -> bool:
    return "is to be criticised" in body["messages"][-1]["content"]


def worth(text: str) -> int:
    """Points of a text, from 1 to 5, by its letters alone."""
    return 1 + sum(text.encode()) % 5


def rated(body: Body) -> str | None:
    """Answers with a word of its own each; a judge that goes by the letters."""
    if not is_rating(body):
        return f"word{body['seed']}"
    texts = SHOWN.findall(body["messages"][-1]["content"])
    types = dict.fromkeys(TYPES["helpfulness"], False)
    said = {letter: {"rating": worth(text), "rationale": "so", "types": types} for letter, text in texts}
    return orjson.dumps(said).decode()


@pytest.mark.parametrize("keep", ["all", "best"])
async def test_the_best_of_4_samples_is_what_is_learnt_from(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines, keep: str
) -> None:
    server.answer = rated
    prompts = [f"Prompt {number}" for number in range(8)]
    write_lines("prompts.jsonl", *({"prompt": prompt} for prompt in prompts))
    text = PIPELINE.format(url=server.url, keep=keep, more="", answers="best" if keep == "all" else "auto")
    version, _ = await make(pipeline(text))
    samples: dict[str, list[str]] = {}
    for body in server.bodies:
        if not is_rating(body):
            samples.setdefault(body["messages"][-1]["content"], []).append(f"word{body['seed']}")
    learnt = {line["prompt"][0]["content"]: line["completion"][0]["content"] for line in version.rows("sft")}
    assert set(learnt) == set(prompts)
    for prompt, completion in learnt.items():
        assert completion in samples[prompt]
        assert worth(completion) == max(map(worth, samples[prompt]))
    pairs = list(version.rows("preference"))
    assert bool(pairs) == (keep == "all")
    for line in pairs:
        assert line["chosen"][0]["content"] == learnt[line["prompt"][0]["content"]]


async def test_the_critic_of_the_best_answer_is_told_what_that_one_was_written_under(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> None:
    """The best answer moves to another place in its row; what is known of it goes with it."""
    server.answer = lambda body: rated(body) if "response_format" not in body or is_rating(body) else None
    write_lines("prompts.jsonl", *({"prompt": f"Prompt {number}"} for number in range(8)))
    await make(pipeline(CRITICISED.format(url=server.url)))
    systems = {
        f"word{body['seed']}": body["messages"][0]["content"]
        for body in server.bodies
        if body["messages"][0]["role"] == "system"
    }
    critics = [body["messages"][-1]["content"] for body in server.bodies if is_critique(body)]
    assert len(critics) == 8
    assert len(set(systems.values())) > 4
    for critic in critics:
        [text] = [text for text in systems if f"{text}\n" in critic]
        assert systems[text] in critic


async def test_n_samples_have_n_distinct_seeds(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", {"prompt": "Hi"}, {"prompt": "Hi"}, {"prompt": "Ho"})
    await make(pipeline(PIPELINE.format(url=server.url, keep="all", more="", answers="best")))
    samples = [body for body in server.bodies if not is_rating(body)]
    assert Counter(body["messages"][-1]["content"] for body in samples) == {"Hi": 8, "Ho": 4}
    assert len({body["seed"] for body in samples}) == len(samples) == 12
