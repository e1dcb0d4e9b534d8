"""LIMA's rules: what may pass, what is taken, and that every row left behind has its reason."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import Make, ReadPipeline, WriteLines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.errors import UserError
from synth.filters.answer_style import AnswerStyle
from synth.filters.clean_html import cleaned
from synth.filters.curate import Curate, drawn
from synth.journal import Journal
from synth.models.invented import instruction
from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.step import Bench
from synth.store.version import Version

LIMA = """
name: lima
seed: {seed}
models: {{m: {{provider: scripted}}}}
steps:
  - jsonl: {{path: posts, column: title}}
  - clean_html: {{columns: [body, answer], article_is_answer: true}}
  - title_or_description: {{answer: answer}}
  - answer_style: {{least: 20, most: 200}}
  - curate: {curate}
dataset: {{views: [conversations]}}
"""


def lima(curate: str, seed: int = 7) -> str:
    return LIMA.format(curate=curate, seed=seed)


def post(number: int, source: str = "stem", **columns: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "title": instruction(f"{source}{number}"),
        "answer": f"<p>The answer to <b>question</b> {number} of {source}.</p>",
        "source": source,
        "exchange": "physics",
        "score": number,
        "license": "cc-by-sa-4.0",
    }
    return usual | columns


def step(version: Version, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in version.manifest["steps"] if each["id"] == name)
    return found


def taken(version: Version) -> list[dict[str, Any]]:
    """What is known of the rows that were taken, in the order of taking."""
    facts = [orjson.loads(line["facts"]) for line in version.rows("conversations")]
    return sorted(facts, key=lambda known: known["curate"]["place"])


def dropped(version: Version, name: str) -> Counter[str]:
    lines = pq.read_table(version.path / ".synth" / "dropped.parquet").to_pylist()
    return Counter(line["reason"] for line in lines if line["step"] == name)


# Quotas


async def test_quotas_are_met_exactly(pipeline: ReadPipeline, make: Make, write_lines: WriteLines) -> None:
    write_lines("posts.jsonl", *(post(n, source) for n in range(9) for source in ("stem", "other", "blog")))
    version, _ = await make(pipeline(lima("{count: 9, quotas: {stem: 5, other: 4}, score: score}")))
    assert Counter(known["source"] for known in taken(version)) == {"stem": 5, "other": 4}
    assert step(version, "curate")["note"].startswith("9 of 9;")
    assert "short" not in step(version, "curate")["note"]
    assert dropped(version, "curate") == {"over_quota": 9, "source_without_quota": 9}


async def test_a_shortage_is_said_by_source(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines("posts.jsonl", *(post(n) for n in range(9)), *(post(n, "other") for n in range(3)))
    curate = "{count: 20, quotas: {stem: 5, other: 10, wiki: 5}, score: score}"
    version, _ = await make(pipeline(lima(curate)))
    assert step(version, "curate")["note"].startswith("8 of 20; short of: other 7 of 10, wiki 5 of 5;")


def test_quotas_that_miss_the_count_are_a_mistake_in_the_file(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    write_lines("posts.jsonl", post(1))
    with pytest.raises(UserError, match="add up to count, 10; they come to 9"):
        pipeline(lima("{count: 10, quotas: {stem: 5, other: 4}}"))
    with pytest.raises(UserError, match="not from both"):
        pipeline(lima("{judge: rate, score: score}"))
    with pytest.raises(UserError, match="name a judge or a score"):
        pipeline(lima("{least_score: 10}"))


# What may pass: length, the first person, other answers


def answered(text: str) -> Row:
    return sourced([Message("user", "Why?")], 0).answered(Answer(text))


@pytest.mark.parametrize(
    ("length", "reason"), [(1199, "too_short"), (1200, None), (4096, None), (4097, "too_long")]
)
def test_1200_to_4096_characters_are_in(length: int, reason: str | None) -> None:
    assert AnswerStyle().reason_to_drop(answered("x" * length)) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I think that it boils.", "first_person"),
        ("Well, I'm sure.", "first_person"),
        ("It broke my kettle.", "first_person"),
        ("My kettle broke.", "first_person"),
        ("Iodine is a halogen, and Myrtle a shrub.", None),
        ("Use I/O in a type-I loop over /my/path.", None),
        ("Write `my $x` or\n```\nmy $y = I;\n```\nand run it.", None),
        ("As mentioned above, it boils.", "refers_to_others"),
        ("As others have noted, see Stack Exchange.", "refers_to_others"),
        ("The accepted answer is wrong.", "refers_to_others"),
        ("Ann's answer has more.", "refers_to_others"),
        ("The answer is that water boils.", None),
    ],
)
def test_the_first_person_and_other_answers_are_out_by_the_whole_word(text: str, reason: str | None) -> None:
    assert AnswerStyle(least=0).reason_to_drop(answered(text)) == reason
    assert AnswerStyle(least=0, first_person=True, other_answers=True).reason_to_drop(answered(text)) is None


# HTML

POST = """<h2>Why</h2><p>See <a href="https://x.example/y">the <em>docs</em></a>
<img src="a.png" alt="a graph">, a_b &lt; c*d.</p>
<pre class="lang-py"><code>def f(x):
    return x &lt; 2
</code></pre>
<ul><li>one</li><li>two<ol><li>inner</li></ol></li></ul>
<table><tr><td>left</td><td>right</td></tr></table><script>alert(1)</script>"""


def test_html_goes_and_code_blocks_and_lists_stay() -> None:
    text = cleaned(POST)
    assert "```\ndef f(x):\n    return x < 2\n```" in text
    assert "- one\n- two\n  1. inner" in text
    assert "the docs" in text
    assert "a_b < c*d" in text
    assert "Why\n\nSee" in text
    assert "left right" in text
    for gone in ("http", "a graph", "alert", "lang-py", "<p", "<h2", "href", "&lt;"):
        assert gone not in text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("About 10<sup>6</sup> m, or x<sup>2</sup> of them.", "About 10⁶ m, or x² of them."),
        ("10<sup>-3</sup> and H<sub>2</sub>O", "10⁻³ and H₂O"),
        ("x<sup>a + b</sup>, x<sub>i</sub>", "x^(a + b), x_i"),
        ("e<sup>x<sup>2</sup></sup>", "e^(x²)"),
        ("the 21<sup>st</sup> of May", "the 21st of May"),
        ("It is so.<sup>[3]</sup>", "It is so.[3]"),
        ("<pre><code>n<sup>2</sup></code></pre>", "```\nn²\n```"),
        ("a<sup> </sup>b", "a b"),
    ],
)
def test_what_stands_above_or_below_the_line_does_not_come_down_to_it(html: str, text: str) -> None:
    assert cleaned(html) == text


async def test_only_what_says_this_article_is_said_otherwise(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    said = "<p>This article is on grammar. The article precedes a noun.</p>"
    write_lines("posts.jsonl", post(1, answer=said))
    version, _ = await make(pipeline(lima("{count: 1}")))
    [line] = version.rows("conversations")
    expected = "The following answer is on grammar. The article precedes a noun."
    assert line["messages"][-1]["content"] == expected


async def test_a_row_is_cleaned_before_its_rules_are_asked(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    long = f"<p>This article says <code>x</code>.{' ' * 5}{'<b></b>' * 60}</p>"
    write_lines("posts.jsonl", post(1, answer=long), post(2, answer="<img src='a'>"))
    version, _ = await make(pipeline(lima("{count: 2}")))
    assert [line["messages"][-1]["content"] for line in version.rows("conversations")] == [
        "The following answer says `x`."
    ]
    assert dropped(version, "title_or_description") == {"no_answer": 1}


# By title or by description


async def test_title_or_description_is_chosen_by_the_seed(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, project: Path
) -> None:
    posts = [post(n, body=f"<p>Described at length: {instruction(f'body{n}')}</p>") for n in range(24)]
    write_lines("posts.jsonl", *posts, post(99))

    async def asked(seed: int, into: str) -> dict[str, str]:
        version, _ = await make(pipeline(lima("{count: 25}", seed)), into=project / into)
        found = {}
        for line in version.rows("conversations"):
            known = orjson.loads(line["facts"])["title_or_description"]
            described = line["messages"][0]["content"].startswith("Described at length")
            assert (known["asked_by"] == "description") == described
            found[known["title"]] = known["asked_by"]
        return found

    first = await asked(7, "a")
    assert len(first) == 25
    assert 6 <= Counter(first.values())["description"] <= 18
    assert first[post(99)["title"]] == "title"  # type: ignore[index]
    assert await asked(7, "b") == first
    assert await asked(8, "c") != first


# Temperature over categories


def test_categories_are_drawn_with_temperature_3() -> None:
    weights = {name: size ** (1 / 3) for name, size in {"big": 1000, "small": 8, "tiny": 1}.items()}
    counts = Counter(drawn(weights, f"draw {number}") for number in range(6000))
    assert {name: counts[name] / 6000 for name in weights} == pytest.approx(
        {"big": 10 / 13, "small": 2 / 13, "tiny": 1 / 13}, abs=0.015
    )


def test_a_category_that_goes_out_changes_no_other_draw() -> None:
    weights = {"big": 3.0, "small": 2.0, "tiny": 1.0}
    for number in range(200):
        before = drawn(weights, f"draw {number}")
        if before != "tiny":
            assert drawn({"big": 3.0, "small": 2.0}, f"draw {number}") == before


@pytest.mark.parametrize(("temperature", "least", "most"), [(3, 1, 6), (0.1, 0, 0), (1000, 4, 8)])
def test_a_small_exchange_counts_for_more_than_its_size_and_its_best_come_first(
    tmp_path: Path, temperature: float, least: int, most: int
) -> None:
    rows = [scored(n, "stem", "physics" if n < 216 else "chess", n) for n in range(224)]
    fields = {"count": 12, "category": "topic", "score": "score", "max_similarity": 1.0}
    kept, _ = curated(tmp_path, rows, temperature=temperature, **fields)
    scores = {
        topic: sorted((row.facts["score"] for row in kept if row.facts["topic"] == topic), reverse=True)
        for topic in ("physics", "chess")
    }
    assert least <= len(scores["chess"]) <= most, "of 12, at 3 expected: 3, at 1000: a half, as far as 8 go"
    assert scores["physics"] == list(range(215, 215 - len(scores["physics"]), -1))
    assert scores["chess"] == list(range(223, 223 - len(scores["chess"]), -1))


# How different the rows are


async def test_the_note_says_how_different_the_rows_are(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    titles = ["Why is the sea so salt?", "Why is the sky so blue?", "Name five rivers."]
    write_lines(
        "posts.jsonl",
        *(post(n, title=title, exchange=title[:4]) for n, title in enumerate(titles)),
    )
    version, _ = await make(pipeline(lima("{count: 3, category: exchange}")))
    note = step(version, "curate")["note"]
    assert note == "3 of 3; 2 categories; ROUGE-L to the nearest: median 0.00, highest 0.67"


# Near-duplicates


async def test_near_duplicates_of_the_test_set_and_of_each_other_are_out(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    write_lines(
        "held.jsonl",
        {"prompt": "Explain how a tide comes about."},
        {"prompt": [{"role": "user", "content": "Write a poem on rust."}]},
        {"instruction": "Sort these numbers by size."},
    )
    titles = [
        "Explain how a tide comes about!",
        "Write a poem on rust, now.",
        "Sort these numbers by size please.",
        "Why do cats purr at night?",
        "Why do cats purr at night, then?",
        "What is a comet made of?",
    ]
    write_lines("posts.jsonl", *(post(9 - n, title=title) for n, title in enumerate(titles)))
    version, _ = await make(pipeline(lima("{count: 6, held_out: held, score: score}")))
    assert [known["title_or_description"]["title"] for known in taken(version)] == [titles[3], titles[5]]
    assert dropped(version, "curate") == {"near_held_out": 3, "near_duplicate": 1}
    lines = pq.read_table(version.path / ".synth" / "dropped.parquet").to_pylist()
    [twins] = [line["text"] for line in lines if line["reason"] == "near_duplicate"]
    assert twins == f"{titles[4]}\n---\n{titles[3]}"


def test_a_held_out_file_without_prompts_is_a_mistake_with_its_line(
    pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    write_lines("posts.jsonl", post(1))
    write_lines("held.jsonl", {"prompt": "Fine."}, {"question": "Not so."})
    with pytest.raises(UserError, match=r"held\.jsonl:2"):
        pipeline(lima("{held_out: held}"))


# Where a row is from, and why the others are gone


async def test_every_taken_row_keeps_where_it_is_from_and_every_other_has_a_reason(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    odd = [post(3), post(50, score="high"), post(51, score=None), post(52, score=2)]
    odd[0].pop("license")
    write_lines("posts.jsonl", *(post(n) for n in range(10, 30)), *odd)
    version, _ = await make(pipeline(lima("{count: 5, score: score, least_score: 3, category: exchange}")))
    for place, known in enumerate(taken(version), start=1):
        assert known["curate"] == {
            "source": "stem",
            "category": "physics",
            "score": 30 - place,
            "licence": "cc-by-sa-4.0",
            "place": place,
            "nearest": known["curate"]["nearest"],
        }
    account = step(version, "curate")
    assert dropped(version, "curate") == {"over_quota": 16, "no_score": 2, "low_score": 1}
    assert account["rows"] == account["continued"] + sum(account["filtered"].values()) == 24


def test_a_judged_row_is_worth_the_mean_of_what_was_said_of_its_last_answer(tmp_path: Path) -> None:
    def said(value: float | None, answer: int = 1, step: str = "rate") -> Judgment:
        unread = "no_score" if value is None else None
        return Judgment(step, "score", (answer,), (answer,), value, unread, bounds=(1.0, 10.0))

    def judged(number: int, *judgments: Judgment) -> Row:
        return scored(number, "stem", "x", 0).answered(Answer("Said again.")).judged(*judgments)

    rows = [
        judged(0, said(4.0), said(7.0), said(None), said(9.0, answer=0), said(9.0, step="other")),
        judged(1, said(6.0)),
        judged(2, said(None)),
        judged(3, said(8.0, answer=0)),
        judged(4),
    ]
    kept, reasons = curated(tmp_path, rows, count=5, judge="rate")
    by_place = sorted(kept, key=lambda row: row.facts["curate"]["place"])
    assert [row.id for row in by_place] == [rows[1].id, rows[0].id]
    assert [row.facts["curate"]["score"] for row in by_place] == [6.0, 5.5]
    assert reasons == {"no_score": 3}


# A law


def scored(number: int, source: str, category: str, score: int) -> Row:
    facts = {"source": source, "topic": category, "score": score}
    return sourced([Message("user", instruction(str(number)))], 0, facts).answered(Answer("Said."))


def curated(folder: Path, rows: list[Row], **fields: Any) -> tuple[list[Row], Mapping[str, int]]:
    """What `Curate` takes of `rows`, and why it drops the others."""

    async def stream() -> AsyncGenerator[Row]:
        for row in rows:
            yield row

    async def run() -> list[Row]:
        return [row async for row in Curate(id="curate", **fields).run(stream(), bench)]

    bench = Bench("curate", {}, Journal(folder / "fates.sqlite"), folder)
    bench.journal.open("curate", made=False)
    try:
        return asyncio.run(run()), bench.journal.accounts["curate"].filtered
    finally:
        bench.journal.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz"), st.integers(0, 5)), max_size=30),
    st.integers(1, 8),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_a_quota_is_filled_as_far_as_there_are_rows_whatever_their_order(
    tmp_path: Path, kinds: list[tuple[str, str, int]], a: int, b: int, dice: random.Random
) -> None:
    rows = [scored(number, *kind) for number, kind in enumerate(kinds)]
    fields = {
        "count": a + b,
        "quotas": {"A": a, "B": b},
        "category": "topic",
        "score": "score",
        "max_similarity": 1.0,
    }
    kept, reasons = curated(tmp_path, rows, **fields)
    there = Counter(source for source, _, _ in kinds)
    assert Counter(row.facts["curate"]["source"] for row in kept) == Counter(
        {"A": min(a, there["A"]), "B": min(b, there["B"])}
    )
    assert len(kept) + sum(reasons.values()) == len(rows)
    assert reasons.get("source_without_quota", 0) == there["C"]
    shuffled = dice.sample(rows, len(rows))
    assert curated(tmp_path, shuffled, **fields)[0] == kept


# What is shipped


async def test_the_shipped_posts_show_the_rules(pipeline: ReadPipeline, make: Make) -> None:
    shipped = (Path(__file__).parents[1] / "pipelines" / "lima.yaml").read_text(encoding="utf-8")
    read = pipeline(shipped.replace("{provider: local, model: smollm2-135m}", "{provider: scripted}"))
    version, _ = await make(read, limit=8)
    assert dropped(version, "answer_style") == {"first_person": 1}
    assert dropped(version, "posts") == {"near_duplicate": 1}
    assert step(version, "posts")["note"].startswith(
        "6 of 750; short of: science 397 of 400, how_to 347 of 350; 6 "
    )
    assert step(version, "answers")["note"].startswith("8 of 250; ROUGE-L")
