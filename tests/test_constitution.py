"""Constitutions: how a file is read, what is wrong with it, and how a principle is drawn."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth import constitution
from synth.constitution import Constitution, Principle
from synth.errors import UserError

DRAWS = 3000


def read(folder: Path, text: str | bytes) -> Constitution:
    path = folder / "rules.md"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return constitution.read(path)


def mistakes(folder: Path, text: str | bytes) -> list[tuple[int, str]]:
    with pytest.raises(UserError) as caught:
        read(folder, text)
    assert all(problem.file.endswith("rules.md") for problem in caught.value.problems)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def of(*weights: float) -> Constitution:
    return Constitution(
        "c", tuple(Principle(f"p{n}", "text", weight=weight) for n, weight in enumerate(weights))
    )


def draws(rules: Constitution, count: int = DRAWS) -> list[str]:
    return [rules.draw(f"7/step/{number}/0").id for number in range(count)]


# Reading


def test_a_section_is_a_principle_with_its_own_wordings(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        "# Title\n\nProse that is no principle.\nJudge: nor is this.\n\n"
        "## be-kind\nStay friendly\nin every line.\n\n"
        "Critique: What is unfriendly?\nRevise: Make it\nfriendly.\njudge: Which is kinder?\nWEIGHT: 2.5\n\n"
        "## be-2-brief\nSay little.\n",
    )
    assert rules == Constitution(
        "rules",
        (
            Principle(
                "be-kind",
                "Stay friendly in every line.",
                critique="What is unfriendly?",
                revise="Make it friendly.",
                judge="Which is kinder?",
                weight=2.5,
            ),
            Principle("be-2-brief", "Say little."),
        ),
    )


def test_a_file_of_bare_paragraphs_is_a_principle_each(tmp_path: Path) -> None:
    rules = read(tmp_path, "# Title\n\nSay less than you know,\nand mean it.\n\n\nBe kind.\n")
    assert rules.principles == (
        Principle("say-less-than-you-know-and", "Say less than you know, and mean it."),
        Principle("be-kind", "Be kind."),
    )


def test_where_a_bare_paragraph_breaks_its_lines_changes_no_name(tmp_path: Path) -> None:
    assert read(tmp_path, "Say less\nthan you know.\n") == read(tmp_path, "Say less than you know.\n")


def test_bare_paragraphs_that_begin_alike_are_principles_of_their_own(tmp_path: Path) -> None:
    rules = read(
        tmp_path,
        "Please choose the response that is most helpful.\n\n"
        "Please choose the response that is most honest.\n\n"
        "Please choose the response that is most harmless.\n",
    )
    assert [principle.id for principle in rules.principles] == [
        "please-choose-the-response-that-is",
        "please-choose-the-response-that-is-most",
        "please-choose-the-response-that-is-most-harmless",
    ]
    first, *_ = read(tmp_path, "Please choose the response that is most helpful.\n").principles
    assert first == rules.principles[0], "what comes after renames nothing"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("text", ["# Title\n\n## be-kind\nStay friendly.\n", "# Title\n\nStay friendly.\n"])
def test_files_from_other_editors_read_the_same(tmp_path: Path, ending: str, mark: bytes, text: str) -> None:
    rules = read(tmp_path, mark + text.replace("\n", ending).encode())
    assert [principle.text for principle in rules.principles] == ["Stay friendly."]


def test_an_edit_of_the_title_and_the_prose_changes_nothing(tmp_path: Path) -> None:
    body = "## be-kind\nStay friendly.\n"
    assert read(tmp_path, f"# One\n\nSome prose.\n\n{body}") == read(tmp_path, f"# Two\n\n{body}")


# Mistakes


def test_an_empty_constitution_is_a_mistake(tmp_path: Path) -> None:
    for text in ("", "\n\n", "# Only a title\n"):
        [(line, message)] = mistakes(tmp_path, text)
        assert line == 1
        assert "no principle" in message


def test_all_mistakes_are_found_at_once_each_with_its_line(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        "# Title\n\n## Be Kind\nText.\n\n## empty\n\n## twice\nText.\n\n## twice\nText.\n\n"
        "## light\nText.\nWeight: 0\n\n## wordy\nText.\nWeight: much\n\n## endless\nText.\nWeight: inf\n",
    )
    assert [line for line, _ in found] == [3, 6, 11, 14, 18, 22]
    said = [message for _, message in found]
    assert "'Be Kind'" in said[0]
    assert "lower-case words joined by hyphens" in said[0]
    assert "'empty' has no text" in said[1]
    assert "'twice' is there already, in line 8" in said[2]
    assert "expected a positive number, found '0'" in said[3]
    assert "found 'much'" in said[4]
    assert "found 'inf'" in said[5]


@pytest.mark.parametrize("weight", ["-1", "nan", "1e400", "1,5", "two", ""])
def test_a_weight_is_a_positive_number(tmp_path: Path, weight: str) -> None:
    [(line, message)] = mistakes(tmp_path, f"## a-rule\nText.\nWeight: {weight}\n")
    assert line == 1
    assert "weight of 'a-rule': expected a positive number" in message


def test_a_file_that_is_no_text_is_a_mistake(tmp_path: Path) -> None:
    [(_, message)] = mistakes(tmp_path, b"## rule\n\xff\xfe\n")
    assert "not UTF-8" in message


# JSON

PAPER = {
    "harmful0": {
        "prompt": ["\n\nCritiqueRequest: Say what is unkind.\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest: Please make it kind.\n\nRevision:",
    },
    "harmful1": {"prompt": "Say what is untrue.", "edit_request": "Make it\n true."},
}


def read_json(folder: Path, value: object) -> Constitution:
    path = folder / "rules.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return constitution.read(path)


def test_principles_load_from_the_paper_s_critique_and_revision_requests(tmp_path: Path) -> None:
    assert read_json(tmp_path, PAPER).principles == (
        Principle("harmful0", "Please make it kind.", "Say what is unkind.", "Please make it kind."),
        Principle("harmful1", "Make it true.", "Say what is untrue.", "Make it true."),
    )


def test_principles_load_from_the_paper_s_questions_to_a_judge(tmp_path: Path) -> None:
    rules = read_json(tmp_path, ["\nChoose the kinder one. Options:", "\nWhich is truer? Options:"])
    assert rules.principles == (
        Principle("choose-the-kinder-one", "Choose the kinder one.", judge="Choose the kinder one."),
        Principle("which-is-truer", "Which is truer?", judge="Which is truer?"),
    )


@pytest.mark.parametrize(
    "value",
    [
        {"be-kind": {"text": "Be kind.", "judge": "Kinder?", "weight": 2.5}, "be-brief": "Be brief."},
        [{"id": "be-kind", "text": "Be kind.", "judge": "Kinder?", "weight": "2.5"}, "Be brief."],
        [{"text": "Be  kind.", "judge": "Kinder?", "weight": 2.5}, {"text": "Be\nbrief."}],
    ],
    ids=["an object", "a list", "a list without names"],
)
def test_principles_load_from_an_editable_json_file_as_from_text(tmp_path: Path, value: object) -> None:
    text = "## be-kind\nBe kind.\nJudge: Kinder?\nWeight: 2.5\n\n## be-brief\nBe brief.\n"
    assert read_json(tmp_path, value) == read(tmp_path, text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ('{"a": "Be kind."', r"rules\.json:1:17  not JSON"),
        ("3", "expected a list or an object of principles, found 3"),
        ("[]", "no principle"),
        ('{"a": "x", "a": "y"}', "'a' is there twice"),
        ('{"a": {"text": "x", "text": "y"}}', "principle 'a': 'text' is there twice"),
        ([7], "principle 1: expected a text or an object, found 7"),
        ([{"txt": "x"}], "unknown key 'txt'. Did you mean 'text'"),
        ([{"text": ["x"]}], r"text: expected a text, found \[\"x\"\]"),
        ([{"text": "x", "weight": None}], "weight: expected a positive number, found null"),
        ([{"text": "x", "weight": -1}], "expected a positive number, found '-1'"),
        ('[{"text": "x", "weight": Infinity}]', "expected a positive number, found 'inf'"),
        ([{"judge": "x"}], "has no text"),
        ({"Be Kind": "x"}, "lower-case words joined by hyphens"),
        ({"a": {"prompt": ["x", "y"], "edit_request": "z"}}, "one critique request"),
        ({"a": {"prompt": "x"}}, "one critique request"),
        ({"a": {"prompt": "x", "edit_request": "y", "judge": "z"}}, "nothing else"),
        (["\n\nHuman: Hi\n\nAssistant: Hello"], "a transcript is no principle"),
        ('["\\ud800"]', "half a character"),
        ("[" * 100_000, "nested too deep|not JSON"),
    ],
)
def test_what_is_wrong_with_json_is_said(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_json(tmp_path, value)


# Drawing


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 2, 3), (0.1, 10), (5,)])
def test_principles_are_drawn_in_proportion_to_their_weights(weights: tuple[float, ...]) -> None:
    counts = Counter(draws(of(*weights)))
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        deviation = (share * (1 - share) / DRAWS) ** 0.5
        assert abs(counts[f"p{number}"] / DRAWS - share) <= 4 * deviation


def test_a_new_principle_changes_only_the_draws_that_it_wins() -> None:
    before, after = draws(of(*[1] * 15)), draws(of(*[1] * 16))
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(changed) == {"p15"}
    assert len(changed) / DRAWS == pytest.approx(1 / 16, abs=0.02)


def test_a_heavier_weight_only_wins_draws() -> None:
    lighter, heavier = draws(of(1, 1, 1)), draws(of(1, 2, 1))
    assert {new for old, new in zip(lighter, heavier, strict=True) if old != new} == {"p1"}


@given(
    order=st.permutations(range(8)),
    left_out=st.integers(0, 7),
    chance=st.text(max_size=20),
    weights=st.lists(st.floats(0.01, 100), min_size=8, max_size=8),
)
def test_a_draw_depends_on_no_order_and_on_no_loser(
    order: list[int], left_out: int, chance: str, weights: list[float]
) -> None:
    rules = of(*weights)
    drawn = rules.draw(chance)
    shuffled = Constitution("c", tuple(rules.principles[number] for number in order))
    assert shuffled.draw(chance) == drawn
    rest = Constitution("c", tuple(rule for n, rule in enumerate(rules.principles) if n != left_out))
    assert drawn.id == f"p{left_out}" or rest.draw(chance) == drawn


def test_a_new_wording_changes_no_draw() -> None:
    reworded = Constitution("c", tuple(Principle(f"p{n}", "another text", judge="?") for n in range(4)))
    assert draws(of(1, 1, 1, 1), 500) == draws(reworded, 500)


def test_draws_of_neighbouring_rows_and_rounds_are_independent() -> None:
    rules = of(1, 1, 1, 1)
    rounds = [[rules.draw(f"7/step/{row}/{round_}").id for row in range(DRAWS)] for round_ in (0, 1)]
    same = sum(one == other for one, other in zip(*rounds, strict=True))
    assert same / DRAWS == pytest.approx(1 / 4, abs=0.035)


def test_a_draw_is_the_same_on_every_machine() -> None:
    names = "".join(draws(of(1, 2, 3, 4), 200))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "0ad67ddd5986197b"
