"""Judges against people, and against themselves: agreement, habits, win rates. Numbers worked out by hand."""

import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from conftest import Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st
from provider_server import Body, ProviderServer

from synth.audit import agreement, bias, printed
from synth.audit.alignment import align, calibration, table
from synth.audit.compared import Compared, Label, Verdict, of_row, turned
from synth.audit.shares import Share
from synth.audit.win_rate import length_controlled, preference, win_rate
from synth.methods.judge_pairs import JudgePairs
from synth.rows import Answer, Judgment, Message, Row, sourced

labels = st.sampled_from(["first", "second", "tie"])
said = st.sampled_from(["first", "second", "tie", None])


def pair(
    straight: Label | None,
    swapped: Label | None,
    people: Label | None = "first",
    texts: tuple[str, str] = ("", ""),
    **known: Any,
) -> Compared:
    """A pair asked about in both orders: which place was named in each."""
    return Compared((Verdict(straight), Verdict(swapped, swapped=True)), people, texts, **known)


# The records


@given(said)
def test_to_turn_a_label_twice_is_to_leave_it(label: Label | None) -> None:
    assert turned(turned(label)) == label


def test_a_pair_is_won_only_if_both_orders_name_the_same_answer() -> None:
    assert pair("first", "second").decision == "first"
    assert pair("second", "first").decision == "second"
    assert pair("first", "first").decision == "tie"
    assert pair("tie", "second").decision == "tie"


def test_a_pair_with_an_unreadable_verdict_is_no_tie() -> None:
    assert pair("first", None).decision is None
    assert Compared(()).decision is None


# Agreement with people


def test_accuracy_counts_each_order_and_an_unreadable_verdict_as_wrong() -> None:
    found = align([pair("first", "second"), pair("first", "first"), pair("first", None), pair(None, None)])
    assert (found.accuracy.part, found.accuracy.whole) == (1 + 0.5 + 0.5 + 0, 4)
    assert (found.unreadable.part, found.unreadable.whole) == (3, 8)


def test_accuracy_leaves_out_what_people_call_a_tie_and_gives_half_for_a_judges_tie() -> None:
    found = align([pair("first", "second", "tie"), pair("tie", "tie"), pair("first", "second", None)])
    assert (found.accuracy.part, found.accuracy.whole) == (0.5, 1)
    assert (found.pairs, found.judged_by_people) == (3, 2)


def test_agreement_is_printed_with_ties_and_without() -> None:
    pairs = [
        pair("first", "second", "first"),
        pair("first", "second", "second"),
        pair("first", "first", "tie"),
        pair("first", "first", "first"),
        pair("second", "first", "tie"),
        pair(None, "second", "first"),
    ]
    found = align(pairs)
    assert found.ties_in == Share(2, 6)
    assert found.ties_out == Share(1, 3)
    assert found.tie_discounted == Share(1 + 0 + 1 + 0.5 + 0.5 + 0, 6)


def test_tie_discounted_agreement_is_one_half_where_exactly_one_says_tie() -> None:
    one: list[Label | None] = ["first", "tie", "first", "tie", "first", None]
    other: list[Label | None] = ["first", "tie", "tie", "second", "second", "tie"]
    assert agreement.tie_discounted(one, other) == Share(1 + 1 + 0.5 + 0.5 + 0 + 0, 6)


def test_cohens_kappa_of_a_table_worked_out_by_hand() -> None:
    cells = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    one, other = zip(*[both for both, count in cells.items() for _ in range(count)], strict=True)
    assert agreement.cohen_kappa(one, other) == pytest.approx((0.7 - 0.5) / 0.5)


def test_fleiss_kappa_of_a_table_worked_out_by_hand() -> None:
    votes = [["a", "a", "a"], ["a", "a", "b"], ["b", "b", "b"], ["a", "b", "b"]]
    assert agreement.fleiss_kappa(votes) == pytest.approx(((1 + 1 / 3 + 1 + 1 / 3) / 4 - 0.5) / 0.5)


@given(st.lists(labels, min_size=1, max_size=20))
def test_a_kappa_of_one_is_full_agreement_and_there_is_none_where_all_say_the_same(given_: list[str]) -> None:
    expected = 1.0 if len(set(given_)) > 1 else math.nan
    assert agreement.cohen_kappa(given_, given_) == pytest.approx(expected, nan_ok=True)
    assert agreement.fleiss_kappa([[one, one] for one in given_]) == pytest.approx(expected, nan_ok=True)


def test_there_is_no_kappa_of_nothing_nor_of_uneven_votes() -> None:
    assert math.isnan(agreement.cohen_kappa([], []))
    assert math.isnan(agreement.fleiss_kappa([]))
    assert math.isnan(agreement.fleiss_kappa([["a"]]))
    assert math.isnan(agreement.fleiss_kappa([["a", "b"], ["a"]]))


@given(votes=st.lists(st.tuples(labels, labels), min_size=2, max_size=30))
def test_kappas_do_not_depend_on_the_order_of_things_or_judges(votes: list[tuple[str, str]]) -> None:
    one, other = zip(*votes, strict=True)
    kappa = agreement.cohen_kappa(one, other)
    assert agreement.cohen_kappa(other, one) == pytest.approx(kappa, nan_ok=True)
    assert agreement.cohen_kappa(one[::-1], other[::-1]) == pytest.approx(kappa, nan_ok=True)
    turned_round = [(b, a) for a, b in reversed(votes)]
    assert agreement.fleiss_kappa(turned_round) == pytest.approx(agreement.fleiss_kappa(votes), nan_ok=True)


def test_the_majority_is_a_tie_where_no_label_has_more_than_the_others() -> None:
    assert agreement.majority(["first", "first", "tie"]) == "first"
    assert agreement.majority(["first", "second", "tie"]) == "tie"
    assert agreement.majority(["first", "first", "second", "second"]) == "tie"


def test_agreement_is_leave_one_out_against_the_mode_with_ties_broken_evenly() -> None:
    # AlpacaEval's own example: four people, of whom the last differs once, each against the other three.
    votes: list[list[Label]] = [["first"] * 4, ["second", "second", "second", "first"]]
    assert agreement.leave_one_out(votes).value == 0.875
    # Each of the first two is one of two modes of the others; the last is none.
    votes = [["first", "first", "second"]]
    assert agreement.leave_one_out(votes).value == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert agreement.leave_one_out([["first", "second", "tie"], ["tie"]]) == Share(0, 1)


def test_a_judge_is_measured_against_as_many_people_as_a_person_is() -> None:
    votes: list[list[Label]] = [["first", "first", "second"]]
    assert agreement.with_people(["first"], votes).value == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert agreement.with_people([None], votes).value == 0


# Habits


def test_a_judge_of_places_is_right_in_half_and_names_the_same_place_in_all() -> None:
    found = align([pair("first", "first", people) for people in ("first", "second", "second")])
    assert found.accuracy.value == 0.5
    assert (found.positions.same.value, found.positions.first.value) == (1.0, 1.0)
    found = align([pair("second", "second")])
    assert (found.positions.same.value, found.positions.first.value) == (1.0, 0.0)


def test_the_same_position_rate_is_over_all_pairs_of_both_orders_read_or_not() -> None:
    pairs = [pair("first", "first"), pair("first", None), pair("tie", "tie"), pair("first", "second")]
    found = bias.positions([*pairs, Compared((Verdict("first"),))])
    assert found == bias.Positions(Share(1, 4), Share(1, 1))


def test_the_longer_answer_counts_from_thirty_one_characters_more() -> None:
    texts = ("a" * 131, "b" * 100), ("a" * 130, "b" * 100), ("a" * 100, "b" * 200)
    chosen = [(both, "first") for both in texts] + [(texts[0], "tie"), (texts[0], None)]
    assert bias.prefers_longer(chosen) == Share(1, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "is_list"),
    [
        ("- one\n- two", True),
        ("Here:\n  1. one\n  2. two", True),
        ("* one\n\n* two", True),
        ("a) one\nb) two", True),
        ("- only one", False),
        ("A well-known, far-off place.\nIt is - as they say - old.", False),
        ("1.5 is a number\n2.5 too", False),
        ("", False),
    ],
)
def test_a_list_is_two_lines_that_begin_as_items_do(text: str, is_list: bool) -> None:
    assert bias.has_list(text) is is_list


def test_list_preference_is_over_choices_of_which_one_has_a_list() -> None:
    listed, prose = "- one\n- two", "One and two."
    chosen: list[bias.Chosen] = [
        ((listed, prose), "first"),
        ((prose, listed), "second"),
        ((prose, listed), "first"),
        ((listed, listed), "first"),
        ((prose, listed), None),
    ]
    assert bias.prefers_lists(chosen) == Share(2, 3)


def test_self_preference_is_shown_beside_what_people_prefer() -> None:
    pairs = [
        pair("first", "second", "second", writers=("me", "you"), judge="me"),
        pair("first", "first", "first", writers=("you", "me"), judge="me"),
        pair("first", "second", writers=("me", "me"), judge="me"),
        pair("first", "second", writers=("", ""), judge=""),
    ]
    own, people = bias.prefers_own(pairs)
    assert (own, people) == (Share(3, 4), Share(0, 2))


def test_the_table_has_a_line_a_judge_and_says_nan_where_there_is_nothing_to_count() -> None:
    shown = table({"kind": align([pair("first", "second")]), "silent": align([])})
    assert list(shown.index) == ["kind", "silent"]
    assert shown.loc["kind", "accuracy"] == 1.0
    assert shown.loc["kind", "low"] == pytest.approx(0.2065, abs=1e-4)
    assert shown.loc["silent"].drop(["pairs", "judged by people", "unreadable"]).isna().all()


# Soft labels

# What the judge says, as p of the first, and people: of two labels of 0.92 one is right, of four of about
# 0.61 three, and the one of 1 is.
SOFT: list[tuple[float, Label | None]] = [
    (0.92, "first"),
    (0.08, "first"),
    (0.6, "first"),
    (0.4, "second"),
    (0.62, "first"),
    (0.38, "first"),
    (1.0, "first"),
    (0.5, "first"),
    (0.9, "tie"),
    (0.9, None),
]


def test_soft_labels_are_held_against_people_by_how_sure_they_are() -> None:
    found = calibration(SOFT)
    filled = {round(one.low, 2): one for one in found.bins if one.right.whole}
    assert len(found.bins) == 10
    assert {low: one.right for low, one in filled.items()} == {
        0.6: Share(3, 4),
        0.9: Share(1, 2),
        0.95: Share(1, 1),
    }
    assert [one.mean for one in filled.values()] == pytest.approx([0.61, 0.92, 1.0])
    assert found.error == pytest.approx((4 * (0.75 - 0.61) + 2 * (0.92 - 0.5) + 0) / 7)
    assert found.undecided == 2
    # Wilson's interval of 3 of 4, worked out with z = 1.96.
    interval = filled[0.6].right.interval
    assert (interval.low, interval.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)


@pytest.mark.parametrize(
    ("p_first", "low"),
    [(0.51, 0.5), (0.55, 0.55), (0.45, 0.55), (0.6, 0.6), (0.4, 0.6), (0.05, 0.95), (0, 0.95), (1, 0.95)],
)
def test_a_label_at_the_end_of_two_bins_is_in_the_upper_one(p_first: float, low: float) -> None:
    [one] = [one for one in calibration([(p_first, "first")]).bins if one.right.whole]
    assert one.low == pytest.approx(low)


@given(st.lists(st.tuples(st.floats(0, 1), labels), max_size=40))
def test_calibration_is_the_same_of_every_pair_the_other_way_round(
    given_: list[tuple[float, Label | None]],
) -> None:
    steps = [(round(p_first * 64) / 64, people) for p_first, people in given_]
    found = calibration(steps)
    assert found.undecided + sum(one.right.whole for one in found.bins) == len(steps)
    other = calibration([(1 - p_first, turned(people)) for p_first, people in steps])
    assert [one.right for one in other.bins] == [one.right for one in found.bins]
    assert other.error == pytest.approx(found.error, nan_ok=True)


def test_calibration_is_printed_by_bins_that_have_labels() -> None:
    text = printed.calibrated(calibration(SOFT))
    assert re.search(r"0\.60 to 0\.65 +0\.610 +0\.750 \(0\.301 to 0\.954\), 3 of 4", text)
    assert "0.50 to 0.55" not in text
    assert "expected calibration error 0.200; 2 left out" in text
    assert printed.calibrated(calibration([])).startswith("expected calibration error -; 0 left out")


# Of rows


def test_raw_judgements_become_verdicts_an_order_with_samples_averaged() -> None:
    def judgment(value: float | None, order: tuple[int, int], **known: Any) -> Judgment:
        return Judgment("judge", "pair", (0, 1), order, value, calls=("key",), model="j", **known)

    row = sourced([Message("user", "Say.")], 0).answered(Answer("a", model="w"), Answer("b", model="j"))
    row = row.judged(
        judgment(0.9, (0, 1)),
        judgment(0.2, (0, 1), sample=1),
        judgment(0.1, (1, 0)),
        judgment(None, (1, 0), sample=1, unreadable="no_verdict"),
        Judgment("other", "pair", (0, 1), (0, 1), 1.0, calls=("key",)),
        Judgment("judge", "pair", (0, 2), (0, 2), None, unreadable="identical_answers"),
    )
    (found,) = of_row(row, "judge", "second")
    assert found == Compared(
        (Verdict("first"), Verdict("first", swapped=True)), "second", ("a", "b"), ("w", "j"), "j"
    )
    assert found.choices == ("first", "second")
    unread = judgment(None, (1, 0), unreadable="no_verdict")
    (found,) = of_row(replace(row, judgments=(unread,)), "judge")
    assert found.verdicts == (Verdict(None, swapped=True, unreadable="no_verdict"),)


PIPELINE = """
name: judged
seed: {seed}
models: {{m: {{provider: compatible, base_url: '{url}/v1', model: played}}}}
steps:
  - jsonl: {{path: prompts}}
  - respond: {{model: m, count: 2}}
  - judge_pairs: {{model: m, verdict: schema}}
dataset: {{views: [preference]}}
"""

Judged = Callable[..., Any]


@pytest.fixture
def judged(
    server: ProviderServer,
    pipeline: ReadPipeline,
    make: Make,
    write_lines: WriteLines,
    monkeypatch: pytest.MonkeyPatch,
) -> Judged:
    """Have answers by number judged by `judge`, which sees the numbers in the order shown: the pairs.

    People, here, prefer the larger number.
    """

    async def run(judge: Callable[[int, int], str], seed: int = 0) -> list[Compared]:
        write_lines("prompts.jsonl", *({"prompt": f"Tell me of thing {number}."} for number in range(4)))
        rows: list[Row] = []
        usual = JudgePairs.run

        async def watched(self: JudgePairs, *given: Any) -> Any:
            async for row in usual(self, *given):
                rows.append(row)
                yield row

        def answer(body: Body) -> str:
            text = body["messages"][-1]["content"]
            if text.startswith("Tell me"):
                return f"Answer {body['seed']}!"
            shown = dict.fromkeys(map(int, re.findall(r"Answer (\d+)!", text)))
            return f'{{"better": "{judge(*shown)}"}}'

        server.answer = answer
        monkeypatch.setattr(JudgePairs, "run", watched)
        await make(pipeline(PIPELINE.format(url=server.url, seed=seed)))
        monkeypatch.setattr(JudgePairs, "run", usual)
        return [found for row in rows for found in of_row(row, "judge_pairs", by_number(row))]

    return run


def by_number(row: Row) -> Label:
    first, second = (int(re.sub(r"\D", "", answer.text)) for answer in row.answers)
    return "first" if first > second else "second"


async def test_a_position_biased_judge_comes_out_at_one_half_and_all_in_the_same_position(
    judged: Judged,
) -> None:
    found = align(await judged(lambda first, second: "A"))
    assert (found.pairs, found.accuracy.value) == (4, 0.5)
    assert (found.positions.same.value, found.positions.first.value) == (1.0, 1.0)
    assert found.own[0].whole == 0, "it wrote both answers of every pair"


@pytest.mark.parametrize("seed", [1, 2])
async def test_an_oracle_judge_comes_out_at_one_whatever_the_seed(judged: Judged, seed: int) -> None:
    found = align(await judged(lambda first, second: "A" if first > second else "B", seed))
    assert (found.pairs, found.accuracy.value, found.positions.same.value) == (4, 1.0, 0.0)
    assert (found.ties_in.value, found.ties_out.value) == (1.0, 1.0)


# AlpacaEval


def test_the_golden_weighted_preference() -> None:
    assert preference(0.2, 0.6) == pytest.approx(1.75, abs=1e-12)
    assert (preference(0.7, 0.0), preference(0.0, 0.7)) == (1.0, 2.0)


def test_a_comparison_without_either_token_is_nan_excluded_and_counted() -> None:
    found = win_rate([preference(0.2, 0.6), preference(0.0, 0.0), None, 1.5])
    assert (found.value, found.of, found.excluded) == (100 * (0.75 + 0.5) / 2, 2, 2)
    assert found.standard_error == pytest.approx(100 * 0.125)
    nothing = win_rate([math.nan])
    assert math.isnan(nothing.value)
    assert (nothing.of, nothing.excluded) == (0, 1)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def compared_by_length(
    *, by_length: float, skill: float = 0.0, count: int = 120
) -> tuple[list[float], list[tuple[int, int]], list[str]]:
    """Comparisons of a model that is mostly the longer one, whose chances follow skill and length."""
    dice = random.Random(5)
    longer = [round(abs(dice.gauss(0, 300))) * (1 if dice.random() < 0.8 else -1) for _ in range(count)]
    mean = sum(longer) / count
    spread = math.sqrt(sum((one - mean) ** 2 for one in longer) / (count - 1))
    wins = [1 + logistic(skill + by_length * math.tanh(one / spread)) for one in longer]
    return wins, [(2000, 2000 + one) for one in longer], [f"task {number}" for number in range(count)]


def test_a_model_that_wins_only_by_length_goes_to_one_half() -> None:
    wins, lengths, tasks = compared_by_length(by_length=2.0)
    assert win_rate(wins).value > 65
    found = length_controlled(wins, lengths, tasks)
    assert found.value == pytest.approx(50, abs=1)
    assert found.low < 50 < found.high


def test_skill_beside_length_is_left_and_length_alone_is_taken_out() -> None:
    wins, lengths, tasks = compared_by_length(by_length=2.0, skill=1.0)
    assert length_controlled(wins, lengths, tasks).value == pytest.approx(100 * logistic(1), abs=1)
    wins, lengths, tasks = compared_by_length(by_length=0.0, skill=1.0)
    assert length_controlled(wins, lengths, tasks).value == pytest.approx(100 * logistic(1), abs=1)


def test_adding_a_constant_to_both_lengths_changes_nothing() -> None:
    wins, lengths, tasks = compared_by_length(by_length=1.0, skill=0.5, count=40)
    moved = [(first + 700, second + 700) for first, second in lengths]
    assert length_controlled(wins, moved, tasks) == length_controlled(wins, lengths, tasks)


def test_the_other_side_of_a_comparison_has_the_other_win_rate() -> None:
    wins, lengths, tasks = compared_by_length(by_length=1.0, skill=0.5, count=40)
    there = length_controlled(wins, lengths, tasks).value
    turned_round = [(second, first) for first, second in lengths]
    assert length_controlled([3 - one for one in wins], turned_round, tasks).value == pytest.approx(
        100 - there
    )


def test_a_judge_that_decides_by_length_without_exception_tells_nothing_of_equal_lengths() -> None:
    _, lengths, tasks = compared_by_length(by_length=0.0, count=60)
    found = length_controlled([2.0 if first < second else 1.0 for first, second in lengths], lengths, tasks)
    assert found.high - found.low > 50


def test_where_lengths_never_differ_the_win_rate_is_the_raw_one_and_where_they_always_do_there_is_none() -> (
    None
):
    wins = [1.9, 1.9, 1.6, 1.8, 1.8, 1.9, 2.0, 1.7]
    tasks = [str(number) for number in range(8)]
    same = length_controlled(wins, [(5, 5)] * 8, tasks).value
    assert same == pytest.approx(win_rate(wins).value, abs=5)
    assert math.isnan(length_controlled(wins, [(5, 9)] * 8, tasks).value)
    assert math.isnan(length_controlled([None, math.nan, 1.5], [(5, 9), (5, 7), (5, 1)], tasks[:3]).value)


def test_an_unread_comparison_changes_no_length_controlled_win_rate() -> None:
    wins, lengths, tasks = compared_by_length(by_length=1.0, skill=0.5, count=40)
    with_unread = length_controlled([*wins, math.nan], [*lengths, (1, 9999)], [*tasks, "one more"])
    assert with_unread == length_controlled(wins, lengths, tasks)
