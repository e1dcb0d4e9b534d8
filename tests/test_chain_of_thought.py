"""Chains of thought through whole pipelines. The server's log is the referee of what was asked."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Make, ReadPipeline, RowsOf, WriteLines
from provider_server import Body, ProviderServer

from synth import questions
from synth.journal import Journal
from synth.methods.chain_of_thought import TEMPLATES, ChainOfThought
from synth.pipeline import Pipeline
from synth.questions import Known, Question
from synth.rows import Message, Row, sourced
from synth.run import Watch
from synth.step import Bench
from synth.store.version import Version

PIPELINE = """
name: cot
seed: {seed}
models: {{m: {{provider: compatible, model: m, base_url: "{url}/v1"}}}}
steps:
  - jsonl: {{path: asked}}
  - chain_of_thought: {{model: m, exemplars: known, {fields}}}
dataset: {{views: [sft, preference], test_fraction: 0.3}}
"""
KNOWN = [
    {
        "id": f"known_{number}",
        "prompt": f"What is the double of {number}?",
        "answer": str(2 * number),
        "rationale": f"Twice {number} is {2 * number}.",
    }
    for number in range(8)
]
CITIES = ("Paris", "Rome", "Berlin", "Madrid")


def sums(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"sum_{number}",
            "prompt": f"How much is {number} and one hundred?",
            "answer": str(number + 100),
        }
        for number in range(count)
    ]


def capitals(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"Which city is number {number} on my list?",
            "answer": CITIES[number % 4],
            "options": CITIES,
        }
        for number in range(count)
    ]


@pytest.fixture
def reason(
    server: ProviderServer,
    pipeline: ReadPipeline,
    make: Make,
    write_lines: WriteLines,
    rows_of: RowsOf,
) -> Callable[..., Any]:
    """Run the method on lines: the rows that it made, the version, and what the run showed of itself."""

    async def reason_(
        *lines: dict[str, Any], fields: str = "few_shot: 0", seed: int = 7
    ) -> tuple[list[Row], Version, Watch]:
        write_lines("asked.jsonl", *lines)
        write_lines("known.jsonl", *KNOWN)
        rows = rows_of(ChainOfThought)
        text = PIPELINE.format(url=server.url, fields=fields, seed=seed)
        read: Pipeline = pipeline(text)
        version, watch = await make(read)
        return sorted(rows, key=lambda row: row.id), version, watch

    return reason_


def form(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if facts(row)["form"] == name]


def facts(row: Row) -> dict[str, Any]:
    known: dict[str, Any] = row.facts["chain_of_thought"]
    return known


def prompt(body: Body) -> str:
    said: str = body["messages"][-1]["content"]
    return said


def cut_off(text: str) -> Body:
    """What the server says when the limit of tokens ends a reply."""
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": "length"}]}


def number_in(body: Body) -> int:
    """The number that a sum asks about."""
    return int(re.findall(r"much is (\d+)", prompt(body))[-1])


async def test_the_final_answer_of_a_rationale_is_checked_and_only_then_passes(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    said = iter(["It is 1 + 100. The answer is 101.", "Hm. The answer is 7.", "No idea.", r"\boxed{101.0}"])
    server.answer = lambda body: next(said)
    rows, *_ = await reason(*sums(2)[1:], fields="few_shot: 0, direct: false, inverted: 0")
    values = {
        row.answers[j.candidates[0]].text: (j.value, j.unreadable) for row in rows for j in row.judgments
    }
    assert values == {
        "It is 1 + 100. The answer is 101.": (1.0, None),
        "Hm. The answer is 7.": (0.0, None),
        "No idea.": (None, "no_final_answer"),
        r"\boxed{101.0}": (1.0, None),
    }
    assert {(j.kind, j.aspect, j.calls) for row in rows for j in row.judgments} == {("check", "answer", ())}
    assert len({body["seed"] for body in server.bodies}) == 4
    assert all(body["temperature"] == 0.7 for body in server.bodies)


async def test_a_right_answer_in_gsm8ks_style_is_its_number_everywhere(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: f"So. The answer is {number_in(body) + 100}."
    lines = [{**line, "answer": f"1*100=100.\n#### {line['answer']}"} for line in sums(4)]
    lines[0]["answer"] = 100
    rows, *_ = await reason(*lines, fields="count: 1, few_shot: 0, inverted: 1")
    assert [j.value for row in form(rows, "reasoned") for j in row.judgments] == [1.0] * 4
    assert {row.answers[0].text for row in form(rows, "direct")} == {"100", "101", "102", "103"}
    assert not any("####" in row.prompt[0].content for row in form(rows, "inverted"))


async def test_nought_is_a_right_answer(reason: Callable[..., Any], server: ProviderServer) -> None:
    server.answer = lambda body: "None are left. The answer is 0."
    fields = "count: 1, few_shot: 0, direct: false, inverted: 0"
    (row,), *_ = await reason({"prompt": "How many are left?", "answer": 0}, fields=fields)
    assert [j.value for j in row.judgments] == [1.0]


async def test_wrong_answer_rationales_become_rejected(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: f"So. The answer is {101 if body['seed'] % 2 else 99}."
    _, version, _ = await reason(*sums(2)[1:], fields="count: 8, few_shot: 0, direct: false, inverted: 0")
    lines = list(version.rows("preference", "test"))
    assert [line["chosen"][0]["content"] for line in lines] == ["So. The answer is 101."]
    assert [line["rejected"][0]["content"] for line in lines] == ["So. The answer is 99."]


async def test_the_template_id_is_in_every_row(reason: Callable[..., Any], server: ProviderServer) -> None:
    rows, *_ = await reason(*sums(20), fields="count: 1, inverted: 1, few_shot: 0")
    assert len(rows) == 60
    folder = Path(questions.__file__).parent / "prompts" / "chain_of_thought"
    assert all((folder / f"{facts(row)['template']}.md").is_file() for row in rows)
    for row in form(rows, "reasoned"):
        words = (folder / f"{facts(row)['template']}.md").read_text(encoding="utf-8").split("---\n")[2]
        plain = re.sub(r"{% if.*?endif %}|{{.*?}}", "", words, flags=re.DOTALL).split()
        assert all(word in row.prompt[0].content for word in plain)


def test_all_ten_templates_are_drawn_about_equally_often_by_chi_squared(tmp_path: Path) -> None:
    step = ChainOfThought(model="m", few_shot=0)
    bench = Bench("chain_of_thought", {}, Journal(tmp_path / "journal.sqlite"), tmp_path)
    drawn: Counter[str] = Counter()
    for number in range(2000):
        row = sourced([Message("user", f"What is {number}?")], 0, {"answer": "A number"})
        drawn[step.asked(row, Question(row.prompt[0].content, "A number"), bench).drawn["template"]] += 1
    assert len(drawn) == len(TEMPLATES) == 10
    chi_squared = sum((seen - 200) ** 2 / 200 for seen in drawn.values())
    assert chi_squared < 27.88  # 99.9 % of the distribution with 9 degrees of freedom


async def test_options_are_shuffled_and_gold_is_tracked(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    rows, *_ = await reason(
        *capitals(24), fields="count: 1, few_shot: 0, show_options: 1, direct: false, inverted: 0"
    )
    letters = set()
    for row in rows:
        options, gold = facts(row)["options"], facts(row)["gold"]
        assert sorted(options) == sorted(CITIES)
        right = options["ABCD".index(gold)]
        number = int(re.findall(r"number (\d+)", row.prompt[0].content)[0])
        assert right == CITIES[number % 4] == facts(row)["answer"]
        shown = re.findall(r"^\(?([A-D])[.)] (\w+)$", row.prompt[0].content, re.MULTILINE)
        assert dict(shown)[gold] == right
        letters.add(gold)
    assert letters == set("ABCD")


async def test_with_options_and_without_them_zero_shot_and_few_shot_all_occur(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    rows, *_ = await reason(
        *capitals(40), fields="count: 1, few_shot: 0.5, show_options: 0.5, direct: false, inverted: 0"
    )
    cells = Counter((bool(facts(row)["options"]), bool(facts(row)["exemplars"])) for row in rows)
    assert set(cells) == {(True, True), (True, False), (False, True), (False, False)}
    assert all(3 <= count <= 20 for count in cells.values())


async def test_exemplars_never_contain_the_query(reason: Callable[..., Any], server: ProviderServer) -> None:
    asked = [{**line, "prompt": f"  {line['prompt'].upper()}"} for line in KNOWN]
    rows, *_ = await reason(*asked, fields="count: 1, few_shot: 1, shots: 7, direct: false, inverted: 0")
    for row in rows:
        own = facts(row)["answer"]
        assert len(facts(row)["exemplars"]) == 7
        assert f"known_{int(own) // 2}" not in facts(row)["exemplars"]
        assert len(re.findall(rf"double of {int(own) // 2}\?", row.prompt[0].content, re.IGNORECASE)) == 1
        assert row.prompt[0].content.count("The answer is") >= 7


async def test_the_separators_of_exemplars_are_drawn_for_each_row(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    rows, *_ = await reason(*sums(24), fields="count: 1, few_shot: 1, direct: false, inverted: 0")
    marks = Counter(
        next((mark for mark in ("---", "***", "=====") if f"\n{mark}\n" in row.prompt[0].content), "blank")
        for row in rows
    )
    assert len(marks) == 4


async def test_inverse_templates_are_present_in_the_stated_share(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: "The answer is 7."
    rows, *_ = await reason(*sums(60), fields="count: 1, few_shot: 0, direct: false, inverted: 0.3")
    inverted = form(rows, "inverted")
    assert 9 <= len(inverted) <= 30
    by_id = {line["answer"]: line["prompt"] for line in sums(60)}
    for row in inverted:
        assert row.answers[0].text == by_id[facts(row)["answer"]]
        assert row.answers[0].text not in row.prompt[0].content
        assert facts(row)["template"] != "invert_reasoning", "no rationale passed, so none may be shown"
    assert {facts(row)["template"] for row in inverted} == {"invert_quiz", "invert_exam", "invert_back"}


async def test_an_inverted_row_may_show_a_rationale_that_passed(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: f"Just add. The answer is {100 + number_in(body)}."
    rows, *_ = await reason(*sums(40), fields="count: 1, few_shot: 0, direct: false, inverted: 1")
    shown = [row for row in form(rows, "inverted") if facts(row)["template"] == "invert_reasoning"]
    assert shown
    assert all(f"The answer is {facts(row)['answer']}." in row.prompt[0].content for row in shown)


async def test_an_inverted_row_that_shows_a_rationale_names_the_call_that_it_came_of(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: f"Just add. The answer is {100 + number_in(body)}."
    rows, *_ = await reason(*sums(40), fields="count: 1, few_shot: 0, direct: false, inverted: 1")
    of = {row.root: row.answers[0].calls for row in form(rows, "reasoned")}
    for row in form(rows, "inverted"):
        assert row.calls == (of[row.root] if facts(row)["template"] == "invert_reasoning" else ())


async def test_no_rationale_that_saw_options_is_shown_to_who_writes_a_question_without_any(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    def answer(body: Body) -> str:
        number = int(re.findall(r"number (\d+)", prompt(body))[0])
        return f"I know. The answer is {CITIES[number % 4]}."

    server.answer = answer
    fields = "count: 1, few_shot: 0, direct: false, inverted: 1, show_options: {}"
    lines = [{**line, "rationale": "It is option (B)."} for line in capitals(24)]
    rows, *_ = await reason(*lines, fields=fields.format(1))
    assert all(j.value == 1.0 for row in form(rows, "reasoned") for j in row.judgments)
    assert "invert_reasoning" not in {facts(row)["template"] for row in form(rows, "inverted")}
    rows, *_ = await reason(*lines, fields=fields.format(0))
    assert "invert_reasoning" in {facts(row)["template"] for row in form(rows, "inverted")}


async def test_a_rationale_that_was_cut_off_is_not_shown(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: cut_off(f"The answer is {100 + number_in(body)}. And")
    rows, *_ = await reason(*sums(24), fields="count: 1, few_shot: 0, direct: false, inverted: 1")
    assert all(j.value == 1.0 for row in form(rows, "reasoned") for j in row.judgments)
    assert "invert_reasoning" not in {facts(row)["template"] for row in form(rows, "inverted")}


async def test_reasoned_and_direct_rows_of_one_question_are_in_the_same_split(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    rows, version, _ = await reason(*sums(12), fields="count: 1, few_shot: 0, inverted: 1")
    split = {line["id"].split(":")[0]: "test" for line in version.rows("sft", "test")}
    split |= {line["id"].split(":")[0]: "train" for line in version.rows("sft", "train")}
    of = defaultdict(set)
    for row in rows:
        of[row.root].add(split[row.id])
    assert len(of) == 12
    assert all(len(splits) == 1 for splits in of.values())
    assert {next(iter(splits)) for splits in of.values()} == {"train", "test"}


async def test_caps_are_exact_and_the_same_rows_whatever_order_they_come_in(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    lines = [{**line, "task": "odd" if number % 3 else "third"} for number, line in enumerate(sums(30))]
    fields = "count: 1, few_shot: 0, direct: false, inverted: 0, cap: 7"
    rows, _, watch = await reason(*lines, fields=fields)
    assert Counter(row.facts["task"] for row in rows) == {"odd": 7, "third": 7}
    assert len(server.bodies) == 14
    assert watch.accounts["chain_of_thought"].filtered == {"over_cap": 16}
    again, *_ = await reason(*reversed(lines), fields=fields)
    assert {row.facts["id"] for row in again} == {row.facts["id"] for row in rows}


async def test_a_question_of_an_evaluation_is_contamination_and_dropped(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    fields = "count: 1, few_shot: 0, direct: false, inverted: 0, held_out: known"
    rows, _, watch = await reason(*sums(2), {**KNOWN[3], "prompt": "what is the DOUBLE of 3"}, fields=fields)
    assert watch.accounts["chain_of_thought"].filtered == {"contaminated": 1}
    assert len(rows) == 2


LONG = "A train leaves at noon and another an hour later on the same track. When do they meet?"


@pytest.mark.parametrize(
    ("known", "text", "there"),
    [
        ("Why?", "why", True),
        ("Why?", "Tell me why the sky is blue.", False),
        ("What is the double of three?", "Say: what is the double of three?", False),
        ("How far is it from here to there?", "Say: how far is it from here to there?", True),
        ("How far is it from here to there?", "How far is it from here to Rome?", False),
        (LONG, f"Now. {LONG} Why?", True),
        (LONG, " ".join(LONG.split()[:13]), True),
        (LONG, " ".join(LONG.split()[:12]), False),
        ("?", "!", False),
    ],
)
def test_a_short_question_is_known_as_a_whole_and_a_long_one_by_13_words_in_a_row(
    known: str, text: str, there: bool
) -> None:
    several = Known()
    several.add(known)
    assert (text in several) is there


async def test_a_question_that_nobody_got_right_is_rationalised_with_a_hint_that_no_row_shows(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: (
        "Add 1 to 100. The answer is 101."
        if "the right answer is 101" in prompt(body)
        else "The answer is 5."
        if "much is 1 " in prompt(body)
        else "The answer is 100."
    )
    fields = "count: 2, few_shot: 0, direct: false, inverted: 0, rationalise: true"
    rows, version, _ = await reason(*sums(2), fields=fields)
    assert len(server.bodies) == 5, "the question that was got right is not asked again"
    hinted = [(row, j) for row in rows for j in row.judgments if j.aspect == "answer_after_hint"]
    assert [(row.answers[j.candidates[0]].text, j.value) for row, j in hinted] == [
        ("Add 1 to 100. The answer is 101.", 1.0)
    ]
    assert all(
        "the right answer is" not in str(line)
        for split in ("train", "test")
        for line in version.rows("sft", split)
    )


async def test_a_rationale_that_lets_slip_that_it_was_told_does_not_pass(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    server.answer = lambda body: (
        "As I was told, it is 101. The answer is 101." if "the right answer" in prompt(body) else "Hm."
    )
    fields = "count: 1, few_shot: 0, direct: false, inverted: 0, rationalise: true"
    (row,), *_ = await reason(*sums(2)[1:], fields=fields)
    assert [j.unreadable for j in row.judgments] == ["no_final_answer", "mentions_the_hint"]


@pytest.mark.parametrize(
    ("line", "reason_"),
    [
        ({"prompt": "Why?"}, "no_gold_answer"),
        ({"prompt": "Which?", "answer": "Oslo", "options": CITIES}, "unclear_gold_answer"),
        ({"prompt": "Which?", "answer": "Rome", "options": ["Rome", "rome"]}, "unclear_gold_answer"),
        ({"prompt": "Which?", "answer": "R", "options": "Rome"}, "unclear_gold_answer"),
        ({"prompt": "Which?", "answer": "B", "options": {"A": "Oslo", "B": "Rome"}}, "unclear_gold_answer"),
        ({"prompt": "Which?", "answer": ["Rome"], "options": CITIES}, "no_gold_answer"),
        (
            {
                "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}],
                "answer": "I",
            },
            "not_one_message",
        ),
    ],
)
async def test_a_question_without_one_clear_answer_is_dropped_for_a_reason(
    line: dict[str, Any], reason_: str, reason: Callable[..., Any], server: ProviderServer
) -> None:
    _, _, watch = await reason(line, *sums(1), fields="count: 1, few_shot: 0")
    assert watch.accounts["chain_of_thought"].filtered == {reason_: 1}
    assert len(server.bodies) == 1


async def test_equal_questions_ask_for_different_samples(
    reason: Callable[..., Any], server: ProviderServer
) -> None:
    fields = "count: 3, few_shot: 0, direct: false, inverted: 0"
    rows, *_ = await reason(*sums(1) * 2, fields=fields)
    assert len(rows) == 2
    assert len(server.bodies) == 6


def test_every_shipped_question_is_answered_right_by_its_own_rationale() -> None:
    shipped = questions.read(Path(questions.__file__).parents[1] / "seeds" / "questions.jsonl")
    assert len(shipped) >= 30
    for each in shipped:
        for shown in (each.shuffled("any"), each.without_options()) if each.options else (each,):
            stated = f"({shown.letter}) {shown.answer}" if shown.options else shown.answer
            assert questions.check(f"{each.rationale} The answer is {stated}.", shown) == (1.0, None), each.id


RIGHT = ["(B) Rome", "(B)", "Rome", "b", "B, Rome", "B - Rome", "B: Rome", "B (Rome)", "Rome (B)", "b) Rome"]
RIGHT += ["option b", "option B - Rome", "(B) the city of Rome", "B (not A)", "both B and b"]
WRONG = ["(A) Paris", "a", "A, Paris", "Paris (A)", "Oslo", "(E)", "(E) Oslo"]
TWO = ["(B) or (C)", "(B) and (C)", "B or C", "b, c", "B/C", "B. or C", "(B) or (E)", "(A) Rome", "A - Rome"]
TWO += ["Rome (A)", "(B) Rome or Paris"]
UNCLEAR = ["the city of Rome", "Paris or Rome", "not (B)", "not Paris", "surely B"]


@pytest.mark.parametrize(
    ("several", "verdict"),
    [
        (RIGHT, (1.0, None)),
        (WRONG, (0.0, None)),
        (TWO, (None, "names_two_options")),
        (UNCLEAR, (None, "unclear_final_answer")),
    ],
)
def test_an_answer_names_one_option_or_none_or_it_is_no_answer(
    several: list[str], verdict: tuple[float | None, str | None]
) -> None:
    asked = Question("Which city?", "Rome", CITIES)
    for said in several:
        assert questions.check(f"The answer is {said}.", asked) == verdict, said


def test_of_options_that_hold_one_another_the_longest_is_spoken_of() -> None:
    asked = Question("Which?", "New York", ("York", "New York", "1.5", "5"))
    assert questions.check("The answer is (B), which is New York City.", asked) == (1.0, None)
    assert questions.check("The answer is (A), which is New York City.", asked) == (None, "names_two_options")
    assert questions.check("The answer is 1.5.", asked) == (0.0, None)


def test_an_answer_that_holds_the_right_one_among_others_is_none() -> None:
    asked = Question("How many?", "18")
    assert questions.check("The answer is 18 or 19.", asked) == (None, "unclear_final_answer")
    assert questions.check("The answer is 19.", asked) == (0.0, None)


@pytest.mark.parametrize("form_", ["{}", "({})", "option {}", "({}) {}", "{} - {}", "{}, {}", "{} ({})"])
def test_every_letter_in_every_form_names_its_option_and_no_other(form_: str) -> None:
    for number, city in enumerate(CITIES):
        for letter in ("ABCD"[number], "abcd"[number]):
            assert questions.named_options(form_.format(letter, city), CITIES) == {number}
