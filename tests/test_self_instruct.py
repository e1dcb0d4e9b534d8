"""Self-instruct against a provider on this machine: what it asks, what it takes, what it drops."""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Make, ReadPipeline, WriteLines
from growing import kept_rows, saying
from hypothesis import given
from hypothesis import strategies as st
from provider_server import Fault, ProviderServer

from synth import assets, seeds
from synth.errors import ProviderError, UserError
from synth.instructions import UNFIT, Candidate, Form, Mode, listed, reason_unfit
from synth.rouge import f_measure, faithful_tokens, tokens
from synth.rows import Row

PIPELINE = """
name: grown
seed: 3
models:
  m: {{provider: compatible, model: made, base_url: "{url}/v1"{supports}}}
steps:
  - self_instruct: {{model: m, {keys}}}
dataset: {{views: [instructions]}}
"""
GOES_ON = Form(goes_on=True, cut_off=False, first=9)
CHATS = Form(goes_on=False, cut_off=False, first=9, end=16)
LIST = " Name three rivers.\n10. Explain tides\n  to a child.\n11) Sort 3.14 and 2.71."
SHOWN = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)

BOTH_MODES = pytest.mark.parametrize("mode", ["modern", "faithful"])

Grow = Callable[..., Any]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Every row that goes on, with its facts."""
    return kept_rows(monkeypatch)


@pytest.fixture
def grow(pipeline: ReadPipeline, make: Make, server: ProviderServer, rows: list[Row]) -> Grow:
    """Run self-instruct against the server: the rows, and the drops by reason."""

    async def grow_(keys: str, supports: str = "", **places: Path) -> tuple[list[Row], Mapping[str, int]]:
        rows.clear()
        text = PIPELINE.format(url=server.url, keys=keys, supports=supports and f", supports: {supports}")
        _, watch = await make(pipeline(text), **places)
        return list(rows), watch.accounts["self_instruct"].filtered

    return grow_


def numbered(items: Sequence[str]) -> str:
    """What goes on with a list of 8: the first item without its number."""
    return "\n".join([f" {items[0]}", *(f"{n}. {item}" for n, item in enumerate(items[1:], 10))])


def words(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def facts(row: Row) -> dict[str, Any]:
    known: dict[str, Any] = row.facts["self_instruct"]
    return known


def shown(body: dict[str, Any]) -> list[str]:
    """The instructions that a request shows, whose numbers must count from 1."""
    numbered = SHOWN.findall(body["prompt"])
    assert [int(number) for number, _ in numbered] == list(range(1, len(numbered) + 1))
    return [text for _, text in numbered]


def people() -> set[str]:
    tasks = seeds.read(assets.find("seeds", "general", Path.cwd()))
    return {" ".join(task.instruction.split()).rstrip(":") for task in tasks}


def texts(found: list[Candidate]) -> list[str]:
    return [candidate.instruction for candidate in found if candidate.reason is None]


# What is asked


@BOTH_MODES
async def test_the_first_request_holds_8_seeds_and_later_ones_6_and_2_of_the_models(
    grow: Grow, server: ProviderServer, mode: Mode
) -> None:
    grown, _ = await grow(f"count: 24, lag: 1, mode: {mode}")
    first, second, third = (shown(body) for body in server.bodies[:3])
    known = people()
    assert len(first) == 8
    assert set(first) <= known
    for later in (second, third):
        assert len(later) == 8
        assert sum(text in known for text in later) == 6
        assert {text for text in later if text not in known} <= {row.prompt[-1].content for row in grown}
    places = [
        place for body in server.bodies[1:] for place, text in enumerate(shown(body)) if text not in known
    ]
    assert len(set(places)) > 2, "the model's own always stand in the same places"
    assert all(body["prompt"].endswith("\n9.") for body in server.bodies)


@BOTH_MODES
async def test_a_request_carries_the_decoding_of_the_original(
    grow: Grow, server: ProviderServer, mode: Mode
) -> None:
    await grow(f"count: 3, mode: {mode}")
    for body in server.bodies:
        assert {name: body[name] for name in ("temperature", "top_p", "max_tokens", "stop")} == {
            "temperature": 0.7,
            "top_p": 0.5,
            "max_tokens": 1024,
            "stop": ["\n\n", "\n16", "16.", "16 ."],
        }
        assert body["presence_penalty"] == 2
        assert body["frequency_penalty"] == 0
    assert {entry.path for entry in server.log} == {"/v1/completions"}


async def test_a_model_that_only_chats_gets_no_stop_and_is_cut_where_the_list_would_have_ended(
    grow: Grow, server: ProviderServer
) -> None:
    items = [f"{number}. {word} one thing for the {word} reader" for number, word in enumerate("abcdefgh", 9)]
    server.answer = lambda body: "Sure, here they are:\n\n" + "\n".join(items) + "\n\nAnything else?"
    grown, _ = await grow("count: 4, lag: 1, max_similarity: 1.0", supports="[temperature, top_p, stop]")
    assert {entry.path for entry in server.log} == {"/v1/chat/completions"}
    assert "stop" not in server.bodies[0]
    assert "write 7 more tasks, numbered from 9" in server.bodies[0]["messages"][-1]["content"]
    assert [row.prompt[-1].content[0] for row in grown] == ["a", "b", "c", "d"]
    assert facts(grown[0])["origin"] == {
        "request": "chat",
        "ended_by": "numbered_line",
        "left_out": ["presence_penalty", "frequency_penalty"],
    }
    assert texts(listed("\n".join(items), CHATS, "modern"))[-1][0] == "g"


def test_bold_and_the_number_of_an_item_that_never_came_are_no_part_of_a_modern_one() -> None:
    said = "9. **Name a river.**\n**10. Name a lake.**\n11. **Title**: Name a sea.\n12. Name 3 of 5\n13."
    assert texts(listed(said, CHATS, "modern")) == [
        "Name a river.",
        "Name a lake.",
        "**Title**: Name a sea.",
        "Name 3 of 5",
    ]


async def test_a_completion_without_stop_sequences_is_cut_on_this_side(
    grow: Grow, server: ProviderServer
) -> None:
    server.answer = saying(" Name a river in Asia\n10. Tell me of the year 2016.\n16. Never look at this one")
    grown, _ = await grow("count: 2, lag: 1", supports="[complete]")
    assert [row.prompt[-1].content for row in grown] == ["Name a river in Asia", "Tell me of the year 2016."]
    assert facts(grown[0])["origin"]["request"] == "completion"
    assert facts(grown[0])["origin"]["ended_by"] == "numbered_line"


async def test_only_classifications_can_be_shown_and_asked_for(grow: Grow, server: ProviderServer) -> None:
    await grow("count: 2, lag: 1, classification_only: true, machine: 0")
    tasks = seeds.read(assets.find("seeds", "general", Path.cwd()))
    labelled = {task.instruction for task in tasks if task.is_classification}
    assert set(shown(server.bodies[0])) <= labelled
    assert "classification" in server.bodies[0]["prompt"].splitlines()[0]


async def test_self_instruct_grows_from_prompts_alone(grow: Grow, server: ProviderServer) -> None:
    await grow("count: 2, lag: 1, seeds: red_team, list_of: questions that test a model")
    prompts = {line["prompt"] for _, line in seeds.lines(assets.find("seeds", "red_team", Path.cwd()))}
    assert set(shown(server.bodies[0])) <= prompts
    assert server.bodies[0]["prompt"].startswith("Come up with a series of questions that test a model:")


def test_a_file_with_no_classification_cannot_show_only_those(pipeline: ReadPipeline) -> None:
    text = PIPELINE.format(url="http://x", supports="", keys="seeds: red_team, classification_only: true")
    with pytest.raises(UserError, match="none of the seed tasks of 'red_team' is a classification"):
        pipeline(text)


# What is taken


@BOTH_MODES
async def test_of_items_of_3_4_150_and_151_words_those_of_4_and_150_are_kept(
    grow: Grow, server: ProviderServer, mode: Mode
) -> None:
    items = [" ".join(words(letter, count)) for letter, count in (("a", 3), ("b", 151), ("c", 4), ("d", 150))]
    server.answer = saying(numbered(items))
    grown, dropped = await grow(f"count: 2, lag: 1, mode: {mode}")
    assert [len(row.prompt[-1].content.split()) for row in grown] == [4, 150]
    assert dropped == {"too_short": 1, "too_long": 1}


@BOTH_MODES
async def test_what_is_not_for_a_model_of_text_is_dropped_under_a_reason_of_its_own(
    grow: Grow, server: ProviderServer, mode: Mode
) -> None:
    reasons = {
        "Draw a black cat": "says_draw",
        "Write a program to sort": "write_a_program",
        "WRITE A PROGRAM to add": "write_a_program",
        "- do this task now": "starts_with_punctuation",
        "\u00c9tudier le texte suivant": "not_ascii",
        "Go to the shop today": "says_go_to",
        "Map the input to a colour": "says_map",
    }
    server.answer = saying(numbered([*reasons, "Drawing lessons for beginners"]))
    grown, dropped = await grow(f"count: 1, lag: 1, mode: {mode}")
    assert [row.prompt[-1].content for row in grown] == ["Drawing lessons for beginners"]
    assert dropped == Counter(reasons.values())


@pytest.mark.parametrize("word", UNFIT)
def test_every_unfit_word_has_a_reason_of_its_own(word: str) -> None:
    text = f"Please look at the {word.upper()} and say more"
    assert reason_unfit(text) == f"says_{word.replace(' ', '_')}"
    assert reason_unfit(text.replace(word.upper(), f"{word}ish")) is None


def test_other_scripts_can_be_let_in() -> None:
    assert reason_unfit("Étudier le texte suivant", ascii_only=False) is None
    assert reason_unfit("写 一首 关于 秋天 的 诗", ascii_only=False) is None


@BOTH_MODES
async def test_rouge_l_of_exactly_seven_tenths_is_kept_and_above_it_dropped(
    grow: Grow, server: ProviderServer, mode: Mode
) -> None:
    """7 of 10 is kept. 7 of 8 and 12 is 0.7 too, but a rounding above it as a float: dropped, as upstream."""
    base, other = words("a", 10), words("b", 8)
    near = [*base[:7], *words("x", 3)]
    rounded = [*other[:7], *words("y", 5)]
    nearer = [*base[:8], *words("z", 2)]
    again = near
    items = [" ".join(item) for item in (base, other, near, rounded, nearer, again, words("c", 5))]
    server.answer = saying(numbered(items))
    grown, dropped = await grow(f"count: 4, lag: 1, mode: {mode}")
    kept = [row.prompt[-1].content.lower() for row in grown]
    assert kept == [items[0], items[1], items[2], items[6]]
    assert dropped == {"too_similar": 3}, "the last of them is a duplicate in the same reply"
    assert facts(grown[2])["nearest"] == 0.7


async def test_the_modes_differ_where_the_original_has_a_flaw(grow: Grow, server: ProviderServer) -> None:
    said = " Explain what DNA does\n10) Tell me how RNA works"
    server.answer = saying(said)
    modern, _ = await grow("count: 2, lag: 1")
    assert [row.prompt[-1].content for row in modern] == ["Explain what DNA does", "Tell me how RNA works"]
    server.answer = saying(said)
    faithful, _ = await grow("count: 1, lag: 1, mode: faithful, temperature: 0.8")
    assert [row.prompt[-1].content for row in faithful] == ["Explain what dna does 10) tell me how rna works"]


async def test_faithful_rows_say_which_ten_are_most_similar_and_the_mean_against_the_whole_pool(
    grow: Grow, server: ProviderServer
) -> None:
    grown, _ = await grow("count: 8, lag: 1, mode: faithful")
    pool = [task.instruction for task in seeds.read(assets.find("seeds", "general", Path.cwd()))]
    people_count = len(pool)
    for row in grown:
        text = row.prompt[-1].content
        scores = [f_measure(faithful_tokens(text), faithful_tokens(other)) for other in pool]
        known = facts(row)
        listed_ = list(known["most_similar"].values())
        assert len(listed_) == 10
        assert listed_ == sorted(scores, reverse=True)[:10]
        places = np.argsort(scores)[-10:][::-1]
        assert list(known["most_similar"]) == [pool[place] for place in places], (
            "ties as the original has them"
        )
        assert known["avg_similarity_score"] == float(np.mean(scores))
        assert known["nearest"] == max(scores)
        assert known["nearest_seed"] == max(scores[:people_count])
        pool.append(text)


async def test_a_modern_row_says_how_near_the_nearest_seed_and_the_nearest_of_all_are(
    grow: Grow, server: ProviderServer
) -> None:
    grown, _ = await grow("count: 6, lag: 2, max_similarity: 0.9")
    pool = [tokens(task.instruction) for task in seeds.read(assets.find("seeds", "general", Path.cwd()))]
    people_count = len(pool)
    for row in grown:
        words = tokens(row.prompt[-1].content)
        scores = [f_measure(words, other) for other in pool]
        assert facts(row)["nearest_seed"] == max(scores[:people_count])
        assert facts(row)["nearest"] == max(scores)
        assert "most_similar" not in facts(row)
        pool.append(words)
    assert any(facts(row)["nearest"] > facts(row)["nearest_seed"] for row in grown)


async def test_a_faithful_completion_that_was_cut_off_is_dropped_whole_and_a_modern_ones_last_line_alone(
    grow: Grow, server: ProviderServer
) -> None:
    server.answer = saying(" Name a river in Asia\n10. Explain tides to a", finish="length")
    grown, dropped = await grow("count: 1, lag: 1, mode: faithful")
    assert dropped == {"cut_off": 1}
    assert "river" not in grown[0].prompt[-1].content
    assert facts(grown[0])["request"] == 1
    server.answer = saying(" Name a river in Asia\n10. Explain tides to a", finish="length")
    grown, dropped = await grow("count: 2, lag: 1, temperature: 0.8")
    assert dropped == {"cut_off": 1}
    assert grown[0].prompt[-1].content == "Name a river in Asia"
    assert not any("tides" in row.prompt[-1].content for row in grown)


async def test_a_reply_that_offers_nothing_is_counted(grow: Grow, server: ProviderServer) -> None:
    server.answer = lambda body: "I cannot help with that."
    with pytest.raises(
        Exception, match="no row reached the end of the pipeline: self_instruct: no_candidate 3"
    ):
        await grow("count: 3, lag: 1, give_up_after: 3", supports="[temperature]")


async def test_requests_go_on_under_their_numbers_after_a_run_that_broke_off(
    grow: Grow, server: ProviderServer, project: Path
) -> None:
    whole, _ = await grow("count: 30, lag: 3", into=project / "whole")
    asked = len(server.bodies)
    server.log.clear()

    class Revoked:
        left = 4

        def __call__(self, body: dict[str, Any]) -> Fault | None:
            self.left -= 1
            return Fault(status=401, code="invalid_api_key") if self.left < 0 else None

    server.fault = Revoked()
    with pytest.raises(ProviderError):
        await grow("count: 30, lag: 3", into=project / "broken")
    bought = sum(entry.status == 200 for entry in server.log)
    assert 0 < bought < asked
    server.fault = None
    server.log.clear()
    resumed, _ = await grow("count: 30, lag: 3", into=project / "broken")
    assert len(server.bodies) == asked - bought, "nothing is asked twice, and nothing is left out"
    assert [row.id for row in resumed] == [row.id for row in whole]
    assert [row.prompt for row in resumed] == [row.prompt for row in whole]
    numbers = [facts(row)["request"] for row in resumed]
    assert numbers == [facts(row)["request"] for row in whole]
    assert sorted(set(numbers)) == list(range(max(numbers) + 1))


# Seed tasks


def test_all_175_seed_tasks_load() -> None:
    """Ours: 25 are classifications and 57 have an empty input. The original's own file has 26 and 50."""
    tasks = seeds.read(assets.find("seeds", "general", Path.cwd()))
    empty = sum(not input_ for task in tasks for input_, _ in task.instances)
    assert (len(tasks), sum(task.is_classification for task in tasks), empty) == (175, 25, 57)


@pytest.mark.skipif("SELF_INSTRUCT_SEEDS" not in os.environ, reason="name the original's seed_tasks.jsonl")
def test_the_seed_tasks_of_the_original_load_too() -> None:
    tasks = seeds.read(Path(os.environ["SELF_INSTRUCT_SEEDS"]))
    empty = sum(not input_ for task in tasks for input_, _ in task.instances)
    assert (len(tasks), sum(task.is_classification for task in tasks), empty) == (175, 26, 50)


def test_a_file_of_prompts_is_told_of_its_mistakes_by_line(write_lines: WriteLines) -> None:
    path = write_lines("mine.jsonl", {"prompt": "Hello there"}, {"promt": "x"}, {"prompt": " "})
    with pytest.raises(UserError) as caught:
        seeds.read_instructions(path)
    assert [problem.line for problem in caught.value.problems] == [2, 3]


# A reply in parts


def test_a_completion_begins_with_an_instruction() -> None:
    assert texts(listed(LIST, GOES_ON, "modern")) == [
        "Name three rivers.",
        "Explain tides to a child.",
        "Sort 3.14 and 2.71.",
    ]


def test_the_preamble_and_the_last_words_of_a_chat_are_no_instructions() -> None:
    chat = "Sure! Here are seven more tasks:\n\n9. Name a river.\n**10.** Explain tides.\n\nAnything else?"
    assert texts(listed(chat, CHATS, "modern")) == ["Name a river.", "Explain tides."]
    assert listed("I cannot help with that.", CHATS, "modern") == []


def test_a_number_inside_a_text_begins_no_instruction() -> None:
    found = listed(" Round\n3.14 to one digit.", GOES_ON, "modern")
    assert texts(found) == ["Round 3.14 to one digit."]


def test_an_empty_item_is_counted_as_one() -> None:
    found = listed("\n10. Name a river.\n11. \n12. Explain tides.", GOES_ON, "modern")
    assert [candidate.reason for candidate in found] == ["empty", None, "empty", None]


def test_a_list_that_was_ended_on_this_side_loses_no_item_to_a_cut() -> None:
    form = Form(goes_on=True, cut_off=True, first=9, end=11)
    assert texts(listed(" One river\n10. Two seas\n11. Three", form, "modern")) == ["One river", "Two seas"]


@given(st.text(), st.booleans(), st.booleans(), st.sampled_from(["modern", "faithful"]))
def test_any_text_is_read_without_an_error_and_its_white_space_is_collapsed(
    text: str, goes_on: bool, cut_off: bool, mode: Mode
) -> None:
    found = listed(text, Form(goes_on, cut_off, 9, None if goes_on else 16), mode)
    for candidate in found:
        assert candidate.reason or candidate.instruction == " ".join(candidate.instruction.split()) != ""
    assert found or not goes_on


@pytest.mark.parametrize("mode", ["modern", "faithful"])
def test_a_number_of_thousands_of_digits_ends_no_run(mode: Mode) -> None:
    found = listed(
        f" Name a river now\n{'1' * 5000}. Explain tides to a child", Form(True, False, 9, 16), mode
    )
    assert "Name a river now" in found[0].instruction


@pytest.mark.parametrize("mode", ["modern", "faithful"])
def test_a_reply_that_ran_past_the_end_of_its_list_is_not_lost_for_being_cut_off(mode: Mode) -> None:
    text = " Name a river now" + "".join(f"\n{n}. Explain tide number {n}" for n in range(10, 19))
    found = listed(text, Form(goes_on=True, cut_off=True, first=9, end=16), mode)
    assert len(found) == 7
    assert all(candidate.reason is None for candidate in found)
