"""Constitutional AI: its supervised stage (Bai et al. 2022, section 3) and the open recipe, by sockets."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import Body, Fault, ProviderServer

from synth.constitution import Constitution, Principle
from synth.methods.critique_revise import says_nothing
from synth.rows import Answer, Message, Row, sourced
from synth.store.version import Version
from synth.store.views import LeftOut
from synth.store.views.critiques import flag
from synth.store.views.revision_pairs import RevisionPairs
from synth.store.views.sft import Sft

RULES = """# Rules

## be-brief
Say little.

Critique: Critique by brevity.
Revise: Revise by brevity.

## be-kind
Stay friendly.

Critique: Critique by kindness.
Revise: Revise by kindness.

## be-true
Make nothing up.

Critique: Critique by truth.
Revise: Revise by truth.
"""
ROWS = 5
Run = Callable[..., Any]


def last(body: Body) -> str:
    said: str = body["messages"][-1]["content"]
    return said


def usual(body: Body) -> str:
    """Answers that tell what they are, and differ from seed to seed."""
    asked, seed = last(body), body["seed"]
    if asked.startswith("Critique by"):
        return f"Critique {seed} of {asked.split()[2]}"
    return f"Rewritten {seed} for {asked.split()[2]}" if asked.startswith("Revise by") else f"Answer {seed}"


@pytest.fixture
def revised(
    project: Path, pipeline: ReadPipeline, make: Make, server: ProviderServer, write_lines: WriteLines
) -> Run:
    """Run a step on five prompts against the server, with three rules; the version and the bodies."""

    async def run(
        keys: str,
        answer: Callable[[Body], str | Fault | Body | None] = usual,
        *,
        respond: bool = True,
        step: str = "critique_revise",
        views: str = "[sft, critiques]",
        rules: str = RULES,
    ) -> tuple[Version, list[Body]]:
        (project / "rules.md").write_text(rules, encoding="utf-8")
        write_lines("prompts.jsonl", *({"prompt": f"Tell me of thing {n}."} for n in range(ROWS)))
        server.answer = answer
        text = (
            f"name: revised\nmodels: {{m: {{provider: compatible, base_url: '{server.url}/v1', model: x}}}}\n"
            "steps:\n  - jsonl: {path: prompts}\n"
            + ("  - respond: {model: m}\n" if respond else "")
            + f"  - {step}: {{model: m, constitution: rules, {keys}}}\ndataset: {{views: {views}}}\n"
        )
        version, _ = await make(pipeline(text))
        return version, server.bodies

    return run


def of_prompt(bodies: list[Body], number: int) -> list[Body]:
    return [
        body
        for body in bodies
        if any(m["content"] == f"Tell me of thing {number}." for m in body["messages"])
    ]


async def test_k_rounds_make_one_and_two_k_calls_in_order_and_forget_the_answer_before(revised: Run) -> None:
    _, bodies = await revised("rounds: 3")
    assert len(bodies) == ROWS * (1 + 2 * 3)
    for number in range(ROWS):
        asked = of_prompt(bodies, number)
        kinds = [last(body).split()[0] for body in asked]
        assert kinds == ["Tell", "Critique", "Revise", "Critique", "Revise", "Critique", "Revise"]
        for one, other in zip(asked[1::2], asked[2::2], strict=True):
            assert last(one).split()[2] == last(other).split()[2]  # one principle a round
        second_critique = [message["content"] for message in asked[3]["messages"]]
        assert second_critique[1].startswith("Rewritten")
        assert (
            len(second_critique) == 3
        )  # the prompt, the revision, the request: no answer, no critique before


async def test_every_revision_is_a_row_of_sft_and_names_its_principle(revised: Run) -> None:
    version, _ = await revised("rounds: 4")
    assert len(list(version.rows("sft"))) == 4 * ROWS
    for line in version.rows("critiques"):
        word = {"be-brief": "brevity", "be-kind": "kindness", "be-true": "truth"}[line["principle"]]
        assert line["critique"].split()[-1].startswith(word)
        assert line["revision"].split()[-1].startswith(word)
    files = version.manifest["made_from"]
    assert [len(digest) for name, digest in files.items() if name.endswith("rules.md")] == [64]


async def test_an_edited_principle_is_another_file_in_the_manifest_and_another_dataset(revised: Run) -> None:
    one, _ = await revised("rounds: 2")
    other, _ = await revised("rounds: 2", rules=RULES.replace("by truth", "by honesty"))
    assert one.id != other.id
    assert one.manifest["made_from"] != other.manifest["made_from"]


def test_draws_are_independent_and_with_replacement() -> None:
    sixteen = Constitution("c", tuple(Principle(f"p{number}", "text") for number in range(16)))
    drawn = [sixteen.draw(f"0/step/row{row}/{round_}").id for row in range(2500) for round_ in range(4)]
    assert all(0.05 <= count / 10_000 <= 0.075 for count in Counter(drawn).values())
    assert len(set(drawn)) == 16
    chains = [drawn[place : place + 4] for place in range(0, 10_000, 4)]
    repeating = sum(len(set(chain)) < 4 for chain in chains) / len(chains)
    assert 0.30 <= repeating <= 0.37  # 1 - 15/16 * 14/16 * 13/16 = 0.333


def chain(*texts: str) -> Row:
    row = sourced((Message("user", "Say."),), 0).answered(Answer("first", "respond"))
    for number, text in enumerate(texts):
        row = row.answered(Answer(text, "critique_revise", parent=number, principle="p", critique="c"))
    return row


@pytest.mark.parametrize(("up_to", "texts"), [(None, ["a", "b", "c"]), (1, ["a"]), (2, ["a", "b"])])
def test_sl_cai_n_is_trained_on_the_revisions_up_to_the_nth(up_to: int | None, texts: list[str]) -> None:
    lines = list(Sft(answers="revisions", up_to=up_to).show(chain("a", "b", "c")))
    assert [line["completion"][0]["content"] for line in lines if isinstance(line, dict)] == texts


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a better one", None),
        ("same", "unchanged"),
        ("", "empty"),
        ("Revision: a better one", "echo"),
        ("RevisionRequest: please", "echo"),
        ("**Revised reply:** a better one", "echo"),
        ("Critique: it was harsh", "echo"),
        ("Revision control is a good habit? No: use it daily.", "echo"),
        ("The revision of the law came later.", None),
    ],
)
def test_a_revision_that_is_unchanged_empty_or_an_echo_is_flagged(text: str, mark: str | None) -> None:
    assert flag(Answer(text), "same") == mark


async def test_a_revision_can_be_asked_for_without_a_critique(revised: Run) -> None:
    version, bodies = await revised("rounds: 2, critique: false")
    assert len(bodies) == ROWS * (1 + 2)
    assert {last(body).split()[0] for body in bodies} == {"Tell", "Revise"}
    assert {line["critique"] for line in version.rows("critiques")} == {None}


async def test_an_empty_revision_ends_the_rounds(revised: Run) -> None:
    version, bodies = await revised(
        "rounds: 3", lambda body: "" if last(body).startswith("Revise") else usual(body)
    )
    assert len(bodies) == ROWS * 3
    assert {line["flag"] for line in version.rows("critiques")} == {"empty"}


async def test_an_empty_critique_is_kept_as_one_and_the_revision_asked_for_all_the_same(revised: Run) -> None:
    version, bodies = await revised(
        "rounds: 2", lambda body: "" if last(body).startswith("Critique") else usual(body)
    )
    assert len(bodies) == ROWS * 5
    assert {line["critique"] for line in version.rows("critiques")} == {""}
    assert {line["flag"] for line in version.rows("critiques")} == {None}


async def test_a_critique_that_is_cut_off_is_used_as_far_as_it_goes_and_counted(revised: Run) -> None:
    def cut(body: Body) -> str | Body:
        if not last(body).startswith("Critique by") or "thing 2" not in body["messages"][0]["content"]:
            return usual(body)
        said = {"role": "assistant", "content": "It is too"}
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": "length"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        about = {"id": "x", "object": "chat.completion", "created": 0, "model": "x"}
        return about | {"choices": [choice], "usage": usage}

    version, bodies = await revised("rounds: 2", cut, views="[sft, critiques, conversations]")
    assert len(bodies) == ROWS * 5
    lines = list(version.rows("critiques"))
    assert [line["critique"] for line in lines].count("It is too") == 2
    assert len(list(version.rows("sft"))) == 2 * ROWS
    facts = [orjson.loads(line["facts"]).get("critique_revise") for line in version.rows("conversations")]
    assert sorted(facts, key=str) == sorted([{"critiques_cut_off": [1, 2]}] + [None] * (ROWS - 1), key=str)
    flags = [each["flags"] for each in version.statistics["principles"].values()]
    assert sum((Counter(each) for each in flags), Counter[str]()) == {"cut_off_critique": 2}


@pytest.mark.parametrize("said", ["NOTHING", "Nothing.", " *nothing* "])
def test_a_critique_may_say_that_it_finds_nothing(said: str) -> None:
    assert says_nothing(said)


@pytest.mark.parametrize("said", ["", "Nothing is wrong with it, but it is long.", "No"])
def test_what_only_begins_with_nothing_is_a_critique(said: str) -> None:
    assert not says_nothing(said)


async def test_rounds_end_when_nothing_is_found_only_if_that_was_asked_for(revised: Run) -> None:
    def content(body: Body) -> str:
        return "NOTHING" if last(body).startswith("Critique") else usual(body)

    version, bodies = await revised("rounds: 3, stop_if_nothing_found: true", content)
    assert len(bodies) == ROWS * 2
    assert all("one word NOTHING" in last(body) for body in bodies if last(body).startswith("Critique"))
    assert list(version.rows("critiques")) == []
    version, _ = await revised("rounds: 3", content)
    assert len(list(version.rows("critiques"))) == 3 * ROWS


async def test_worked_examples_come_first_and_one_leaves_a_good_answer_as_it_is(revised: Run) -> None:
    _, bodies = await revised("rounds: 1, examples: critique_examples")
    asked = [body["messages"] for body in bodies if not last(body).startswith("Tell me")]
    for messages in asked:
        texts = [message["content"] for message in messages]
        place = next(number for number, text in enumerate(texts) if text.startswith("Tell me of thing"))
        assert place == 5 * 6
        examples = [texts[start : start + 6] for start in range(0, place, 6)]
        assert sum(answer == revision for _, answer, _, _, _, revision in examples) == 1


# The open recipe


async def test_the_open_recipe_is_three_calls_of_one_growing_chat(revised: Run) -> None:
    version, bodies = await revised(
        "temperature: 1", respond=False, step="constitutional_open", views="[revision_pairs]"
    )
    assert len(bodies) == 3 * ROWS
    for number in range(ROWS):
        first, critique, revise = (body["messages"] for body in of_prompt(bodies, number))
        assert critique[: len(first)] == first
        assert revise[: len(critique)] == critique
        assert len(revise) == 5
    assert {tuple(body["stop"]) for body in bodies} == {("User:", "###", "<|endoftext|>")}
    for pair in version.rows("revision_pairs"):
        assert pair["chosen"][0]["content"].startswith("Rewritten")
        assert pair["rejected"][0]["content"].startswith("Answer")


async def test_the_open_recipe_trains_sft_and_preferences_on_different_prompts(revised: Run) -> None:
    views = (
        "[{sft: {where: {constitutional_open.half: sft}}},"
        " {revision_pairs: {where: {constitutional_open.half: prefs}}}]"
    )
    version, _ = await revised("temperature: 1", respond=False, step="constitutional_open", views=views)
    sft, pairs = (
        {line["prompt"][0]["content"] for line in version.rows(view)} for view in ("sft", "revision_pairs")
    )
    assert not sft & pairs
    assert len(sft | pairs) == ROWS
    left_out = [view["left_out"]["not_picked"] for view in version.manifest["views"].values()]
    assert sum(left_out) == ROWS


def test_a_revision_that_changed_nothing_is_no_pair() -> None:
    assert list(RevisionPairs().show(chain("first"))) == [LeftOut("unchanged")]
    assert list(RevisionPairs().show(chain())) == [LeftOut("no_revision")]
    [line] = RevisionPairs().show(chain("a", "b"))
    assert isinstance(line, dict)
    assert (line["chosen"][0]["content"], line["rejected"][0]["content"]) == ("b", "first")


def test_no_prompt_of_ours_tells_a_model_to_begin_with_a_heading() -> None:
    folder = Path(__file__).parents[1] / "synth" / "prompts"
    for path in (folder / "critique_revise").glob("*.md"):
        assert not re.search(r"begin with .?(Revision|Critique)", path.read_text(encoding="utf-8"))
