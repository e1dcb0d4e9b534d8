"""The statistics of a version, worked out by hand; and what a person sees of them."""

import pickle
from array import array
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st
from provider_server import ProviderServer
from rich.console import Console

from synth import screen, tables, verbs
from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.store import answer_statistics, card, instruction_statistics
from synth.store.counters import EDGES, Frequent, Histogram, Timeline
from synth.store.evidence import Judges
from synth.store.refusals import looks_like_refusal
from synth.store.seen import Seen
from synth.store.statistics import FILE, Statistics
from synth.store.told import told
from synth.store.version import Version

Body = dict[str, Any]

needs_tagger = pytest.mark.skipif(find_spec("HanTa") is None, reason="the extra `verbs` is not installed")


def counted(*rows: Row) -> Statistics:
    known = Statistics()
    with Seen() as roots:
        for row in rows:
            known.add(row, is_first=roots.add(row.root))
    return known


def told_of(*rows: Row, notes: Mapping[str, str] | None = None) -> dict[str, Any]:
    return counted(*rows).as_json(notes or {})


def prompted(prompt: str = "Say something.", **facts: Any) -> Row:
    return sourced((Message("user", prompt),), 0, facts)


def printed(version: Version) -> str:
    console = Console(width=200, record=True, file=StringIO())
    screen.shown(version, console)
    return console.export_text()


# The statistics table of Self-Instruct

POEM, RAIN = "Write a poem about the wide quiet sea", "Write a short poem about rain"
CITIES, MOOD = "Name two cities in northern Peru", "Classify the mood of this sentence"
STORY = "Write one story about a lost black dog"
GROWN = (
    f"2. {POEM}\n3. {RAIN}\n4. {CITIES}",
    f"4. {MOOD}",
    f"4. {CITIES}",
    f"4. {STORY}",
    f"4. {RAIN}",
    f"4. {POEM}",
)
INSTANCES = {
    POEM: "Output: Waves sleep.",
    RAIN: "Output: Drops fall softly.",
    CITIES: "Output: Lima, not Peru.",
    MOOD: "Class label: happy\nSentence: We won the cup\nClass label: sad\nSentence: It rains",
    STORY: "Example 1\nTopic: night\nOutput: A dog came home.",
}


def answers_of_a_model() -> Any:
    """What the model says: lists of instructions, whether one is a classification, and instances."""
    grown = iter(GROWN)

    def answer(body: Body) -> str:
        text = body["messages"][-1]["content"]
        known = [instruction for instruction in INSTANCES if instruction in text]
        if "numbered from" in text:
            return next(grown)
        [instruction] = known
        if "Class label" in text or "Output" in text:
            return INSTANCES[instruction]
        return "Yes" if instruction == MOOD else "No"

    return answer


@pytest.fixture
async def grown(
    pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> Version:
    """Five instructions with six instances, of which only one instruction is a classification."""
    write_lines("mine.jsonl", {"prompt": "Write a poem"})
    write_lines(
        "tasks.jsonl",
        *(
            {
                "id": f"t{number}",
                "name": f"t{number}",
                "instruction": f"Solve puzzle {number}.",
                "instances": [{"input": "1", "output": "2"}],
                "is_classification": bool(number % 2),
            }
            for number in range(4)
        ),
    )
    server.answer = answers_of_a_model()
    version, _ = await make(
        pipeline(
            "name: grown\nmodels:\n"
            f"  m: {{provider: compatible, model: made, base_url: '{server.url}/v1',"
            " supports: [temperature]}\n"
            "steps:\n"
            "  - self_instruct: {model: m, seeds: mine, count: 6, lag: 1, give_up_after: 2, human: 1}\n"
            "  - classify_tasks: {model: m, seeds: tasks}\n"
            "  - make_instances: {model: m}\n"
            "dataset: {views: [instructions, sft]}\n"
        )
    )
    return version


async def test_the_report_reproduces_the_statistics_table(grown: Version) -> None:
    """With counts, mean words, similarity to the nearest seed, and yield until novelty runs out.

    With the seed "Write a poem", similarities are 6/11, 6/9, 0, 0 and 4/11. Requests 0, 1 and 3 gave 3, 1
    and 1 instructions; 2 gave an old one, and so did 4 and 5, which ended it.
    """
    known = grown.statistics["instructions"]
    assert (known["count"], known["classification"], known["other"]) == (5, 1, 4)
    assert known["mean_words"] == (8 + 6 + 6 + 6 + 8) / 5
    assert known["instances"] == {
        "count": 6,
        "empty_input": 3,
        "mean_words_input": (5 + 3 + 2) / 3,
        "mean_words_output": (2 + 3 + 3 + 1 + 1 + 4) / 6,
    }
    yielded = known["grown"]["self_instruct"]
    assert yielded["nearest_seed"] == [2, 0, 0, 1, 0, 1, 1, 0, 0, 0]
    assert (yielded["requests"], yielded["admitted"]) == (4, 5)
    assert yielded["admitted_per_request"] == [3, None, 1, None, None, 0, None, 1, None, None]
    assert yielded["ended"] == "5 of 6: 2 requests in a row failed or gave nothing new"


@needs_tagger
async def test_root_verbs_come_with_their_commonest_objects(grown: Version) -> None:
    known = grown.statistics["instructions"]["verb_nouns"]
    assert known == {
        "looked_at": 5,
        "with_both": 5,
        "covered": 1.0,
        "counts_too_low_by_at_most": 0,
        "top": [
            {"verb": "write", "count": 3, "nouns": {"poem": 2, "story": 1}},
            {"verb": "classify", "count": 1, "nouns": {"mood": 1}},
            {"verb": "name", "count": 1, "nouns": {"city": 1}},
        ],
    }


def test_the_twenty_commonest_verbs_are_shown_with_four_nouns_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(instruction: str) -> verbs.VerbNoun:
        verb, noun, _ = instruction.split()
        return verbs.VerbNoun(None, None) if verb == "none" else verbs.VerbNoun(verb, noun)

    monkeypatch.setattr(verbs, "tagger", lambda: True)
    monkeypatch.setattr(verbs, "verb_noun", words)
    # The commonest has 6 nouns, 10 to 5 times; 24 others have one, 24 to 1 times; 10 have no verb.
    counts = {("v00", f"n{number}"): 10 - number for number in range(6)}
    counts |= {(f"v{number:02}", "thing"): 25 - number for number in range(1, 25)}
    counts |= {("none", "none"): 10}
    asks = [f"{verb} {noun} {time}" for (verb, noun), times in counts.items() for time in range(times)]
    known = told_of(*map(prompted, asks))["instructions"]["verb_nouns"]
    assert [line["verb"] for line in known["top"]] == [f"v{number:02}" for number in range(20)]
    assert known["top"][0] == {"verb": "v00", "count": 45, "nouns": {"n0": 10, "n1": 9, "n2": 8, "n3": 7}}
    assert (known["looked_at"], known["with_both"]) == (355, 345)
    assert known["covered"] == pytest.approx(((10 + 9 + 8 + 7) + sum(range(6, 25))) / 355)


async def test_show_prints_the_table_and_does_without(grown: Version) -> None:
    text = printed(grown)
    for line in ("instructions", "classification", "empty input", "nearest seed task", "over 4 requests"):
        assert line in text
    assert "self_instruct ended early: 5 of 6" in text
    assert "5 instructions of 6.8 words on average; 1 are classifications and 4 are not; 6 instances" in (
        (grown.path / "README.md").read_text(encoding="utf-8")
    )
    (grown.path / FILE).unlink()
    assert grown.statistics == {}, "as in a version made before there were statistics"
    assert "rows of the view" in printed(grown)
    assert "nearest seed task" not in printed(grown)


def test_an_instruction_counts_once_however_many_rows_it_has() -> None:
    one = prompted("Name a river.").noted("classify", is_classification=True)
    parts = {"instruction": "Name a river.", "output": "Rhine"}
    rows = [one.child("make", n).noted("make", **parts, input="in Asia"[: 7 * n]) for n in range(2)]
    known = told_of(*rows)["instructions"]
    assert (known["count"], known["classification"], known["other"]) == (1, 1, 0)
    assert (known["instances"]["count"], known["instances"]["empty_input"]) == (2, 1)


async def test_seed_tasks_that_were_read_in_are_not_taken_for_what_a_model_made(
    pipeline: ReadPipeline, make: Make
) -> None:
    version, _ = await make(
        pipeline("name: seeds\nmodels: {}\nsteps:\n  - seed_tasks: {}\ndataset: {views: [alpaca]}\n")
    )
    known = version.statistics["instructions"]
    assert (known["seed_tasks"], known["count"]) == (len(list(version.rows("alpaca"))), 0)


def test_what_rows_know_nothing_of_is_left_out() -> None:
    known = told_of(prompted())
    assert "classification" not in known["instructions"]
    assert "instances" not in known["instructions"]
    assert known["instructions"]["grown"] == {}
    assert set(known) == {"instructions"}


# Verbs


@needs_tagger
@pytest.mark.parametrize(
    ("instruction", "verb", "noun"),
    [
        ("Write a short story about a fox.", "write", "story"),
        ("Coin two metaphors for an overfull inbox.", "coin", "metaphor"),
        ("Could you tell a calm bedtime story?", "tell", "story"),
        ("From the short scene alone, infer how Mara feels.", "infer", None),
        ("If the year is given, name the ruling king.", "name", "king"),
        ("Grade the pupil's answer.", "grade", "answer"),
        ("Work out the probability.", "work", "probability"),
        ("Solve for x.", "solve", None),
        ("Is it prime?", None, None),
        ("", None, None),
    ],
)
def test_the_root_verb_and_its_object_are_found(instruction: str, verb: str | None, noun: str | None) -> None:
    assert verbs.verb_noun(instruction) == (verb, noun)


def test_verb_and_object_are_found_among_tags_alone() -> None:
    assert verbs.parts(["VVB", "AT0", "AJ0", "CJC", "AJ0", "NN1", "NN1", "PRP"]) == (0, 6)
    assert verbs.parts(["CJS", "PNP", "VVB", "PUN", "VVB", "CRD", "NN2"]) == (4, 6)
    assert verbs.parts(["NN1", "DT0", "NN1"]) == (0, 2), "a noun before a determiner is a verb"
    assert verbs.parts(["TO0", "VVI", "NN1"]) == (None, None)
    assert verbs.parts(["VVB", "PRP", "NN1"]) == (0, None), "an object behind a preposition is not direct"
    assert verbs.parts(["VVB", "NN1", "NP0"]) == (0, None), "a name is no common noun"


def test_without_the_tagger_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "tagger", lambda: None)
    known = told_of(prompted())["instructions"]
    assert known["verb_nouns"] is None
    console = Console(width=200, record=True, file=StringIO())
    tables.instructions(known, console)
    assert "synth-feedback[verbs]" in console.export_text()


# Principles


def revised(*texts: str, principles: str = "ab", **facts: Any) -> Row:
    """A fresh answer and its revisions one after another, by principles a, b and so on."""
    fresh, *later = texts
    row = prompted(**facts).answered(Answer(fresh, "respond"))
    for number, text in enumerate(later):
        row = row.answered(Answer(text, "revise", parent=number, principle=principles[number]))
    return row


def compared(row: Row, pair: tuple[int, int], *values: float | None, calls: tuple[str, ...] = ("k",)) -> Row:
    """`row` with what a judge said of `pair`, order by order."""
    orders = (pair, pair[::-1])
    reason = "no_verdict" if calls else "identical_answers"
    said = [
        Judgment("judge", "pair", pair, order, value, None if value is not None else reason, calls=calls)
        for order, value in zip(orders, values, strict=False)
    ]
    return row.judged(*said)


def test_it_is_told_per_principle_how_often_it_was_drawn_and_what_it_changed() -> None:
    """ROUGE-L F of 4 and 4 words that share 2 is 1/2, of 4 and 2 that share 2 is 2/3."""
    known = told_of(
        revised("one two three four", "one two five six", "one two five six"),
        revised("one two three four", "one two", ""),
        revised("one two three four", "Revision: one two three four"),
    )["principles"]
    assert (known["a"]["drawn"], known["a"]["changed"], known["a"]["flags"]) == (3, 3, {"echo": 1})
    assert known["a"]["mean_change"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 9) / 3)
    assert known["a"]["mean_length_ratio"] == pytest.approx((1 + 1 / 2 + 5 / 4) / 3)
    assert (known["b"]["drawn"], known["b"]["changed"]) == (2, 0)
    assert known["b"]["flags"] == {"empty": 1, "unchanged": 1}
    assert (known["b"]["mean_change"], known["b"]["mean_length_ratio"]) == (0.0, 1.0)


def test_it_is_told_per_principle_how_judges_preferred_the_revision() -> None:
    row = revised("old", "new", "newer")
    known = told_of(
        compared(row, (0, 2), 0.1, 0.2),
        compared(row, (0, 2), 0.9, 0.8),
        compared(row, (2, 0), 0.9, 0.8),
        compared(row, (0, 2), 0.5, 0.5),
        compared(row, (0, 2), 1.0, 0.0),
        compared(row, (0, 2), None, 0.2),
        compared(row, (0, 2), None, calls=()),
        compared(row, (1, 2), 0.1, 0.1),
        compared(row.answered(Answer("another")), (0, 3), 0.1, 0.1),
    )["principles"]
    assert known["b"]["verdicts"] == {
        "revision": 2,
        "original": 1,
        "tie": 1,
        "orders_disagree": 1,
        "unreadable": 1,
        "not_asked": 1,
    }
    assert known["a"]["verdicts"] == {}


def test_over_refusal_is_counted_on_prompts_that_are_marked_harmless() -> None:
    refusal = "I'm sorry, but I can't help with that."
    rows = [
        revised("Sure, like this.", refusal, harmless=True),
        revised(refusal, refusal, category="harmless"),
        revised("Sure, like this.", "Gladly, like that.", harmless=True),
        revised("Sure, like this.", refusal, category="violence"),
        revised("Sure, like this.", refusal, harmless=False),
    ]
    known = told_of(*rows)
    principle = known["principles"]["a"]
    assert (principle["harmless_prompts"], principle["refused_harmless"]) == (3, 2)
    assert principle["newly_refused_harmless"] == 1
    fresh, later = known["answers"]
    assert [each["refusals"] for each in (fresh, later)] == [1, 4]
    assert [each["harmless_prompts"] for each in (fresh, later)] == [3, 3]
    assert [each["over_refusals"] for each in (fresh, later)] == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "I can\u2019t assist with that request.",
        "I'm sorry, but I cannot help you break in.",
        "As a language model, I am not able to provide medical advice.",
        "Thank you for asking. However, I won't write that.",
        "I must decline.",
        "That isn't something I can help with.",
    ],
)
def test_a_refusal_is_known_by_its_phrase(text: str) -> None:
    assert looks_like_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that. Here is what you can do.",
        "You cannot help feeling tired.",
        "I can help you with that.",
        "Sure. " + "Step one. " * 40 + "I cannot help with more.",
        "",
    ],
)
def test_what_only_sounds_sorry_is_no_refusal(text: str) -> None:
    assert not looks_like_refusal(text)


# Drift


def test_length_and_openings_are_told_round_by_round() -> None:
    kind = "You are valid, valued and cared for"
    rows = [revised(f"Answer {n}", f"{kind} {n}.", f"YOU are valid,  valued and more {n}.") for n in range(3)]
    fresh, first, second = told_of(*rows, revised("", "Now there is something to read."))["answers"]
    assert (fresh["answers"], fresh["empty"], fresh["mean_words"]) == (4, 1, 2.0)
    assert (fresh["long_enough"], fresh["openings"]) == (0, [])
    assert (first["answers"], first["mean_words"]) == (4, (3 * 8 + 6) / 4)
    assert first["openings"] == [
        {"begins": "you are valid, valued and", "count": 3},
        {"begins": "now there is something to", "count": 1},
    ]
    assert second["openings"][0] == {"begins": "you are valid, valued and", "count": 3}


def test_openings_reach_the_terminal_as_plain_text() -> None:
    row = prompted().answered(*(Answer("\x1b[31m[red]so it\u202e begins each time") for _ in range(2)))
    console = Console(width=200, record=True, file=StringIO(), force_terminal=True, color_system=None)
    tables.answers(told_of(row)["answers"], console)
    text = console.export_text(clear=False)
    assert "2 of 2" in text
    assert "[red]so" in text, "no markup is read"
    assert "\x1b[31m" not in text
    assert "\u202e" not in text


# Judges


def judged_by(row: Row, principle: str, *values: float) -> Row:
    said = [
        Judgment("judge", "pair", (0, 1), order, value, principle=principle, calls=("k",))
        for order, value in zip(((0, 1), (1, 0)), values, strict=True)
    ]
    return row.judged(*said)


TWO = prompted().answered(
    Answer("short", "respond", model="m"), Answer("longer by far", "respond", model="n")
)


def test_it_is_told_per_judging_principle_how_often_orders_agreed() -> None:
    known = told_of(
        judged_by(TWO, "kind", 0.9, 0.8), judged_by(TWO, "kind", 1.0, 0.0), judged_by(TWO, "true", 0.2, 0.9)
    )
    kind, true = (known["judging_principles"]["judge"][name] for name in ("kind", "true"))
    assert [kind[name] for name in ("judgments", "both_orders", "agreed", "same_position", "first")] == [
        4,
        2,
        1,
        1,
        1,
    ]
    assert [true[name] for name in ("judgments", "both_orders", "agreed", "same_position", "first")] == [
        2,
        1,
        0,
        1,
        0,
    ]


def evidence(*rows: Row) -> dict[str, Any]:
    judges = Judges()
    for row in rows:
        judges.add(row)
    [known] = judges.as_json().values()
    assert isinstance(known, dict)
    return known


def by_m(row: Row, *values: float) -> Row:
    orders = ((0, 1), (1, 0))
    said = [
        Judgment("judge", "pair", (0, 1), order, value, calls=("k",), model="m")
        for order, value in zip(orders, values, strict=True)
    ]
    return row.judged(*said)


def test_it_is_counted_how_often_the_longer_answer_and_the_judges_own_win() -> None:
    even = prompted().answered(Answer("one two", model="m"), Answer("three four", model="m"))
    known = evidence(
        by_m(TWO, 0.9, 0.9),
        by_m(TWO, 0.1, 0.1),
        by_m(TWO, 0.2, 0.3),
        by_m(TWO, 1.0, 0.0),
        by_m(even, 0.9, 0.9),
    )
    assert (known["unlike_lengths"], known["longer"]) == (3, 2)
    assert (known["one_own"], known["own"]) == (3, 1)
    assert "Of 3 labels about answers of unlike length the longer one won 2" in told(known)


def alone(kind: Any, *values: float | None, calls: tuple[str, ...] = ("k",), why: str = "no_rating") -> Row:
    said = [
        Judgment(
            "judge", kind, (0,), (0,), value, None if value is not None else why, calls=calls, sample=sample
        )
        for sample, value in enumerate(values)
    ]
    return TWO.judged(*said)


def test_scores_are_told_with_why_some_are_missing() -> None:
    text = told(evidence(alone("score", 4.0, 2.0, None), alone("score", None, why="not_applicable")))
    assert text.startswith("gave 2 scores; 2 more judgements came to none (no_rating 1, not_applicable 1)")
    assert "likelihood" not in text


def test_likelihoods_are_told_with_the_empty_answers() -> None:
    text = told(evidence(alone("likelihood", -1.5), alone("likelihood", None, calls=(), why="empty_answer")))
    assert text.startswith("scored 1 answers alone by their likelihood. 1 answers were not judged")


def test_checks_are_told_as_passed_failed_and_not_made_and_without_a_call() -> None:
    known = evidence(alone("check", 1.0, 1.0, 0.0, None, calls=(), why="no_final_answer"))
    assert told(known) == (
        "made 4 checks, by code or by what is known, without a call: 2 passed, 1 failed; "
        "1 could not be made (no_final_answer 1)."
    )


def ranked(*places: tuple[int, ...]) -> Row:
    said = [
        Judgment(
            "judge",
            "rank",
            (0, 1, 2),
            (0, 1, 2),
            None,
            None if each else "no_ranking",
            calls=("k",),
            places=each,
            sample=sample,
        )
        for sample, each in enumerate(places)
    ]
    return TWO.answered(Answer("third")).judged(*said)


def test_rankings_are_told_with_how_far_several_agree() -> None:
    """Of the pairs of (1, 2, 3) and (1, 3, 2), two are ranked alike; a tie is unlike both."""
    known = evidence(ranked((1, 2, 3), (1, 3, 2)), ranked((1, 1, 2), (1, 2, 3), ()), ranked((1, 2, 3)))
    assert (known["ranked_again"], known["ranked_alike"]) == (6, 4)
    assert told(known).startswith("gave 5 rankings; 1 more could not be read (no_ranking 1)")
    assert (
        "of 6 pairs of answers that it ranked several times it always said the same of 4"
        in told(known).lower()
    )


def test_comparisons_out_of_a_file_are_no_questions_that_were_not_asked() -> None:
    given_ = TWO.judged(Judgment("people", "pair", (0, 1), (0, 1), 1.0))
    assert told(evidence(given_)) == "1 comparisons were given with the data; no model was asked."


def test_a_judge_of_an_older_manifest_can_still_be_told() -> None:
    names = (
        "judgments",
        "not_asked",
        "unreadable",
        "censored",
        "both_orders",
        "agreed",
        "same_position",
        "first",
        "ties",
    )
    for kind in ("pair", "rank", "likelihood", "score", "check"):
        assert told({"kind": kind, **dict.fromkeys(names, 1)})


# Constraints


def test_the_four_metrics_of_constraints_are_told() -> None:
    named: dict[str, Any] = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    row = prompted(**named).answered(Answer("Rain.", "respond"), Answer("Rain, rain.", "respond"))
    known = told_of(row)["constraints"]
    assert (known["prompt"]["count"], known["prompt"]["strict"], known["prompt"]["loose"]) == (2, 1, 1)
    console = Console(width=200, record=True, file=StringIO())
    tables.constraints(known, console)
    assert "punctuation:no_comma  2          0.500   0.500" in console.export_text()


# In a version


async def test_the_statistics_are_no_part_of_the_id(
    pipeline: ReadPipeline,
    make: Make,
    write_lines: WriteLines,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_lines("prompts.jsonl", {"prompt": "Say hello."})
    text = (
        "name: counted\nmodels: {m: {provider: scripted}}\n"
        "steps:\n  - jsonl: {path: prompts}\n  - respond: {model: m}\ndataset: {views: [instructions]}\n"
    )
    counted, _ = await make(pipeline(text), into=tmp_path / "one")
    monkeypatch.setattr(Statistics, "as_json", lambda self, notes: {})
    bare, _ = await make(pipeline(text), into=tmp_path / "other")
    assert counted.statistics
    assert not bare.statistics
    assert counted.id == bare.id


# Memory


def state(rows: int) -> int:
    """Bytes that the counters take after so many rows, each unlike any other."""
    known = Statistics()
    for number in range(rows):
        row = revised(
            f"Answer {number} begins {number} and goes on", f"Better {number} now {number} it {number}"
        )
        row = row.noted("grow", request=number, nearest_seed=number % 7 / 10).noted(
            "c", is_classification=True
        )
        known.add(compared(row, (0, 1), 0.9, 0.9), is_first=True)
    return len(pickle.dumps(known))


def test_memory_stays_flat_as_rows_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row has an opening of its own; the bounds on counters hold them, here at their smallest."""
    monkeypatch.setattr(answer_statistics, "KEPT", 10)
    monkeypatch.setattr(verbs, "tagger", lambda: None)
    few, many = state(100), state(1000)
    assert many < few + 2000, f"{few} bytes for 100 rows, {many} for 1000"


def test_verbs_and_nouns_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(range(100_000))
    monkeypatch.setattr(verbs, "verb_noun", lambda text: (f"v{next(said)}", "n"))
    known = instruction_statistics.VerbNouns(verbs=Frequent(20), pairs=Frequent(20))
    for _ in range(1000):
        known.add("x")
    assert len(known.verbs.counts) <= 40
    assert known.as_json()["counts_too_low_by_at_most"] > 0


@given(st.lists(st.sampled_from("aaaaabbbcdefghijklmnop")), st.integers(1, 5))
def test_the_commonest_keys_are_never_counted_too_high_nor_lower_than_is_said(
    keys: list[str], kept: int
) -> None:
    counter, exact = Frequent[str](kept), Counter(keys)
    for key in keys:
        counter.add(key)
    assert len(counter.counts) <= 2 * kept
    assert counter.lost * kept <= len(keys)
    for key, count in exact.items():
        assert count - counter.lost <= counter.counts.get(key, 0) <= count


@given(st.lists(st.integers(0, 200)), st.sampled_from([4, 16, 8192]))
def test_a_timeline_loses_nothing_and_is_exact_while_its_pieces_last(
    requests: list[int], pieces: int
) -> None:
    timeline = Timeline(pieces=array("q", bytes(8 * pieces)))
    for request in requests:
        timeline.add(request)
    tenths = timeline.tenths()
    total = max(requests, default=-1) + 1
    assert sum(things for _, things in tenths) == len(requests)
    assert sum(each for each, _ in tenths) == total
    if total <= pieces:
        exact = Counter(10 * request // total for request in requests)
        assert [things for _, things in tenths] == [exact[tenth] for tenth in range(10)]


@given(st.lists(st.floats(0, 1)))
def test_every_similarity_falls_into_the_bin_that_holds_it(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for number, (low, high) in enumerate(zip((0.0, *EDGES), (*EDGES, 2.0), strict=True)):
        assert histogram.bins[number] == sum(low <= value < high for value in values)


def test_the_card_says_what_is_known_and_nothing_of_what_is_not() -> None:
    manifest: dict[str, Any] = {
        **dict.fromkeys(("name", "version", "id", "license", "synth"), "x"),
        **{"parent": None, "views": {}, "steps": [], "calls": [], "made_from": {}},
        "judges": {"judge": evidence(by_m(TWO, 0.9, 0.9))},
    }
    rows = told_of(revised("one two three four", "one two five six", harmless=True))
    text = card.write(manifest, rows, "name: x")
    assert "| `a` | 1 | 1 | 0.50 | 1.00 | 0 | 0 |" in text
    assert "| 1 times | 1 | 0 | 4.0 | 0 | 0 of 1 |" in text
    assert "- `judge`: asked in both orders about 1 pairs" in text
    assert "## Statistics" not in card.write(manifest, {}, "name: x")


def test_statistics_are_plain_json() -> None:
    assert orjson.loads(orjson.dumps(told_of(revised("a b", "c d")))) == told_of(revised("a b", "c d"))
