"""Mixing: a stated ratio between branches holds, and what was there and what was kept are counted."""

from collections import Counter
from fractions import Fraction

import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st
from provider_server import ProviderServer

from synth.errors import UserError
from synth.filters.mix import shares

MIXED = """
name: mixed
seed: {seed}
models: {{m: {{provider: scripted}}}}
steps:
  - jsonl: {{id: one, path: one}}
  - jsonl: {{id: two, path: two}}
  - mix: {{from: [one, two], ratio: {ratio}}}
dataset: {{views: [instructions]}}
"""
PM = """
name: preference-model
models:
  writer: {{provider: compatible, model: writer, base_url: {url}/v1}}
  judge: {{provider: compatible, model: judge, base_url: {url}/v1}}
steps:
  - hh: {{id: helpful, path: helpful, take: pairs}}
  - hh: {{id: red_team, path: harmful, take: first_turn}}
  - respond: {{model: writer, count: 2}}
  - judge_pairs: {{id: harmless, model: judge, constitution: harmless, verdict: logprobs}}
  - mix: {{from: [helpful, harmless], ratio: {{helpful: 135296, harmless: 182831}}}}
dataset: {{views: [{{preference: {{rule: mean, judge: [helpful, harmless]}}}}]}}
"""
SL = """
name: supervised
models: {{m: {{provider: compatible, model: m, base_url: {url}/v1}}}}
steps:
  - jsonl: {{id: red_team, path: red}}
  - respond: {{id: first, model: m}}
  - critique_revise: {{id: harmless, model: m, constitution: harmless, rounds: 4}}
  - jsonl: {{id: questions, path: plain}}
  - respond: {{id: helpful, model: m, count: 2}}
  - mix: {{from: [harmless, helpful], ratio: {{harmless: 3, helpful: 2}}}}
dataset: {{views: [sft]}}
"""


def write(write_lines: WriteLines, **counts: int) -> None:
    for name, count in counts.items():
        write_lines(f"{name}.jsonl", *({"prompt": f"{name} {number}"} for number in range(count)))


def instructions(version: object) -> list[str]:
    return [row["instruction"] for row in version.rows("instructions")]  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0.001, 1000)), min_size=2, max_size=4))
def test_of_every_branch_the_nearest_whole_number_is_kept_and_all_of_the_scarcest(
    branches: list[tuple[int, float]],
) -> None:
    there = {str(number): count for number, (count, _) in enumerate(branches)}
    ratio = {str(number): part for number, (_, part) in enumerate(branches)}
    kept = shares(ratio, there)
    assert all(0 <= kept[branch] <= there[branch] for branch in there)
    scarcest = min(there, key=lambda branch: Fraction(there[branch]) / Fraction(ratio[branch]))
    assert kept[scarcest] == there[scarcest]
    for branch in there:
        exact = Fraction(ratio[branch]) / Fraction(ratio[scarcest]) * there[scarcest]
        assert abs(kept[branch] - exact) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("ratio", "kept"),
    [("{one: 1, two: 1}", (8, 8)), ("{one: 3, two: 1}", (20, 7)), ("{one: 1, two: 2}", (4, 8))],
)
async def test_the_ratio_holds_and_the_rest_is_counted_by_branch(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, ratio: str, kept: tuple[int, int]
) -> None:
    write(write_lines, one=20, two=8)
    version, watch = await make(pipeline(MIXED.format(seed=1, ratio=ratio)))
    found = Counter(text.split()[0] for text in instructions(version))
    assert (found["one"], found["two"]) == kept
    account = watch.accounts["mix"]
    assert account.filtered["over_ratio_one"] == 20 - kept[0]
    assert account.filtered["over_ratio_two"] == 8 - kept[1]
    assert account.rows == 28
    [_, _, step] = version.manifest["steps"]
    assert step["note"] == f"kept {kept[0]} of 20 from one, {kept[1]} of 8 from two"


async def test_the_same_rows_are_kept_whatever_comes_first_and_others_under_another_seed(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write(write_lines, one=40, two=8)
    even = "{one: 1, two: 1}"
    first, _ = await make(pipeline(MIXED.format(seed=1, ratio=even)))
    turned = MIXED.replace("from: [one, two]", "from: [two, one]")
    again, _ = await make(pipeline(turned.format(seed=1, ratio=even)))
    other, _ = await make(pipeline(MIXED.format(seed=2, ratio=even)))
    assert first.id == again.id != other.id


async def test_a_row_that_is_kept_stays_when_more_are_wanted(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write(write_lines, one=40, two=8)
    few, _ = await make(pipeline(MIXED.format(seed=1, ratio="{one: 1, two: 1}")))
    many, _ = await make(pipeline(MIXED.format(seed=1, ratio="{one: 2, two: 1}")))
    assert set(instructions(few)) < set(instructions(many))


async def test_a_branch_that_is_empty_leaves_nothing_to_mix_and_says_so(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write(write_lines, one=5, two=5)
    text = MIXED.format(seed=1, ratio="{one: 1, short: 1}").replace("[one, two]", "[one, short]")
    text = text.replace("  - mix", "  - length: {id: short, from: two}\n  - mix")
    with pytest.raises(Exception, match=r"short: no_answer 5; mix: over_ratio_one 5"):
        await make(pipeline(text))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("from: [one, two], ratio: {one: 1}", "expected a part for each of one, two, found one"),
        ("from: [one, two], ratio: {one: 1, two: 1, six: 1}", "expected a part for each of one, two"),
        ("from: two, ratio: {two: 1}", "expected two or more branches to mix, found two"),
        ("from: [one, two], ratio: {one: 0, two: 1}", "expected a number above 0"),
        ("from: [one, two], ratio: {one: .inf, two: 1}", "finite number"),
        ("from: [one, two]", "ratio: missing"),
    ],
)
def test_a_part_for_every_branch_and_no_other(
    pipeline: ReadPipeline, write_lines: WriteLines, keys: str, said: str
) -> None:
    write(write_lines, one=1, two=1)
    text = MIXED.format(seed=1, ratio="{}").replace("from: [one, two], ratio: {}", keys)
    with pytest.raises(UserError, match=said):
        pipeline(text)


async def test_pm_mixture_is_human_helpfulness_and_ai_harmlessness_both_counted_in_the_manifest(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, server: ProviderServer
) -> None:
    def talk(number: int, reply: str) -> str:
        return f"\n\nHuman: Question {number}?\n\nAssistant: {reply}"

    talks = [{"chosen": talk(n, "Yes, gladly."), "rejected": talk(n, "No.")} for n in range(30)]
    write_lines("helpful.jsonl", *talks)
    write_lines("harmful.jsonl", *talks[:18])
    version, _ = await make(pipeline(PM.format(url=server.url)))

    lines = list(version.rows("preference"))
    judges = Counter(line["judge"] for line in lines)
    wanted = 18 * 135296 / 182831
    assert judges == {"helpful": round(wanted), "harmless": 18}
    assert all(line["p_chosen"] == 1.0 for line in lines if line["judge"] == "helpful")
    assert all(0.5 < line["p_chosen"] < 1.0 for line in lines if line["judge"] == "harmless")
    steps = {step["id"]: step for step in version.manifest["steps"]}
    assert steps["mix"]["note"] == "kept 13 of 30 from helpful, 18 of 18 from harmless"
    assert steps["mix"]["filtered"] == {"over_ratio_helpful": 17}
    asked = Counter(body["model"] for body in server.bodies)
    assert asked == {"writer": 18 * 2, "judge": 18 * 2}, "people's comparisons cost no call"


async def test_sft_export_holds_k_rows_a_prompt_and_helpfulness_rows_at_a_stated_ratio(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, server: ProviderServer
) -> None:
    write(write_lines, red=6, plain=9)
    version, _ = await make(pipeline(SL.format(url=server.url)))
    lines = Counter(line["prompt"][0]["content"] for line in version.rows("sft"))
    harmless = {text: count for text, count in lines.items() if text.startswith("red")}
    helpful = {text: count for text, count in lines.items() if text.startswith("plain")}
    assert set(harmless.values()) == {4}, "all steps of the revision, and not the first answer"
    assert set(helpful.values()) == {2}
    assert (len(harmless), len(helpful)) == (6, 4)


# What a step knows of the branches that it reads


JOINED = """
name: joined
models: {m: {provider: scripted}}
steps:
  - jsonl: {id: one, path: one}
  - jsonl: {id: two, path: two}
  - respond: {id: answers, model: m, from: [one, two]}
  - length: {id: more}
  - jsonl: {id: three, path: one}
  - respond: {id: last, model: m}
dataset: {views: [conversations]}
"""


async def test_a_row_that_joined_others_knows_its_branch_and_no_other_row_says_anything(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write(write_lines, one=2, two=3)
    version, _ = await make(pipeline(JOINED))
    facts = Counter(row["facts"] for row in version.rows("conversations"))
    assert facts == {
        '{"answers":{"branch":"one"}}': 2,
        '{"answers":{"branch":"two"}}': 3,
        "{}": 2,
    }
