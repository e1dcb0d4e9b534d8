"""Dialogues: whose turn it is, how they end, who saw what; and answers compared at one turn of them."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines
from hypothesis import given
from hypothesis import strategies as st
from provider_server import ProviderServer

from synth import prompts
from synth.errors import BadRequest, Filtered, UserError
from synth.methods.converse import END, flips_role, only_thanks, why_over, words
from synth.methods.resample_turn import ResampleTurn
from synth.models.base import Reply, Request
from synth.rows import Answer, Message, Role, Row, digest, sourced
from synth.step import Bench
from synth.store.version import Version
from synth.store.views import LeftOut
from synth.store.views.conversations import Conversations

DIALOGUE = """
name: dialogue
models:
  assistant: {{provider: {provider}, model: helper{url}}}
  person: {{provider: {provider}, model: person{url}}}
  judge: {{provider: {provider}, model: judge{url}}}
steps:
  - jsonl: {{path: openings}}
  - converse: {{model: assistant, user_model: person, turns: 3{keys}}}
{more}dataset: {{views: [{views}]}}
"""
RESAMPLED = """
  - resample_turn: {model: assistant, count: 2}
  - judge_pairs: {model: judge, pairs: all, both_orders: false}
"""


def dialogue(keys: str = "", server: ProviderServer | None = None, more: str = "", views: str = "") -> str:
    return DIALOGUE.format(
        provider="compatible" if server else "scripted",
        url=f", base_url: '{server.url}/v1'" if server else "",
        keys=f", {keys}" if keys else "",
        more=more,
        views=views or "conversations",
    )


@pytest.fixture
def openings(write_lines: WriteLines) -> list[str]:
    """Four opening lines in openings.jsonl."""
    lines = [f"How does thing {number} work?" for number in range(4)]
    write_lines("openings.jsonl", *({"prompt": line} for line in lines))
    return lines


def filtered(version: Version, step: str = "converse") -> dict[str, int]:
    found: dict[str, int] = next(each for each in version.manifest["steps"] if each["id"] == step)["filtered"]
    return found


def played(*turns: str) -> Any:
    """A person that says `turns` one after the other, and an assistant that answers them; by the request."""

    def answer(request: Request) -> str:
        if request.model != "person":
            return f"Answer to: {request.messages[-1].content}"
        said = sum(message.role == "assistant" for message in request.messages)
        return turns[said - 1]

    return answer


# Turns


async def test_roles_alternate_begin_with_the_user_and_end_with_the_assistant(
    pipeline: ReadPipeline, make: Make, openings: list[str], server: ProviderServer
) -> None:
    version, _ = await make(pipeline(dialogue(server=server)))
    lines = list(version.rows("conversations"))
    assert sorted(line["messages"][0]["content"] for line in lines) == openings
    for line in lines:
        assert [message["role"] for message in line["messages"]] == ["user", "assistant"] * 3
        assert line["turns"] == 3
    for body in server.bodies:
        roles = [message["role"] for message in body["messages"] if message["role"] != "system"]
        assert roles == [("user", "assistant")[place % 2] for place in range(len(roles))]
        assert roles[-1] == "user"


async def test_each_side_hears_the_other_and_the_whole_dialogue(
    pipeline: ReadPipeline, make: Make, openings: list[str], server: ProviderServer
) -> None:
    version, _ = await make(pipeline(dialogue(server=server)))
    heard = {
        model: [
            [message["content"] for message in body["messages"]]
            for body in server.bodies
            if body["model"] == model
        ]
        for model in ("helper", "person")
    }
    for line in version.rows("conversations"):
        texts = [message["content"] for message in line["messages"]]
        assert all(texts[:end] in heard["helper"] for end in (1, 3, 5))
        assert all(texts[:end] in [said[2:] for said in heard["person"]] for end in (2, 4))


async def test_the_costs_are_two_calls_a_turn_and_one_for_the_first(
    pipeline: ReadPipeline, make: Make, openings: list[str], server: ProviderServer
) -> None:
    read = pipeline(dialogue(server=server))
    await make(read)
    assert Counter(body["model"] for body in server.bodies) == {"helper": 4 * 3, "person": 4 * 2}
    assert read.steps[1].calls(4) == len(server.bodies)


async def test_the_person_never_sees_what_the_assistant_was_told(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, server: ProviderServer
) -> None:
    opening = [
        {"role": "system", "content": "SECRET of the row"},
        {"role": "user", "content": "Hello there."},
    ]
    write_lines("openings.jsonl", {"prompt": opening})
    version, _ = await make(pipeline(dialogue("system: SECRET of the pipeline", server=server)))
    for body in server.bodies:
        told = orjson.dumps(body).decode()
        assert (
            ("SECRET of the row" in told) == ("SECRET of the pipeline" in told) == (body["model"] == "helper")
        )
    [line] = version.rows("conversations")
    texts = [message["content"] for message in line["messages"]]
    assert texts[0] == "SECRET of the row", "a system turn that was in the row is kept"
    assert "SECRET of the pipeline" not in texts


async def test_who_played_and_by_what_instructions_is_kept(
    pipeline: ReadPipeline, make: Make, openings: list[str]
) -> None:
    version, _ = await make(pipeline(dialogue("system: Be brief.")))
    rules = prompts.load("converse/user.md").fill(end=END)
    begin = prompts.load("converse/begin.md").fill()
    for line in version.rows("conversations"):
        assert orjson.loads(line["facts"])["converse"] == {
            "model": "assistant",
            "system": digest("Be brief."),
            "user_model": "person",
            "user_system": digest(rules, begin),
            "first_turn": 1,
            "first_call": 0,
            "turns": 3,
            "ended": "most_turns",
        }
    lineage = pq.read_table(version.path / ".synth" / "lineage.parquet").to_pylist()
    parts = Counter((line["row"], line["part"]) for line in lineage)
    assert set(parts.values()) == {4, 1}, "four calls behind the prompt, one behind the answer"


async def test_the_row_keeps_its_id_and_the_last_turn_is_its_answer(
    pipeline: ReadPipeline, make: Make, openings: list[str]
) -> None:
    version, _ = await make(pipeline(dialogue(views="conversations, sft")))
    wholes = {line["id"]: line["messages"] for line in version.rows("conversations")}
    assert set(wholes) == {sourced([Message("user", opening)], 0).id for opening in openings}
    for line in version.rows("sft"):
        assert line["prompt"] + line["completion"] == wholes[line["id"].split(":")[0]]


# How it ends


@pytest.mark.parametrize(
    ("turn", "ended"),
    [
        (END, "user_ended"),
        (f"Thanks! {END}", "user_ended"),
        ("Thank you so much, that was really helpful!", "user_only_thanked"),
        ("Goodbye! Have a great day.", "user_only_thanked"),
        ("As an AI language model, I have no kettle.", "user_flipped_role"),
        ("And then?\nAssistant: Then it boils.", "user_flipped_role"),
        ("  ", "user_silent"),
        ("User: why does IT boil?", "user_repeated"),
    ],
)
async def test_a_turn_that_is_none_ends_the_dialogue_before_it(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, asked: Asked, turn: str, ended: str
) -> None:
    write_lines("openings.jsonl", {"prompt": "Why does it boil?"})
    asked.answers = played("And at what heat?", turn, "Never said.")
    version, _ = await make(pipeline(dialogue()))
    [line] = version.rows("conversations")
    assert [message["content"] for message in line["messages"]] == [
        "Why does it boil?",
        "Answer to: Why does it boil?",
        "And at what heat?",
        "Answer to: And at what heat?",
    ]
    known = orjson.loads(line["facts"])["converse"]
    assert (known["ended"], known["turns"]) == (ended, 2)
    assert len(asked.requests) == 4


async def test_a_dialogue_that_is_too_short_is_dropped_for_what_ended_it(
    pipeline: ReadPipeline, make: Make, openings: list[str], asked: Asked
) -> None:
    usual = played("And then?", "And why?")
    flipped, ended = openings[:2]

    def answer(request: Request) -> str:
        said = str(usual(request))
        texts = [message.content for message in request.messages]
        if request.model == "person" and "And then?" in texts:
            return "I'm just an AI." if flipped in texts else END if ended in texts else said
        return said

    asked.answers = answer
    version, _ = await make(pipeline(dialogue("least_turns: 3")))
    assert filtered(version) == {"user_flipped_role": 1, "user_ended": 1}
    assert [line["turns"] for line in version.rows("conversations")] == [3, 3]


async def test_no_dialogue_has_a_turn_that_was_cut_off(
    pipeline: ReadPipeline, make: Make, openings: list[str], asked: Asked
) -> None:
    usual = played("And then?", "And why?")

    def answer(request: Request) -> str | Reply:
        last, said = request.messages[-1].content, str(usual(request))
        if last == openings[0] or (request.model == "person" and openings[1] in last):
            return Reply(said, finish="length")
        return Reply("", finish="stop") if last == "And why?" else said

    asked.answers = answer
    version, _ = await make(pipeline(dialogue()))
    assert filtered(version) == {"assistant_cut_off": 1}
    known = [orjson.loads(line["facts"])["converse"] for line in version.rows("conversations")]
    assert Counter((each["ended"], each["turns"]) for each in known) == {
        ("user_cut_off", 1): 1,
        ("assistant_silent", 2): 2,
    }


async def test_a_call_that_fails_in_the_middle_costs_one_dialogue(
    pipeline: ReadPipeline, make: Make, openings: list[str], asked: Asked
) -> None:
    usual = played("And then?", "And why?")
    asked.answers = lambda request: (
        BadRequest("too long")
        if openings[2] in [message.content for message in request.messages[:3]] and len(request.messages) > 4
        else usual(request)
    )
    version, watch = await make(pipeline(dialogue()))
    assert len(list(version.rows("conversations"))) == 3
    assert watch.accounts["converse"].failed == {"BadRequest": 1}


async def test_a_row_with_an_answer_or_without_a_users_turn_is_dropped(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    spoken = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    write_lines("openings.jsonl", {"prompt": spoken}, {"prompt": "Why?"})
    version, _ = await make(pipeline(dialogue()))
    assert filtered(version) == {"no_user_turn": 1}
    write_lines("openings.jsonl", {"prompt": "Why?"})
    again = "  - converse: {id: again, model: assistant, user_model: person}\n"
    with pytest.raises(Exception, match="has_an_answer"):
        await make(pipeline(dialogue(more=again)))


def test_more_turns_wanted_than_there_may_be_is_a_mistake(
    pipeline: ReadPipeline, openings: list[str]
) -> None:
    with pytest.raises(UserError, match="least_turns: expected at most turns, 3, found 4"):
        pipeline(dialogue("least_turns: 4"))


@pytest.mark.parametrize(
    ("text", "flips"),
    [
        ("As an AI, I cannot feel.", True),
        ("As an AI…", True),
        ("as a large language model, it is not my place", True),
        ("I am an AI assistant.", True),
        ("How can I help you today?", True),
        ("**Assistant:** Sure!", True),
        ("As an AI, do you dream?", False),
        ("I am an AI engineer. As an AI researcher, what should I read?", False),
        ("Write a dialogue with an assistant: short, please.", False),
        ("Hello! How can I help you today?", True),
        ("Sure, how may I assist you?", True),
        ("If you have any other questions, feel free to ask!", True),
        ("Write a greeting for my shop: how can I help you today", False),
        ('Make it warmer than "How can I help you?"', False),
        ("Add a line that says: feel free to ask.", False),
    ],
)
def test_a_person_may_speak_of_an_ai_but_not_as_one(text: str, flips: bool) -> None:
    assert flips_role(text) == flips


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("Thanks!", True),
        ("Thanks, that's all I need for now.", True),
        ("You're welcome! Have a great day!", True),
        ("Great, thanks. I'll give it a try.", True),
        ("Okay, got it, thank you so much for the detailed explanation!", True),
        ("I really appreciate your help. Take care!", True),
        ("Thanks and goodbye!", True),
        ("No, that's everything. Bye :-)", True),
        ("That makes sense now, thanks a lot\u2014have a nice day!", True),
        ("I'd appreciate a shorter version.", False),
        ("I appreciate shorter answers.", False),
        ("Thanks, give me another example.", False),
        ("Thanks, I need more details on step 2.", False),
        ("Thank you, make it shorter.", False),
        ("Thanks, explain step two again.", False),
        ("Thanks, I'll need three more examples.", False),
        ("Thanks, that's not helpful.", False),
        ("Thanks for the list and add three more.", False),
        ("Great, thanks; shorter.", False),
        ("Yes, thanks.", False),
        ("A welcome speech, have a go at it, thanks.", False),
        ("Thanks. And now give me three more.", False),
        ("Thanks, but my oven only goes to 180.", False),
        ("Thanks. I tried it and it fails.", False),
        ("Thank you. What about tea?", False),
        ("Great.", False),
        ("Write a note of thanks?", False),
    ],
)
def test_thanks_that_ask_for_nothing_are_told_from_thanks_that_do(text: str, only: bool) -> None:
    assert only_thanks(text) == only


@pytest.mark.parametrize("part", ["\n", "!", " ", ".\n", "so ", "thanks and ", "hi! "])
def test_a_turn_of_any_length_is_read_in_no_time(part: str) -> None:
    begun = time.process_time()
    why_over(Reply(part * 5000 + "x"), (Message("user", "Why?"),))
    assert time.process_time() - begun < 1


@given(st.text(), st.text())
def test_whatever_a_person_says_goes_on_or_ends_for_a_named_reason(text: str, opening: str) -> None:
    chat = (Message("user", opening), Message("assistant", "Yes."))
    over = why_over(Reply(text), chat)
    assert over == "" or over.startswith("user_")
    assert why_over(Reply(text + END), chat) == "user_ended"
    cut_off = "user_ended" if END in text else "user_cut_off" if words(text) else "user_silent"
    assert why_over(Reply(text, finish="length"), chat) == cut_off


# Answers at one turn


async def test_answers_at_a_random_turn_share_its_prefix(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, server: ProviderServer
) -> None:
    write_lines("openings.jsonl", *({"prompt": f"How does thing {number} work?"} for number in range(12)))
    whole, _ = await make(pipeline(dialogue(server=server)))
    wholes = {line["messages"][0]["content"]: line["messages"] for line in whole.rows("conversations")}
    asked = len(server.bodies)
    text = dialogue(server=server, more=RESAMPLED, views="sft, preference")
    version, _ = await make(pipeline(text))
    by_row: dict[str, list[dict[str, Any]]] = {}
    for line in version.rows("sft"):
        by_row.setdefault(line["id"].split(":")[0], []).append(line)
    cuts = Counter[int]()
    for original, *others in by_row.values():
        messages, cut = wholes[original["prompt"][0]["content"]], len(original["prompt"])
        assert original["prompt"] == messages[:cut]
        assert original["completion"] == messages[cut : cut + 1]
        assert [other["prompt"] for other in others] == [original["prompt"]] * 2
        assert len({line["completion"][0]["content"] for line in (original, *others)}) == 3
        cuts[cut] += 1
    assert sum(cuts.values()) == 12
    assert set(cuts) == {1, 3, 5}
    fresh = [body for body in server.bodies[asked:] if body["model"] != "judge"]
    assert Counter(body["model"] for body in fresh) == {"helper": 2 * 12}
    prefixes = {tuple(turn["content"] for turn in line["prompt"]) for line in version.rows("preference")}
    assert prefixes <= {
        tuple(message["content"] for message in each[0]["prompt"]) for each in by_row.values()
    }


def cut(row: Row) -> Row | str:
    """What `resample_turn` makes of `row` before it asks for others; or why it drops it."""
    try:
        return ResampleTurn(model="assistant").cut(row, Bench("cut", {}, None, None))  # type: ignore[arg-type]
    except Filtered as dropped:
        return dropped.reason


def said_by(letters: str) -> tuple[Message, ...]:
    """A turn for each of `letters`, s, u or a."""
    roles: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
    return tuple(Message(roles[letter], f"{letter}{place}") for place, letter in enumerate(letters))


@given(st.text("sua", min_size=1, max_size=7), st.booleans(), st.integers(0, 3))
def test_what_is_asked_for_again_is_always_a_reply_to_a_user(
    letters: str, answered: bool, occurrence: int
) -> None:
    row = sourced(said_by(letters), occurrence).answered(*[Answer("The last one.")] * answered)
    whole = letters + "a" * answered
    places = [place for place in range(1, len(whole)) if whole[place - 1 : place + 1] == "ua"]
    made = cut(row)
    if isinstance(made, str):
        assert (made, places) == ("no_assistant_turn", [])
        return
    assert len(made.prompt) in places
    assert made.prompt == row.prompt[: len(made.prompt)]
    assert made.prompt[-1].role == "user"


def test_a_revision_that_was_the_last_turn_is_an_answer_of_its_own() -> None:
    made = cut(sourced(said_by("u"), 0).answered(Answer("First."), Answer("Better.", parent=0)))
    assert isinstance(made, Row)
    assert made.answers == (Answer("Better."),)


@pytest.mark.parametrize("facts", [{"model": 1}, "model", {"model": "m", "first_turn": 1, "first_call": 0}])
def test_a_column_of_the_source_is_never_taken_for_what_a_step_knows(facts: Any) -> None:
    made = cut(sourced(said_by("uau"), 0, {"converse": facts}))
    assert isinstance(made, Row)
    assert made.answers == (Answer("a1"),)


async def test_the_turn_that_was_there_keeps_the_model_and_the_call_that_wrote_it(
    pipeline: ReadPipeline, make: Make, write_lines: WriteLines, server: ProviderServer
) -> None:
    """Also where it is a turn within the dialogue; and calls made after it are not behind the prompt."""
    write_lines("openings.jsonl", *({"prompt": f"How does thing {number} work?"} for number in range(9)))
    resampled = "  - resample_turn: {model: assistant}\n"
    version, _ = await make(pipeline(dialogue(server=server, more=resampled, views="sft")))
    lineage = pq.read_table(version.path / ".synth" / "lineage.parquet").to_pylist()
    behind: dict[str, Counter[str]] = {}
    for line in lineage:
        behind.setdefault(line["row"], Counter())[line["part"]] += 1
    cuts = Counter[int]()
    for line in version.rows("sft"):
        row, before = line["id"].split(":")[0], len(line["prompt"]) - 1
        assert behind[row] == Counter({"prompt": before, "answer 0": 1, "answer 1": 1})
        cuts[before] += 1
    assert set(cuts) == {0, 2, 4}


async def test_best_of_takes_the_turn_that_was_there_for_a_models(
    pipeline: ReadPipeline, make: Make, openings: list[str]
) -> None:
    more = "  - resample_turn: {model: assistant}\n  - rate: {model: judge, aspects: [honesty]}\n"
    more += "  - best_of: {judge: rate, keep: best}\n"
    version, _ = await make(pipeline(dialogue(more=more)))
    for line in version.rows("conversations"):
        known = orjson.loads(line["facts"])["best_of"]
        assert (known["n"], known["best_is_reference"]) == (2, False)


async def test_the_turn_is_drawn_by_the_seed(
    pipeline: ReadPipeline, make: Make, openings: list[str], project: Path
) -> None:
    async def turns(seed: int, into: str) -> list[int]:
        more = "  - resample_turn: {model: assistant}\n"
        text = dialogue(more=more, views="sft").replace("models:", f"seed: {seed}\nmodels:", 1)
        version, _ = await make(pipeline(text), into=project / into)
        return [len(line["prompt"]) for line in version.rows("sft")]

    first = await turns(1, "a")
    assert len(first) == 4 * 2
    assert await turns(1, "b") == first
    assert await turns(2, "c") != first


async def test_the_whole_dialogue_and_the_cut_one_can_be_in_one_dataset(
    pipeline: ReadPipeline, make: Make, openings: list[str]
) -> None:
    more = "  - resample_turn: {model: assistant}\n  - length: {from: converse, least: 1}\n"
    version, _ = await make(pipeline(dialogue(more=more)))
    assert version.manifest["rows"] == 8
    view = version.manifest["views"]["conversations"]
    assert (view["rows"], view["left_out"]) == ({"train": 4}, {"several_answers": 4})


# The view


def shown(*turns: Message, **answers: Answer) -> dict[str, Any] | LeftOut:
    [line] = Conversations().show(sourced(turns, 0).answered(*answers.values()))
    return line


def test_a_dialogue_whose_roles_are_out_of_order_is_left_out_and_counted() -> None:
    user, assistant, system = (Message(role, "said") for role in ("user", "assistant", "system"))
    fine = Answer("Said.")
    assert shown(user) == LeftOut("no_answer")
    assert shown(user, answer=Answer("Sa", finish="length")) == LeftOut("cut_off")
    assert shown(user, answer=fine, other=fine) == LeftOut("several_answers")
    assert shown(assistant, user, answer=fine) == LeftOut("roles_misplaced")
    assert shown(system, answer=fine) == LeftOut("roles_misplaced")
    assert shown(user, user, answer=fine) == LeftOut("roles_do_not_alternate")
    assert shown(user, system, user, answer=fine) == LeftOut("roles_do_not_alternate")
    line = shown(system, user, assistant, user, answer=fine)
    assert isinstance(line, dict)
    assert [message["role"] for message in line["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert line["turns"] == 2
    revised = shown(user, answer=fine, other=Answer("Better.", parent=0))
    assert isinstance(revised, dict)
    assert revised["messages"][-1]["content"] == "Better."


# What is shipped


async def test_the_shipped_pipeline_keeps_whole_dialogues_and_compares_turns(
    pipeline: ReadPipeline, make: Make
) -> None:
    shipped = (Path(__file__).parents[1] / "pipelines" / "dialogue.yaml").read_text(encoding="utf-8")
    read = pipeline(shipped.replace("{provider: local, model: smollm2-135m}", "{provider: scripted}"))
    version, _ = await make(read, limit=4)
    assert version.manifest["rows"] == 8
    assert version.manifest["judges"]["judge_pairs"]["judgments"] == 8
