"""The promises of a run, held against whole pipelines. What the provider was asked is the referee."""

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st

from synth import constitution, run
from synth.constitution import Constitution
from synth.errors import BadRequest, SynthError
from synth.labels import Label, label
from synth.models import invented as scripts
from synth.models.base import Reply, Request, Token
from synth.models.client import totals
from synth.models.ledger import Ledger
from synth.pairs import Question
from synth.project import Project
from synth.rows import Answer, Judgment, Message, sourced
from synth.run import Watch
from synth.store import version as versions
from synth.store.evidence import Evidence
from synth.store.version import Version
from synth.store.views import LeftOut
from synth.store.views.preference import Preference

WHOLE = """
name: whole
seed: {seed}
models:
  writer: {{provider: scripted, max_concurrency: {width}}}
  judge: {{provider: scripted, model: judge, max_concurrency: {width}}}
steps:
  - self_instruct: {{count: 12, model: writer, lag: 5}}
  - respond: {{model: writer, count: 2}}
  - length: {{least: 11}}
  - critique_revise: {{model: writer, constitution: harmless, rounds: 2}}
  - judge_pairs: {{model: judge, constitution: harmless}}
dataset:
  views: [instructions, sft, preference, critiques]
  test_fraction: 0.2
"""
ASKED = """
name: asked
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: prompts}
  - respond: {model: m, count: 2}
"""
JUDGED = f"{ASKED}  - judge_pairs: {{model: m}}\ndataset: {{views: [preference]}}\n"
RULES = (
    "# Rules\n\n## be-brief\nSay little.\n\n## be-kind\nStay friendly.\n\n## be-true\nNever make things up.\n"
)


def whole(seed: int = 7, width: int = 16) -> str:
    return WHOLE.format(seed=seed, width=width)


def prompts(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"Tell me about thing number {number}."} for number in range(count)]


def table(version: Version, name: str) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = pq.read_table(version.path / ".synth" / f"{name}.parquet").to_pylist()
    return lines


def letter(first_letter: str) -> Reply:
    """A judge's verdict that leaves no doubt."""
    other = {"A": "B", "B": "A"}[first_letter]
    return Reply(
        first_letter, tokens=(Token(first_letter, -0.01, {first_letter: -0.01, other: math.log(0.005)}),)
    )


def candidates(request: Request) -> tuple[str, str]:
    """The two replies that a judge is shown, in the order shown."""
    asked = request.messages[-1].content
    first, _, second = asked.partition("Reply (A):")[2].partition("Reply (B):")
    return first.split("]\n")[1].split("\n[")[0], second.split("]\n")[1].split("\n[")[0]


# Nothing is bought twice, and the same work is the same version


async def test_a_finished_run_run_again_asks_nothing_and_is_the_same_version(
    pipeline: ReadPipeline, make: Make, asked: Asked
) -> None:
    first, _ = await make(pipeline(whole()))
    assert asked.requests
    asked.requests.clear()
    again, watch = await make(pipeline(whole()))
    assert asked.requests == []
    assert (again.id, again.path, again.is_new) == (first.id, first.path, False)
    assert totals(watch.tallies).bought == 0


async def test_no_request_is_ever_asked_twice_in_one_run(
    pipeline: ReadPipeline, make: Make, asked: Asked
) -> None:
    await make(pipeline(whole()))
    assert max(Counter(request.key for request in asked.requests).values()) == 1


@pytest.mark.parametrize("width", [1, 3, 40])
async def test_latencies_and_concurrency_change_no_version(
    pipeline: ReadPipeline, make: Make, asked: Asked, project: Path, width: int
) -> None:
    usual, _ = await make(pipeline(whole()), into=project / "usual")
    asked.jitter_s, asked.peak, asked.dice = 0.003, 0, random.Random(width)
    other, _ = await make(pipeline(whole(width=width)), into=project / "other")
    assert asked.peak <= 2 * width
    assert other.id == usual.id


async def test_another_seed_is_another_version(pipeline: ReadPipeline, make: Make) -> None:
    assert (await make(pipeline(whole(seed=7))))[0].id != (await make(pipeline(whole(seed=8))))[0].id


async def test_two_pools_of_another_lag_differ_and_each_is_reproducible(
    pipeline: ReadPipeline, make: Make, asked: Asked, project: Path
) -> None:
    ids = []
    for lag in (1, 8):
        text = whole().replace("lag: 5", f"lag: {lag}")
        for jitter_s in (0.0, 0.003):
            asked.jitter_s = jitter_s
            version, _ = await make(pipeline(text), into=project / f"{lag}-{jitter_s}")
            ids.append(version.id)
    assert ids[0] == ids[1] != ids[2] == ids[3]


async def test_a_run_that_breaks_off_keeps_what_it_bought(
    pipeline: ReadPipeline, make: Make, asked: Asked, project: Path
) -> None:
    whole_run, _ = await make(pipeline(whole(width=4)), into=project / "whole")
    all_keys = {request.key for request in asked.requests}
    asked.requests.clear()

    class Unplugged(SynthError):
        """The whole run breaks off."""

    def break_off(request: Request) -> Reply:
        raise Unplugged

    for most in (10, 20, 25):
        started = len(asked.requests)
        text = whole(width=4)
        broken = pipeline(text)
        for provider in broken.providers.values():
            usual = provider.answer

            async def answer(request: Request, usual: Any = usual, stop: int = started + most) -> Reply:
                if len(asked.requests) >= stop:
                    break_off(request)
                reply: Reply = await usual(request)
                return reply

            object.__setattr__(provider, "answer", answer)
        with pytest.raises(Unplugged):
            await make(broken, into=project / "broken")
    finished, _ = await make(pipeline(whole(width=4)), into=project / "broken")
    assert finished.id == whole_run.id
    counts = Counter(request.key for request in asked.requests)
    assert set(counts) == all_keys
    assert sum(counts.values()) - len(counts) <= 3 * 2 * 4, "more than what was in flight was bought twice"


# Fates


async def test_every_row_has_one_fate_in_every_step(pipeline: ReadPipeline, make: Make, asked: Asked) -> None:
    def answers(request: Request) -> str | Reply | Exception:
        draw = int(request.key[:2], 16)
        if request.kind == "complete":
            return scripts.numbered(request.key, 9)
        return (
            BadRequest("too long") if draw < 30 else f"An answer in {draw} words " + "and more " * (draw % 9)
        )

    asked.answers = answers
    version, watch = await make(pipeline(whole().replace("least: 11", "least: 12")))
    steps = {step["id"]: step for step in version.manifest["steps"]}
    assert list(steps) == ["self_instruct", "respond", "length", "critique_revise", "judge_pairs"]
    for step in steps.values():
        dropped = sum(step["filtered"].values()) + sum(step["failed"].values())
        assert step["rows"] == step["continued"] + dropped, step
    for before, after in pairwise(steps.values()):
        assert after["rows"] == before["out"]
    assert steps["length"]["filtered"]
    assert steps["respond"]["failed"]
    assert steps["judge_pairs"]["out"] == version.manifest["rows"]
    drops = Counter((line["step"], line["kind"]) for line in table(version, "dropped"))
    for name, step in steps.items():
        assert drops[name, "filtered"] == sum(step["filtered"].values())
        assert drops[name, "failed"] == sum(step["failed"].values())
    assert watch.accounts["length"].rows == steps["length"]["rows"]


async def test_one_failing_row_costs_one_row_and_is_replayed_without_a_call(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(12))
    asked.answers = lambda request: (
        BadRequest("the prompt is too long") if "number 5" in request.messages[0].content else "Fine."
    )
    version, watch = await make(pipeline(ASKED))
    assert version.manifest["rows"] == 11
    [dropped] = table(version, "dropped")
    assert (dropped["step"], dropped["kind"]) == ("respond", "failed")
    assert dropped["reason"] == "BadRequest: the prompt is too long"
    assert "thing number 5" in dropped["text"]
    assert watch.accounts["respond"].failed == {"BadRequest": 1}

    asked.requests.clear()
    again, watch = await make(pipeline(ASKED))
    assert asked.requests == []
    assert again.id == version.id
    assert watch.accounts["respond"].failed == {"BadRequest": 1}


async def test_a_failure_set_aside_is_bought_again_and_nothing_else(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(4))
    asked.answers = lambda request: BadRequest("no") if "number 2" in request.messages[0].content else "Fine."
    failed, _ = await make(pipeline(ASKED))
    assert await run.supersede(pipeline(ASKED), Project(project)) == 2
    asked.requests.clear()
    asked.answers = lambda request: "Fine."
    mended, _ = await make(pipeline(ASKED))
    assert ["number 2" in request.messages[0].content for request in asked.requests] == [True, True]
    assert mended.manifest["rows"] == failed.manifest["rows"] + 1


async def test_a_run_without_a_row_is_no_version(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(2))
    asked.answers = lambda request: BadRequest("no")
    with pytest.raises(SynthError, match="no row reached the end of the pipeline: respond: BadRequest 2"):
        await make(pipeline(ASKED))
    assert not list((project / "datasets").rglob("*"))


# Edits


async def revised(pipeline: ReadPipeline, make: Make, path: Path, text: str) -> tuple[Version, Watch]:
    (path / "constitutions").mkdir(exist_ok=True)
    (path / "constitutions" / "rules.md").write_text(text, encoding="utf-8")
    return await make(pipeline(ASKED + "  - critique_revise: {model: m, constitution: rules, rounds: 1}\n"))


async def test_an_edited_principle_buys_only_the_calls_that_hold_its_text(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(60))
    await revised(pipeline, make, project, RULES)
    before = {request.key for request in asked.requests}
    touched = sum("Stay friendly." in request.as_json().decode() for request in asked.requests)
    assert 0 < touched < 120
    asked.requests.clear()

    _, watch = await revised(pipeline, make, project, RULES.replace("Stay friendly.", "Stay gentle."))
    assert len(asked.requests) == touched
    assert all("Stay gentle." in request.as_json().decode() for request in asked.requests)
    assert not before & {request.key for request in asked.requests}
    counts = totals(watch.tallies)
    assert (counts.found, counts.bought) == (240 - touched, touched)


async def test_editing_only_the_revision_wording_keeps_every_critique(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(60))
    await revised(pipeline, make, project, RULES)
    asked.requests.clear()
    edited = RULES.replace("Stay friendly.", "Stay friendly.\nRevise: Make it warm.")
    await revised(pipeline, make, project, edited)
    assert asked.requests
    assert all("Make it warm." in request.messages[-1].content for request in asked.requests)


async def test_an_inserted_principle_leaves_nine_draws_of_ten_as_they_were(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(300))
    many = "\n".join(f"## rule-{number}\nRule number {number} holds.\n" for number in range(16))
    text = (
        ASKED
        + "  - critique_revise: {model: m, constitution: rules, rounds: 1}\ndataset: {views: [critiques]}\n"
    )
    drawn = []
    for rules in (many, f"## new-rule\nA new rule holds.\n\n{many}"):
        (project / "rules.md").write_text(rules, encoding="utf-8")
        version, _ = await make(pipeline(text))
        drawn.append({line["id"]: line["principle"] for line in version.rows("critiques")})
    before, after = drawn
    assert len(before) == len(after) == 300
    changed = [row for row in before if before[row] != after[row]]
    assert len(changed) <= 30
    assert {after[row] for row in changed} == {"new-rule"}


def test_shipped_constitutions_too_keep_nine_draws_of_ten_when_one_principle_comes() -> None:
    for path in sorted((Path(constitution.__file__).parents[1] / "constitutions").glob("h*.md")):
        rules = constitution.read(path)
        for left_out in rules.principles:
            fewer = Constitution(rules.name, tuple(rule for rule in rules.principles if rule != left_out))
            chances = [f"7/step/{number}/0" for number in range(100)]
            same = sum(rules.draw(chance) == fewer.draw(chance) for chance in chances)
            share = left_out.weight / sum(rule.weight for rule in rules.principles)
            assert same / 100 >= 1 - share - 0.12, f"{path.name}: {left_out.id}"


# Rows and their names


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([{"prompt": "Say hi."}, {"prompt": "Say hi."}], id="equal lines"),
        pytest.param(
            [{"prompt": "Say hi.", "n": 1}, {"prompt": "Say hi.", "n": 2}], id="other columns differ"
        ),
    ],
)
async def test_equal_prompts_are_two_rows_with_samples_of_their_own(
    pipeline: ReadPipeline,
    make: Make,
    asked: Asked,
    write_lines: WriteLines,
    lines: list[dict[str, Any]],
) -> None:
    write_lines("prompts.jsonl", *lines)
    version, _ = await make(pipeline(ASKED + "dataset: {views: [instructions, sft]}\n"))
    ids = [line["id"] for line in version.rows("instructions")]
    assert len(set(ids)) == 2
    assert sorted(request.sample for request in asked.requests) == [0, 1, 2, 3]
    assert len({line["completion"][0]["content"] for line in version.rows("sft")}) == 4


BRANCHES = """
name: branches
models: {m: {provider: scripted}, n: {provider: scripted, model: other}}
steps:
  - jsonl: {path: prompts}
  - respond: {id: short, model: m, max_tokens: 5}
  - respond: {id: long, model: m, from: jsonl}
  - respond: {id: other, model: n, from: jsonl}
  - length: {from: [short, long]}
dataset: {views: [instructions, sft]}
"""


async def test_branches_and_joins_give_rows_of_their_own_and_the_same_version_again(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(40))
    first, watch = await make(pipeline(BRANCHES), into=project / "first")
    asked.jitter_s = 0.005
    second, _ = await make(pipeline(BRANCHES), into=project / "second")
    assert first.id == second.id
    ids = [line["id"] for line in first.rows("instructions")]
    assert len(ids) == len(set(ids)) == 120
    assert watch.accounts["length"].rows == 80


async def test_a_branch_that_drops_a_row_drops_no_other_branch_s(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(10))
    asked.answers = lambda request: BadRequest("no") if request.model == "other" else "Two words."
    version, watch = await make(pipeline(BRANCHES))
    assert version.manifest["rows"] == 20
    assert watch.accounts["other"].failed == {"BadRequest": 10}


async def test_two_sources_that_share_a_prompt_join_without_losing_a_row(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines("one.jsonl", *prompts(3))
    write_lines("two.jsonl", *prompts(2))
    text = """
name: joined
models: {m: {provider: scripted}}
steps:
  - jsonl: {id: one, path: one}
  - jsonl: {id: two, path: two}
  - respond: {model: m, from: [one, two]}
dataset: {views: [instructions]}
"""
    version, _ = await make(pipeline(text))
    ids = [line["id"] for line in version.rows("instructions")]
    assert len(ids) == len(set(ids)) == 5


async def test_every_row_of_a_version_leads_to_its_calls_in_the_ledger(
    pipeline: ReadPipeline, make: Make, project: Path
) -> None:
    version, _ = await make(pipeline(whole()))
    lineage = table(version, "lineage")
    ledger = Ledger(Project(project).ledger)
    outcomes = {call: ledger.find(call) for call in {line["call"] for line in lineage}}
    ledger.close()
    assert None not in outcomes.values()
    parts = Counter(line["part"] for line in lineage)
    rows = version.manifest["rows"]
    assert parts["prompt"] == rows
    assert parts["answer 0"] == rows
    assert parts["answer 3"] == 2 * rows, "a revision is two calls"
    assert parts["judgment of 0 and 1"] == parts["judgment of 1 and 0"] == rows


# Splits


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.07, 0.1, 0.25, 0.5, 0.99])
async def test_the_test_split_holds_its_share_of_roots_and_shares_none(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, fraction: float
) -> None:
    write_lines("prompts.jsonl", *prompts(20), *prompts(20), *prompts(7))
    text = f"{ASKED}dataset: {{views: [instructions, sft], test_fraction: {fraction}}}\n"
    version, _ = await make(pipeline(text))
    roots = {line["row"]: line["root"] for line in table(version, "lineage")}
    for view in ("instructions", "sft"):
        train = {roots[line["id"].split(":")[0]] for line in version.rows(view)}
        test = {roots[line["id"].split(":")[0]] for line in version.rows(view, "test")}
        assert len(test) == math.ceil(round(fraction * 20, 9))
        assert len(train) == 20 - len(test)
        assert not train & test


def test_the_test_split_is_the_share_rounded_up_in_exact_arithmetic() -> None:
    roots = [f"{number:04}" for number in range(200)]
    wrong = [
        (hundredths, count)
        for hundredths in range(100)
        for count in range(0, 201, 10)
        if len(versions.held_back(roots[:count], hundredths / 100)) != -(-hundredths * count // 100)
    ]
    assert wrong == []


async def test_a_prompt_stays_in_its_split_when_others_come(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    text = f"{ASKED}dataset: {{views: [instructions], test_fraction: 0.3}}\n"
    splits = []
    for count in (40, 42):
        write_lines("prompts.jsonl", *prompts(count))
        version, _ = await make(pipeline(text))
        splits.append({line["instruction"] for line in version.rows("instructions", "test")})
    assert len(splits[0] - splits[1]) <= 2


# Judges


def said_by(judge: Any, asked: Asked) -> None:
    """Answers of very different lengths, and `judge` to judge them."""

    def answers(request: Request) -> str | Reply:
        if "Reply (A):" in request.messages[-1].content:
            verdict: str | Reply = judge(request)
            return verdict
        return "word " * (1 + int(request.key[:3], 16) % 50 + 60 * request.sample)

    asked.answers = answers


async def test_a_judge_that_likes_the_first_place_makes_no_label(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(20))
    said_by(lambda request: letter("A"), asked)
    version, _ = await make(pipeline(JUDGED))
    assert list(version.rows("preference")) == []
    assert version.manifest["views"]["preference"]["left_out"] == {"orders_disagree": 20}
    judge = version.manifest["judges"]["judge_pairs"]
    assert (judge["both_orders"], judge["same_position"], judge["first"]) == (20, 20, 20)
    assert (judge["agreed"], judge["ties"], judge["unreadable"]) == (0, 0, 0)


async def test_a_judge_that_likes_the_last_place_is_told_from_one_that_likes_the_first(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(5))
    said_by(lambda request: letter("B"), asked)
    version, _ = await make(pipeline(JUDGED))
    judge = version.manifest["judges"]["judge_pairs"]
    assert (judge["same_position"], judge["first"]) == (5, 0)
    assert version.manifest["views"]["preference"]["left_out"] == {"orders_disagree": 5}


@pytest.mark.parametrize("verdict", ["logprobs", "schema"])
async def test_a_judge_that_sees_the_longer_reply_says_so_wherever_it_stands(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, verdict: str
) -> None:
    write_lines("prompts.jsonl", *prompts(20))

    def oracle(request: Request) -> str | Reply:
        first, second = candidates(request)
        better = "A" if len(first) > len(second) else "B"
        if request.schema:
            return orjson.dumps({"better": better}).decode()
        return Reply(
            better, tokens=(Token(better, 0.0, {better: 0.0, "A" if better == "B" else "B": -800.0}),)
        )

    said_by(oracle, asked)
    version, _ = await make(pipeline(JUDGED.replace("{model: m}\nd", f"{{model: m, verdict: {verdict}}}\nd")))
    pairs = list(version.rows("preference"))
    assert len(pairs) == 20
    for pair in pairs:
        assert len(pair["chosen"][0]["content"]) > len(pair["rejected"][0]["content"])
        assert (pair["p_chosen"], pair["orders"], pair["agreed"]) == (1.0, 2, True)
    judge = version.manifest["judges"]["judge_pairs"]
    assert (judge["both_orders"], judge["agreed"], judge["same_position"]) == (20, 20, 0)


@pytest.mark.parametrize("silent_order", ["both", "one"])
async def test_an_unreadable_verdict_is_counted_and_never_a_label(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, silent_order: str
) -> None:
    write_lines("prompts.jsonl", *prompts(10))
    shrug = Reply("Well", tokens=(Token("Well", -0.1, {"Well": -0.1, "Hm": -3.0}),))

    def judge(request: Request) -> Reply:
        first, second = candidates(request)
        return shrug if silent_order == "both" or len(first) > len(second) else letter("B")

    said_by(judge, asked)
    version, _ = await make(pipeline(JUDGED))
    assert list(version.rows("preference")) == []
    assert version.manifest["views"]["preference"]["left_out"] == {"no_verdict": 10}
    evidence = version.manifest["judges"]["judge_pairs"]
    assert evidence["judgments"] == 20
    assert evidence["unreadable"] == (20 if silent_order == "both" else 10)
    assert (evidence["both_orders"], evidence["agreed"], evidence["ties"]) == (0, 0, 0)


async def test_equal_answers_are_not_judged(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(5))
    asked.answers = lambda request: "The same."
    version, _ = await make(pipeline(JUDGED))
    assert len(asked.requests) == 10
    assert version.manifest["views"]["preference"]["left_out"] == {"identical_answers": 5}


async def test_both_orders_are_asked_about_the_same_principle(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    (project / "rules.md").write_text(RULES, encoding="utf-8")
    write_lines("prompts.jsonl", *prompts(30))
    text = JUDGED.replace("judge_pairs: {model: m}", "judge_pairs: {model: m, constitution: rules}")
    await make(pipeline(text))
    about: dict[frozenset[str], set[str]] = {}
    for request in asked.requests:
        question = request.messages[-1].content
        if "Reply (A):" in question:
            about.setdefault(frozenset(candidates(request)), set()).add(
                question.split("better?")[1].split("\n")[0]
            )
    assert len(about) == 30
    assert all(len(rules) == 1 for rules in about.values())
    assert len({rule for rules in about.values() for rule in rules}) == 3


@given(p_shown_first=st.floats(0, 1))
def test_any_judge_that_sees_only_places_comes_out_at_exactly_one_half(p_shown_first: float) -> None:
    row = sourced((Message("user", "Say."),), 0).answered(Answer("one"), Answer("other"))
    orders = [Question(row, (0, 1), order, "m", None) for order in ((0, 1), (1, 0))]
    judgments = [question.judged("j", p_shown_first) for question in orders]
    said = label((0, 1), judgments)
    assert isinstance(said, Label)
    assert said.p_first == pytest.approx(0.5, abs=1e-12)
    undecided = p_shown_first == 1 - p_shown_first
    reason = "tie" if undecided else "orders_disagree"
    for rule in ("mean", "agree"):
        assert list(Preference(rule=rule).show(row.judged(*judgments))) == [LeftOut(reason)]


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=20))
def test_evidence_accounts_for_every_pair_that_was_read_in_both_orders(
    pairs: list[tuple[float, float]],
) -> None:
    evidence = Evidence("pair")
    row = sourced((Message("user", "Say."),), 0).answered(Answer("one"), Answer("other"))
    for straight, swapped in pairs:
        orders = [
            Judgment("j", "pair", (0, 1), (0, 1), straight),
            Judgment("j", "pair", (0, 1), (1, 0), swapped),
        ]
        evidence.add(row, orders)
    assert evidence.both_orders == len(pairs)
    assert evidence.both_orders == evidence.agreed + evidence.same_position + evidence.ties
    assert evidence.first <= evidence.same_position


# --limit and plan


async def test_a_limit_takes_the_first_source_rows_and_not_the_first_that_come_out(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(30))
    text = ASKED + "dataset: {views: [instructions]}\n"
    asked.jitter_s = 0.003
    asked.answers = lambda request: (
        BadRequest("no") if "number 1." in request.messages[0].content else "Fine."
    )
    version, _ = await make(pipeline(text), limit=4)
    said = {line["instruction"] for line in version.rows("instructions")}
    assert said == {f"Tell me about thing number {number}." for number in (0, 2, 3)}
    assert len(asked.requests) == 8


async def test_a_limit_stands_for_the_count_of_what_is_generated(
    pipeline: ReadPipeline, make: Make, project: Path
) -> None:
    limited, _ = await make(pipeline(whole()), limit=5, into=project / "limited")
    fewer, _ = await make(pipeline(whole().replace("count: 12", "count: 5")), into=project / "fewer")
    assert limited.id == fewer.id


async def test_a_limited_run_is_the_beginning_of_the_whole_one(
    pipeline: ReadPipeline, make: Make, asked: Asked
) -> None:
    await make(pipeline(whole()), limit=5)
    bought = {request.key for request in asked.requests}
    await make(pipeline(whole()))
    assert len(asked.requests) == len({request.key for request in asked.requests})
    assert len(bought) < len(asked.requests)


async def test_a_plan_buys_nothing_and_says_what_is_missing(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    write_lines("prompts.jsonl", *prompts(6))
    fresh = await run.plan(pipeline(JUDGED), Project(project))
    assert asked.requests == []
    assert totals(fresh.tallies).missing == 12
    assert fresh.accounts["respond"].waiting == 6
    await make(pipeline(JUDGED))
    asked.requests.clear()
    done = await run.plan(pipeline(JUDGED), Project(project))
    assert asked.requests == []
    assert totals(done.tallies).missing == 0
    assert done.accounts["judge_pairs"].continued == 6


# What is drawn afresh


async def test_a_second_branch_buys_nothing_in_the_first(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(6))
    head = """
name: branch
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: prompts}
  - respond: {model: m, from: jsonl}
  - critique_revise: {model: m, constitution: harmless, rounds: 2}
"""
    await make(pipeline(head + "dataset: {views: [sft]}\n"))
    bought = {request.key for request in asked.requests}
    asked.requests.clear()
    more = "  - respond: {id: other, model: m, from: jsonl, max_tokens: 7}\n"
    await make(pipeline(head + more + "dataset: {views: [sft]}\n"))
    assert len(asked.requests) == 6
    assert {request.max_tokens for request in asked.requests} == {7}
    assert not bought & {request.key for request in asked.requests}


async def test_the_second_of_two_equal_steps_asks_for_other_samples(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", {"prompt": "Hi"}, {"prompt": "Hi"})
    text = """
name: twice
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: prompts}
  - respond: {id: one, model: m, count: 2}
  - respond: {id: two, model: m, count: 2}
dataset: {views: [sft]}
"""
    await make(pipeline(text))
    assert len({request.sample for request in asked.requests}) == len(asked.requests) == 8


async def test_a_round_with_the_chat_of_the_one_before_is_another_sample(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    """The model repeats itself and there is one principle, so that every round's chat is the same."""
    (project / "constitutions").mkdir()
    (project / "constitutions" / "one.md").write_text("# One\n\n## be-kind\nBe kind.\n", encoding="utf-8")
    write_lines("prompts.jsonl", {"prompt": "Hi"})
    asked.answers = lambda request: "The same."
    text = """
name: rounds
models: {m: {provider: scripted}}
steps:
  - jsonl: {path: prompts}
  - respond: {model: m}
  - critique_revise: {model: m, constitution: one, rounds: 3}
dataset: {views: [critiques]}
"""
    version, _ = await make(pipeline(text))
    assert version.manifest["views"]["critiques"]["rows"] == {"train": 3}
    assert len(asked.requests) == 1 + 2 * 3


async def test_where_one_order_is_asked_chance_picks_it(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    write_lines("prompts.jsonl", *prompts(60))
    text = ASKED + "  - judge_pairs: {model: m, both_orders: false}\ndataset: {views: [preference]}\n"
    version, _ = await make(pipeline(text))
    assert version.manifest["judges"]["judge_pairs"]["judgments"] == 60
    straight = [line["part"] for line in table(version, "lineage")].count("judgment of 0 and 1")
    assert 15 <= straight <= 45


async def test_the_one_order_that_chance_picks_hangs_on_the_seed_and_the_row_alone(
    pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines, project: Path
) -> None:
    async def orders(folder: str, seed: int, lines: list[dict[str, str]]) -> dict[str, list[int]]:
        write_lines("prompts.jsonl", *lines)
        text = f"seed: {seed}\n{ASKED}  - judge_pairs: {{model: m, both_orders: false}}\n"
        version, _ = await make(pipeline(text + "dataset: {views: [judgments]}\n"), into=project / folder)
        return {line["prompt"][0]["content"]: line["order"] for line in version.rows("judgments")}

    usual = await orders("usual", 0, prompts(30))
    asked.jitter_s = 0.003
    more = await orders("more", 0, prompts(45)[::-1])
    assert (len(usual), len(more)) == (30, 45)
    assert usual.items() <= more.items()
    assert await orders("other", 1, prompts(30)) != usual


def test_unlike_requests_are_drawn_with_unlike_random_numbers() -> None:
    requests = [
        Request("e", "m", (Message("user", text),), sample=sample, ask=ask)
        for text in ("one", "two")
        for sample in range(3)
        for ask in range(2)
    ]
    seeds = [request.seed for request in requests]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_server_that_moves_to_another_port_is_another_call_with_the_same_seed() -> None:
    here = Request("http://127.0.0.1:8000/v1", "m", (Message("user", "one"),))
    there = replace(here, endpoint="http://127.0.0.1:8001/v1")
    assert here.key != there.key
    assert here.seed == there.seed
