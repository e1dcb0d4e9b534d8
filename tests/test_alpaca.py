"""Alpaca against a provider on this machine: three seeds, twenty tasks, seven fields."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Make, ReadPipeline
from growing import kept_rows, saying
from hypothesis import given
from hypothesis import strategies as st
from provider_server import ProviderServer

from synth import assets, seeds
from synth.errors import UserError
from synth.instructions import UNFIT_ALPACA, Form, Mode, blocks, reason_unfit
from synth.rows import Answer, Message, Row, sourced
from synth.store.version import Version
from synth.store.views import LeftOut
from synth.store.views.alpaca import Alpaca

PIPELINE = """
name: tasks
seed: 3
models:
  m: {{provider: compatible, model: made, base_url: "{url}/v1"{supports}}}
steps:
  - {step}: {{model: m, {keys}}}
dataset: {{views: [alpaca, sft]}}
"""
BOTH_MODES = pytest.mark.parametrize("mode", ["modern", "faithful"])
GOES_ON = Form(goes_on=True, cut_off=False, first=4)
CHATS = Form(goes_on=False, cut_off=False, first=4, end=20)

Grow = Callable[..., Any]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Every row that goes on, with its facts."""
    return kept_rows(monkeypatch)


@pytest.fixture
def grow(pipeline: ReadPipeline, make: Make, server: ProviderServer, rows: list[Row]) -> Grow:
    """Run Alpaca against the server: the rows, the drops by reason, and the version."""

    async def grow_(
        keys: str, supports: str = "", step: str = "alpaca"
    ) -> tuple[list[Row], Mapping[str, int], Version]:
        rows.clear()
        supports = supports and f", supports: {supports}"
        text = PIPELINE.format(url=server.url, keys=keys, supports=supports, step=step)
        version, watch = await make(pipeline(text))
        return list(rows), watch.accounts[step].filtered, version

    return grow_


def block(number: int, instruction: str, input_: str = "<noinput>", output: str = "An output.") -> str:
    return f"{number}. Instruction: {instruction}\n{number}. Input:\n{input_}\n{number}. Output:\n{output}\n"


def going_on(*tasks: str) -> str:
    """Blocks as a completion gives them: without what the prompt ended with."""
    return "###\n".join(tasks).removeprefix("4. Instruction:")


def texts(grown: list[Row]) -> list[str]:
    return [row.facts["alpaca"]["instruction"] for row in grown]


THREE = [
    block(4, "Name the river that flows through Vienna.", output="The Danube."),
    block(5, "Shorten the following sentence to five words.", "It is raining cats and dogs.", "It rains."),
    block(6, "Why do leaves turn yellow in autumn?", output="The green pigment is broken down."),
]


# What is asked


async def test_a_request_shows_3_seed_tasks_in_full_and_ends_with_the_fourth_instruction(
    grow: Grow, server: ProviderServer
) -> None:
    server.answer = saying(going_on(*THREE[:1]), going_on(*THREE[1:2]).replace("5.", "4."), going_on(*THREE))
    await grow("count: 3, lag: 1")
    tasks = {
        " ".join(task.instruction.split()).rstrip(":"): task.instances[0]
        for task in seeds.read(assets.find("seeds", "general", Path.cwd()))
    }
    assert len(server.bodies) == 3
    for body in server.bodies:
        assert body["prompt"].endswith("###\n4. Instruction:")
        listed = body["prompt"].split("###\n")[1:-1]
        assert len(listed) == 3
        for number, text in enumerate(listed, 1):
            fields = re.split(rf"(?m)^{number}\. (?:Instruction|Input|Output):\s", text)
            _, instruction, input_, output = (field.strip() for field in fields)
            assert tasks[instruction] == (input_.replace("<noinput>", ""), output), (
                "the models own is never shown"
            )


async def test_a_request_carries_the_decoding_of_alpaca(grow: Grow, server: ProviderServer) -> None:
    server.answer = saying(going_on(*THREE))
    await grow("count: 1, lag: 1")
    body = server.bodies[0]
    assert {name: body[name] for name in ("temperature", "top_p", "max_tokens", "stop")} == {
        "temperature": 1.0,
        "top_p": 1.0,
        "max_tokens": 3072,
        "stop": ["\n20", "20.", "20."],
    }
    assert body["presence_penalty"] == body["frequency_penalty"] == 0


async def test_the_logit_bias_is_left_out_and_every_row_says_so(grow: Grow, server: ProviderServer) -> None:
    server.answer = saying(going_on(*THREE))
    grown, _, _ = await grow("count: 3, lag: 1")
    assert "logit_bias" not in server.bodies[0]
    assert {tuple(row.facts["alpaca"]["origin"]["left_out"]) for row in grown} == {("logit_bias",)}


async def test_the_two_presets_ask_differently_from_the_same_seeds(
    grow: Grow, server: ProviderServer
) -> None:
    server.answer = saying(going_on(*THREE))
    await grow("count: 1, lag: 1")
    alpaca = server.bodies[0]
    server.log.clear()
    await grow("count: 1, lag: 1", step="self_instruct")
    other = server.bodies[0]
    differing = {name for name in alpaca if alpaca[name] != other[name]}
    assert {"prompt", "temperature", "top_p", "presence_penalty", "max_tokens", "stop"} <= differing
    assert alpaca["prompt"].count("Output:") == 3
    assert "Output:" not in other["prompt"]


async def test_a_chat_is_asked_to_go_on_and_is_cut_before_the_twentieth_task(
    grow: Grow, server: ProviderServer
) -> None:
    said = [
        block(n, f"Tell of the {word} in plain words.") for n, word in ((4, "sea"), (19, "sky"), (20, "sun"))
    ]
    server.answer = lambda body: "Here you are:\n\n###\n" + "###\n".join(said) + "###\nThat is all!"
    grown, dropped, _ = await grow("count: 2, lag: 1, max_similarity: 1.0", supports="[temperature]")
    assert server.bodies[0]["messages"][-1]["content"].endswith("and nothing else.")
    assert texts(grown) == ["Tell of the sea in plain words.", "Tell of the sky in plain words."]
    assert not dropped
    assert [task.instruction for task in blocks("###\n".join(said), CHATS, "modern")] == texts(grown)
    assert grown[0].facts["alpaca"]["origin"]["request"] == "chat"


def test_more_cannot_be_shown_than_there_is(pipeline: ReadPipeline, project: Path) -> None:
    line = (
        (Path(seeds.__file__).parents[1] / "seeds" / "general.jsonl")
        .read_text(encoding="utf-8")
        .split("\n")[0]
    )
    (project / "one.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match="'one' has only 1 seed tasks"):
        pipeline(PIPELINE.format(url="http://x", keys="seeds: one", supports="", step="alpaca"))


# What is taken


async def test_a_task_is_a_prompt_with_its_input_and_an_answer(grow: Grow, server: ProviderServer) -> None:
    server.answer = saying(going_on(*THREE))
    grown, _, _ = await grow("count: 3, lag: 1")
    assert [row.prompt[-1].content for row in grown] == [
        "Name the river that flows through Vienna.",
        "Shorten the following sentence to five words.\n\nIt is raining cats and dogs.",
        "Why do leaves turn yellow in autumn?",
    ]
    assert [row.answers[0].text for row in grown] == [
        "The Danube.",
        "It rains.",
        "The green pigment is broken down.",
    ]
    assert all(row.answers[0].calls == row.calls != () for row in grown)
    assert [row.facts["alpaca"]["place"] for row in grown] == [0, 1, 2]


@BOTH_MODES
async def test_a_block_without_an_output_is_dropped_and_the_others_survive(
    grow: Grow, server: ProviderServer, mode: Mode
) -> None:
    broken = THREE[1].replace("5. Output:\n", "")
    server.answer = saying(going_on(THREE[0], broken, THREE[2]))
    grown, dropped, _ = await grow(f"count: 2, lag: 1, mode: {mode}")
    assert len(grown) == 2
    assert dropped == {"not_seven_fields": 1}


@BOTH_MODES
def test_no_input_in_any_casing_is_an_empty_input(mode: Mode) -> None:
    said = going_on(block(4, "Name a river.", "<NoInput>"), block(5, "Name a lake.", " <noinput> "))
    assert [task.input for task in blocks(said, GOES_ON, mode)] == ["", ""]


@pytest.mark.parametrize("said", ["No input", "N/A", "(no input required)", "None", "[No-Input]", "n/a."])
def test_other_words_for_no_input_leak_only_in_the_faithful_mode(said: str) -> None:
    text = going_on(block(4, "Name a river.", said))
    assert blocks(text, GOES_ON, "modern")[0].input == ""
    assert blocks(text, GOES_ON, "faithful")[0].input == said


@BOTH_MODES
@pytest.mark.parametrize(("finish", "kept"), [("length", 2), ("stop", 3)])
async def test_the_last_block_is_dropped_only_if_the_reply_was_cut_off(
    grow: Grow, server: ProviderServer, mode: Mode, finish: str, kept: int
) -> None:
    server.answer = saying(going_on(*THREE), finish=finish)
    grown, dropped, _ = await grow(f"count: 3, lag: 1, mode: {mode}, give_up_after: 1")
    assert len(grown) == kept
    assert dropped["cut_off"] == 3 - kept


async def test_compose_music_is_dropped_here_and_kept_by_self_instruct(
    grow: Grow, server: ProviderServer
) -> None:
    text = "Compose music for a rainy evening"
    server.answer = saying(going_on(block(4, text), THREE[1]))
    _, dropped, _ = await grow("count: 1, lag: 1")
    assert dropped == {"says_music": 1}
    server.answer = saying(f" {text}")
    grown, dropped, _ = await grow("count: 1, lag: 1", step="self_instruct")
    assert grown[0].prompt[-1].content == text
    assert not dropped


@pytest.mark.parametrize("word", UNFIT_ALPACA)
def test_every_unfit_word_has_a_reason_of_its_own(word: str) -> None:
    reason = reason_unfit(f"Please look at the {word} and say more", UNFIT_ALPACA)
    assert reason == f"says_{word.replace(' ', '_')}"


async def test_only_the_faithful_mode_misses_write_a_program_in_small_letters(
    grow: Grow, server: ProviderServer
) -> None:
    said = going_on(block(4, "write a program that adds"), block(5, "Write a program that sorts"), THREE[2])
    server.answer = saying(said)
    _, dropped, _ = await grow("count: 1, lag: 1")
    assert dropped == {"write_a_program": 2}
    server.answer = saying(said)
    grown, dropped, _ = await grow("count: 2, lag: 1, mode: faithful, temperature: 0.9")
    assert texts(grown)[0] == "write a program that adds"
    assert dropped == {"write_a_program": 1}


async def test_a_result_has_the_columns_of_the_released_file_and_its_id(
    grow: Grow, server: ProviderServer
) -> None:
    server.answer = saying(going_on(*THREE))
    _, _, version = await grow("count: 3, lag: 1")
    lines = list(version.rows("alpaca"))
    assert all(list(line) == ["id", "instruction", "input", "output"] for line in lines)
    assert {tuple(line.values())[1:] for line in lines} == {
        ("Name the river that flows through Vienna.", "", "The Danube."),
        ("Shorten the following sentence to five words.", "It is raining cats and dogs.", "It rains."),
        ("Why do leaves turn yellow in autumn?", "", "The green pigment is broken down."),
    }
    assert {line["id"] for line in lines} == {line["id"][:24] for line in version.rows("sft")}


def test_a_row_without_the_three_parts_is_left_out_of_the_view() -> None:
    row = Row("0" * 24, "1" * 24, (), facts={"category": "a", "other": {"instruction": "Only this"}})
    assert list(Alpaca().show(row)) == [LeftOut("no_instance")]


PARTS = {"instruction": "Add the numbers.", "input": "1 2", "output": "3"}


def shown(*answers: Answer) -> list[object]:
    row = sourced((Message("user", "Add."),), 0, {"make": PARTS})
    for answer in answers:
        row = row.answered(answer)
    return [line if isinstance(line, LeftOut) else line["output"] for line in Alpaca().show(row)]


def test_the_output_is_the_answer_of_the_last_step_that_gave_one() -> None:
    made = Answer("3", "make")
    assert shown() == shown(made) == ["3"]
    assert shown(made, Answer("It is 3.", "critique_revise")) == ["It is 3."]
    assert shown(made, Answer("It", "respond", finish="length")) == [LeftOut("cut_off")]


# A reply in parts


def test_blocks_of_a_chat_may_be_in_bold() -> None:
    text = "**4. Instruction:** Add.\n**4. Input:** 1 2\n**4. Output:** 3\n###\n**5. Instruction**: Say why."
    first, second = blocks(text, CHATS, "modern")
    assert (first.instruction, first.input, first.output, first.reason) == ("Add.", "1 2", "3", None)
    assert second.reason == "not_seven_fields"
    assert not blocks(text.replace("4. Instruction:", "4. Instruction"), CHATS, "faithful")


def test_marks_inside_an_output_end_no_block_in_the_modern_mode() -> None:
    output = "### Title\nSee 4. Output: as said.\n#### More"
    text = going_on(block(4, "Write a short page.", output=output), THREE[1])
    modern = blocks(text, GOES_ON, "modern")
    assert [task.reason for task in modern] == [None, None]
    assert modern[0].output == output
    whole = [task for task in blocks(text, GOES_ON, "faithful") if task.reason is None]
    assert [task.output for task in whole] == [""], "the output is lost, and so is the block that follows"


def test_a_skipped_number_loses_all_that_follows_only_in_the_faithful_mode() -> None:
    text = going_on(THREE[0], THREE[2])
    assert [task.reason for task in blocks(text, GOES_ON, "modern")] == [None, None]
    assert [task.reason for task in blocks(text, GOES_ON, "faithful")] == [None, "not_seven_fields"]


def test_an_empty_output_is_dropped_in_the_modern_mode() -> None:
    text = going_on(block(4, "Name a river.", output=""))
    assert blocks(text, GOES_ON, "modern")[0].reason == "empty_output"
    assert blocks(text, GOES_ON, "faithful")[0].reason is None


@given(
    st.text("4567. InstructionPu:#\n"), st.booleans(), st.booleans(), st.sampled_from(["modern", "faithful"])
)
def test_any_text_is_read_without_an_error(text: str, goes_on: bool, cut_off: bool, mode: Mode) -> None:
    for task in blocks(text, Form(goes_on, cut_off, 4, None if goes_on else 20), mode):
        assert task.reason or "4. Instruction" not in task.instruction
