"""Recorded judges of other projects, in files written here in their form: read again, and never trusted."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from synth.audit import llmbar, pandalm
from synth.audit.alignment import align
from synth.audit.shares import Share
from synth.cli import main
from synth.errors import UserError

Tell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tell:
    """The command line in this process: exit code, what it printed, what it complained of."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["synth", *map(str, arguments)])
        code = main()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content))
    return path


# LLMBar's form

A, B = "Output (a)", "Output (b)"


def recorded(
    label: int, straight: tuple[str, str | None], swapped: tuple[str, str | None], *before: object
) -> dict[str, Any]:
    """One pair: the completion and the winner that is in the file, in each order."""
    said = {
        order: {"completion": [text, "stop"], "winner": winner}
        for order, (text, winner) in zip(llmbar.ORDERS, (straight, swapped), strict=True)
    }
    texts = {"input": "Say it.", "output_1": "One.", "output_2": "Two."}
    return texts | {"label": label, "results": [*before, said]}


def llmbar_file(folder: Path, entries: Sequence[object], judge: str = "Kim", prompt: str = "Vanilla") -> Path:
    return write(folder / "Easy" / "evaluators" / judge / prompt / "result.json", entries)


def only(folder: Path) -> llmbar.Recording:
    (found,), _ = llmbar.read(folder)
    return found


def test_completions_of_both_orders_are_read_and_turned_back(tmp_path: Path) -> None:
    llmbar_file(
        tmp_path,
        [
            recorded(1, (A, "1"), (B, "1")),
            recorded(2, (A, "1"), (A, "2")),
            recorded(2, (A, "1"), ("", None)),
        ],
    )
    found = only(tmp_path)
    assert [pair.choices for pair in found.ours] == [("first", "first"), ("first", "second"), ("first", None)]
    assert llmbar.differences(found.ours, found.recorded) == 0
    assert llmbar.differences(found.theirs, found.recorded) == 0
    aligned = align(found.ours)
    assert aligned.accuracy == Share(1.5, 3)
    assert (aligned.unreadable, dict(aligned.reasons)) == (Share(1, 6), {"no_verdict": 1})
    assert (aligned.positions.same, aligned.positions.first) == (Share(1, 3), Share(1, 1))
    assert (found.subset, found.judge, found.prompt) == ("Easy", "Kim", "Vanilla")


def test_with_an_explanation_the_last_verdict_counts_and_the_other_reading_is_replayed(
    tmp_path: Path,
) -> None:
    rambling = f"{A} is better. Or so it seems.\nTherefore, {B} is better."
    starting = f"{B} is better.\n{A} leaves the question open."
    llmbar_file(tmp_path / "first", [recorded(2, (rambling, "1"), (rambling, "2"))], prompt="CoT")
    llmbar_file(tmp_path / "bare", [recorded(2, (starting, "1"), (starting, "2"))], "PaLM2", "CoT")
    for folder in ("first", "bare"):
        found = only(tmp_path / folder)
        assert [pair.choices for pair in found.ours] == [("second", "first")]
        assert [pair.choices for pair in found.theirs] == [("first", "second")]
        assert llmbar.differences(found.ours, found.recorded) == 2
        assert llmbar.differences(found.theirs, found.recorded) == 0


def test_a_bare_name_is_a_verdict_only_if_no_other_is_named(tmp_path: Path) -> None:
    llmbar_file(tmp_path, [recorded(1, (f"{A}\n{B} is wrong.", "1"), (f"Between {A} and {B}: both.", "1"))])
    found = only(tmp_path)
    assert [pair.choices for pair in found.ours] == [(None, None)]
    assert dict(align(found.ours).reasons) == {"names_several": 2}


def test_after_a_debate_the_bare_name_is_asked_for_and_without_one_the_sentence(tmp_path: Path) -> None:
    agreed = recorded(1, (f"{B} is dull, {A} is better.", "1"), (f"{A} is dull, {B} is better.", "1"))
    debated = recorded(1, (A, "1"), (B, "1"), {"swap = False": {}, "swap = True": {}})
    llmbar_file(tmp_path, [agreed, debated], prompt="Swap")
    assert [pair.choices for pair in only(tmp_path).ours] == [("first", "first")] * 2


def test_recordings_of_ratings_are_left_out_and_said_to_be(tmp_path: Path, tell: Tell) -> None:
    rating = recorded(1, (A, "1"), (B, "1"))
    rating["results"] = [
        {"score_1": ["4", "stop"], "score_2": ["2", "stop"], "swap = False": {"winner": "1"}}
    ]
    llmbar_file(tmp_path, [rating], prompt="Rating")
    llmbar_file(tmp_path, [recorded(1, (A, "1"), (B, "1"))])
    code, printed, _ = tell("audit", "llmbar", tmp_path)
    assert (code, "Left out: 1 recordings of ratings" in printed) == (0, True)
    assert "Rating " not in printed


def test_the_command_prints_every_judge_as_read_and_as_recorded(tmp_path: Path, tell: Tell) -> None:
    llmbar_file(
        tmp_path, [recorded(1, (A, "1"), (A, "2")), recorded(2, (B, "2"), ("Hm.", None))], "Kim\u202eX"
    )
    code, printed, _ = tell("audit", "llmbar", tmp_path)
    assert code == 0
    assert "\u202e" not in printed
    assert "\nunread: no_verdict 1\n" in printed
    rows = re.findall(r"^ *Easy +Kim.*$", printed, re.MULTILINE)
    assert len(rows) == 2
    expected = "Easy Kim\ufffdX Vanilla 2 0.500 0.095 to 0.905 50 % 100 % 1 0"
    assert [" ".join(row.split()) for row in rows] == [expected] * 2


def test_the_folder_of_one_subset_goes_by_its_own_name(tmp_path: Path) -> None:
    llmbar_file(tmp_path, [recorded(1, (A, "1"), (B, "1"))])
    assert only(tmp_path / "Easy").subset == "Easy"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[{]", "is no JSON"),
        (b"{}", "the file: Input should be a valid list"),
        (b"[{}]", "[0].output_1: Field required"),
        (
            orjson.dumps([recorded(3, (A, "1"), (B, "1"))]),
            "[0].label: Input should be 1 or 2",
        ),
        (
            orjson.dumps([recorded(1, (A, "1"), (B, "1")) | {"results": [{"swap = False": {}}]}]),
            "[0].results[-1]: expected 'swap = False' with a completion and a winner",
        ),
    ],
)
def test_a_file_of_another_form_is_a_users_mistake_with_its_place(
    tmp_path: Path, tell: Tell, content: bytes, complaint: str
) -> None:
    path = llmbar_file(tmp_path, [])
    path.write_bytes(content)
    code, _, said = tell("audit", "llmbar", tmp_path)
    assert (code, complaint in said, str(path) in said) == (2, True, True), said


def test_a_folder_without_recordings_is_a_users_mistake(tmp_path: Path, tell: Tell) -> None:
    for verb in ("llmbar", "pandalm"):
        code, _, said = tell("audit", verb, tmp_path)
        assert (code, str(tmp_path) in said) == (2, True)


# PandaLM's form

VOTES = [(1, 1, 1), (2, 2, 0), (1, 2, 0), (2, 2, 2), (0, 0, 1)]


def pandalm_files(folder: Path, results: Sequence[str], **changes: Any) -> None:
    pairs: list[dict[str, Any]] = [
        {"idx": number, "instruction": "Is it so?", "input": "", "response1": "Yes.", "response2": "No."}
        | {f"annotator{person + 1}": vote for person, vote in enumerate(votes)}
        for number, votes in enumerate(VOTES)
    ]
    pairs[0] |= changes
    write(folder / "testset-v1.json", pairs)
    judged = [{"idx": number, "gpt_result": result} for number, result in enumerate(results)]
    write(folder / "kim-testset-v1.json", judged)


RESULTS = ["1", "garbage", "Tie", "1", "Tie"]


def test_boolean_cells_do_not_stop_the_loader_and_are_counted(tmp_path: Path, tell: Tell) -> None:
    pandalm_files(tmp_path, RESULTS, response1=True, response2=None)
    found = pandalm.read(tmp_path)
    assert (found.odd, found.pairs[0].texts) == (2, ("True", ""))
    code, printed, _ = tell("audit", "pandalm", tmp_path)
    assert (code, "5 pairs, 2 answers are no text in the file" in printed) == (0, True)


def test_people_are_compared_two_by_two_and_together(tmp_path: Path) -> None:
    pandalm_files(tmp_path, RESULTS)
    found = pandalm.read(tmp_path)
    people = pandalm.people(found).set_index("people")
    assert people["agreement"].to_list() == pytest.approx([0.8, 0.4, 0.4])
    assert people["kappa"]["1 and 2"] == pytest.approx((0.8 - (2 * 1 + 2 * 3 + 1) / 25) / (1 - 9 / 25))
    together = pandalm.overall(found)
    assert together["majority"] == {"first": 1, "second": 2, "tie": 2}
    assert together["leave_one_out"].value == pytest.approx((1 + 1 / 3 + 0 + 1 + 1 / 3) / 5)


def test_a_recorded_judge_is_measured_with_ties_and_without_and_garbage_is_no_tie(tmp_path: Path) -> None:
    pandalm_files(tmp_path, RESULTS)
    found = pandalm.read(tmp_path)
    judge = pandalm.judge(found.judges["kim"], found.votes)
    assert judge.aligned.ties_in == Share(3, 5)
    assert judge.aligned.ties_out == Share(1, 3)
    assert judge.aligned.tie_discounted == Share(3, 5)
    assert judge.aligned.unreadable == Share(1, 5)


def test_the_command_prints_people_and_judges(tmp_path: Path, tell: Tell) -> None:
    pandalm_files(tmp_path, RESULTS)
    code, printed, _ = tell("audit", "pandalm", tmp_path)
    assert code == 0
    assert re.search(r"1 and 2 +0\.8000 0\.688", printed)
    assert "the majority says first 1, second 2, tie 2" in printed
    assert re.search(r"ties in +0\.600 \(0\.231 to 0\.882\), 3 of 5", printed)
    assert re.search(r"unread +0\.200 .*, 1 of 5", printed)


def test_people_alone_are_enough(tmp_path: Path, tell: Tell) -> None:
    pandalm_files(tmp_path, RESULTS)
    (tmp_path / "kim-testset-v1.json").unlink()
    code, printed, _ = tell("audit", "pandalm", tmp_path)
    assert (code, "recorded judges" in printed) == (0, False)


def test_a_vote_that_nobody_can_give_and_a_verdict_that_is_missing_are_users_mistakes(tmp_path: Path) -> None:
    pandalm_files(tmp_path, RESULTS, annotator2=3)
    with pytest.raises(UserError, match=r"idx 0: expected annotators that say 0, 1 or 2"):
        pandalm.read(tmp_path)
    pandalm_files(tmp_path, RESULTS[:-1])
    with pytest.raises(UserError, match="one verdict for each pair"):
        pandalm.read(tmp_path)


# What pages say of the projects' own files, for whoever has them

# Accuracy and same-position rate of each judge and prompt, as LLMBar's program reads it.
LLMBAR_READ = {
    ("Natural", "GPT-4", "Vanilla"): (0.955, 0.05),
    ("Natural", "GPT-4", "CoT"): (0.945, 0.09),
    ("Natural", "ChatGPT", "Vanilla"): (0.815, 0.29),
    ("Natural", "ChatGPT", "CoT"): (0.740, 0.35),
    ("Natural", "LLaMA2", "Vanilla"): (0.805, 0.21),
    ("Natural", "LLaMA2", "CoT"): (0.755, 0.33),
    ("Natural", "PaLM2", "Vanilla"): (0.830, 0.20),
    ("Natural", "PaLM2", "CoT"): (0.730, 0.36),
    ("GPTInst", "GPT-4", "Vanilla"): (0.864, 0.05),
    ("GPTInst", "GPT-4", "CoT"): (0.832, 0.10),
    ("GPTInst", "ChatGPT", "Vanilla"): (0.266, 0.38),
    ("GPTInst", "ChatGPT", "CoT"): (0.293, 0.40),
    ("GPTInst", "LLaMA2", "Vanilla"): (0.304, 0.26),
    ("GPTInst", "LLaMA2", "CoT"): (0.359, 0.46),
    ("GPTInst", "PaLM2", "Vanilla"): (0.734, 0.32),
    ("GPTInst", "PaLM2", "CoT"): (0.549, 0.72),
}
LAST_VERDICT = LLMBAR_READ | {
    ("Natural", "PaLM2", "CoT"): (0.800, 0.18),
    ("GPTInst", "PaLM2", "CoT"): (0.641, 0.43),
}


@pytest.mark.skipif("LLMBAR" not in os.environ, reason="LLMBAR: name the folder Dataset/LLMBar of LLMBar")
@pytest.mark.parametrize(("reading", "expected"), [("theirs", LLMBAR_READ), ("ours", LAST_VERDICT)])
def test_llmbars_judges_come_out_as_the_pages_say(reading: Any, expected: dict[Any, Any]) -> None:
    recordings, _ = llmbar.read(Path(os.environ["LLMBAR"]))
    lines = llmbar.table(recordings, reading).to_dict("records")
    found = {
        (line["subset"].split("/")[-1], line["judge"], line["prompt"]): (
            round(line["accuracy"], 3),
            round(line["same position"], 2),
        )
        for line in lines
    }
    assert {key: found[key] for key in expected} == expected
    if reading == "theirs":
        assert {line["differ"] for line in lines} == {0}


@pytest.mark.skipif("PANDALM" not in os.environ, reason="PANDALM: name the folder with testset-v1.json")
def test_pandalms_people_and_judges_come_out_as_the_pages_say() -> None:
    found = pandalm.read(Path(os.environ["PANDALM"]))
    people = pandalm.people(found)
    assert people["agreement"].round(4).to_list() == [0.9129, 0.9289, 0.9179]
    assert people["kappa"].round(3).to_list() == [0.852, 0.879, 0.862]
    together = pandalm.overall(found)
    assert round(together["fleiss_kappa"], 3) == 0.864
    assert together["majority"] == {"first": 422, "second": 472, "tie": 105}
    aligned = pandalm.judge(found.judges["gpt-3.5-turbo"], found.votes).aligned
    assert aligned.ties_in == Share(697, 999)
    assert round(aligned.ties_out.value, 3) == 0.804
    assert aligned.unreadable == Share(25, 999)
