"""An edited constitution: what is noted in it, what changed, and what it costs, held against a real run."""

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import Make, ReadPipeline, WriteLines
from provider_server import ProviderServer

from synth import assets, cli
from synth.amend.check import check
from synth.amend.cost import Cost, cost
from synth.amend.diff import DRAWS, Draws, diff
from synth.constitution import Constitution, Principle
from synth.errors import UserError
from synth.models.base import Usage
from synth.models.client import totals
from synth.pipeline import Pipeline
from synth.project import Project
from synth.providers.compatible import Compatible
from synth.run import Watch
from synth.store.version import Version

SHIPPED = Path(__file__).parents[1] / "constitutions"


def notes(folder: Path, text: str) -> list[tuple[int, str]]:
    path = folder / "rules.md"
    path.write_text(text, encoding="utf-8")
    return [(note.line, note.message) for note in check(path).notes]


def of(**weights: float) -> Constitution:
    return Constitution(
        "c", tuple(Principle(id_, f"About {id_}.", weight=weight) for id_, weight in weights.items())
    )


# Check


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.md")), ids=lambda path: path.stem)
def test_nothing_is_noted_in_what_is_shipped(path: Path) -> None:
    assert check(path).notes == ()


def test_a_mistake_is_no_note(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rules\.md:3.*'a' is there already"):
        notes(tmp_path, "## a\nText.\n## a\nOther.\n")


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("Give medical advice to anyone.", "Do not give medical advice to anyone.", "with and without 'not'"),
        (
            "Tell jokes about the weather.",
            "Don\u2019t tell jokes about the weather.",
            "with and without 'not'",
        ),
        ("You can mention the price first.", "You cannot mention the price first.", "with and without 'not'"),
        ("Always mention the price of a thing.", "Never mention the price of a thing.", "may contradict"),
        (
            "Give more detail on each point.",
            "Give less detail on each point.",
            "one says 'more' and the other 'less'",
        ),
        ("Write short answers to a customer.", "Write long answers to a customer.", "one says 'long'"),
        ("Be kind to all people here.", "be kind to all people here", "word for word the same as 'one'"),
        (
            "Be kind to all the people you meet here.",
            "Be kind to all the people you meet.",
            "nearly the same",
        ),
    ],
)
def test_contradictions_in_wording_and_near_copies_are_noted(
    tmp_path: Path, one: str, other: str, said: str
) -> None:
    [(line, message)] = notes(tmp_path, f"## one\n{one}\n\n## other\n{other}\n")
    assert line == 4
    assert message.startswith("other: ")
    assert said in message
    assert message.endswith("'one'")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Never lie.", "Be brief."),
        ("Do not give medical advice.", "Do not give away the ending of a film or a book."),
        ("Say more about the causes of a war.", "Use less salt in a soup for children."),
        ("不要撒谎。", "保持友善。"),
    ],
)
def test_what_only_shares_a_word_is_not_noted(tmp_path: Path, one: str, other: str) -> None:
    assert notes(tmp_path, f"## one\n{one}\n\n## other\n{other}\n") == []


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("Text.\nCritic: What is wrong?", "'Critic:' begins no wording; did you mean 'Critique:'?"),
        ("Text.\nRevision: Mend it.", "did you mean 'Revise:'?"),
        ("Text.\nJudge: Which is better?\nWieght: 3", "did you mean 'Weight:'?"),
        ("Text.\nJudge: Which reply is worse?", "judge: asks for what is 'worse'?"),
        ("Text.\nJudge: Which reply is more harmful?", "asks for what is 'more harmful'?"),
        ("Text.\nJudge: Which reply is less helpful?", "asks for what is 'less helpful'?"),
        ("word " * 121, "text: 121 words, more than 120"),
        ("Text.\nCritique: " + "word " * 130, "critique: 130 words"),
        ("…", "text: there is no word in '…'"),
        ("Text.\nWeight: 0.01", "hardly ever drawn"),
        ("Text.\nWeight: 10", "of draws, more than all others together"),
    ],
)
def test_what_is_odd_in_a_principle_is_noted(tmp_path: Path, section: str, said: str) -> None:
    rest = "## first\nNever lie to anyone.\n\n## second\nBe brief and clear.\n\n"
    found = notes(tmp_path, f"{rest}## odd\n{section}\n")
    assert [line for line, _ in found] == [7]
    assert said in found[0][1]


@pytest.mark.parametrize(
    "judge", ["Which is less harmful?", "Which gives less help?", "Which is more helpful?"]
)
def test_a_judge_that_asks_for_the_better_one_is_not_noted(tmp_path: Path, judge: str) -> None:
    assert notes(tmp_path, f"## one\nText.\nJudge: {judge}\n") == []


def test_the_same_wording_for_two_principles_is_noted(tmp_path: Path) -> None:
    same = "Critique: What is wrong here?"
    found = notes(tmp_path, f"## one\nNever lie.\n{same}\n\n## other\nBe brief.\n{same}\n")
    assert found == [(5, "other: critique: word for word that of 'one'")]


def test_wordings_that_a_prompt_must_make_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rules.md"
    path.write_text("## one\nText.\nCritique: Why?\n\n## other\nMore.\nCritique: How?\nJudge: Who?\n")
    assert check(path).derived == {"critique": 0, "revise": 2, "judge": 1}


# Diff


def test_added_removed_and_changed_principles_are_told_with_the_part_that_changed() -> None:
    before = Constitution("a", (Principle("x", "X."), Principle("y", "Y."), Principle("z", "Z.", judge="?")))
    after = Constitution("b", (Principle("w", "W."), Principle("z", "Z!", judge="??"), Principle("y", "Y.")))
    found = diff(before, after)
    assert (found.added, found.removed) == (("w",), ("x",))
    assert found.changed == {"z": ("text", "judge")}


def test_order_title_and_file_name_change_nothing() -> None:
    before = of(a=1, b=2)
    found = diff(before, Constitution("other", before.principles[::-1]))
    assert found.is_same
    assert (found.moved, found.reworded) == (0, 0)


def test_a_new_wording_moves_no_draw_and_is_counted_apart() -> None:
    before = of(a=1, b=1, c=2)
    after = Constitution("c", (*before.principles[:2], Principle("c", "Other words.", weight=2)))
    found = diff(before, after)
    assert (found.moved, found.reworded) == (0, found.draws["c"].before)
    assert found.reworded / DRAWS == pytest.approx(1 / 2, abs=0.02)


def test_a_new_principle_takes_its_share_from_all_others_and_gives_nothing() -> None:
    found = diff(of(a=1, b=1, c=1), of(a=1, b=1, c=1, d=1))
    new = found.draws["d"]
    assert new == Draws(0, found.moved, won=found.moved, lost=0)
    assert found.moved / DRAWS == pytest.approx(1 / 4, abs=0.02)
    assert all(draws.won == 0 for id_, draws in found.draws.items() if id_ != "d")
    assert sum(draws.lost for draws in found.draws.values()) == found.moved


def test_a_heavier_weight_is_a_change_that_moves_draws_and_rewords_none() -> None:
    found = diff(of(a=1, b=1), of(a=3, b=1))
    assert found.changed == {"a": ("weight",)}
    assert (found.draws["a"].lost, found.draws["b"].won, found.reworded) == (0, 0, 0)
    assert found.moved / DRAWS == pytest.approx(1 / 4, abs=0.02)


def test_draws_before_and_after_are_all_of_them() -> None:
    found = diff(of(a=1, b=2, c=3), of(b=1, c=1, d=5))
    for side in ("before", "after"):
        assert sum(getattr(draws, side) for draws in found.draws.values()) == DRAWS
    assert sum(draws.won for draws in found.draws.values()) == found.moved


def test_another_name_for_the_same_words_is_told() -> None:
    before = Constitution("a", (Principle("kind", "Be kind, always."), Principle("y", "Y.")))
    after = Constitution("a", (Principle("be-kind", "Be kind always"), Principle("y", "Y.")))
    assert diff(before, after).renamed == {"kind": "be-kind"}


# Expert checks of Constitutional AI


def test_over_10000_draws_each_of_16_appears_5_to_7_5_percent_independent_and_with_replacement() -> None:
    rules = of(**{f"p{number}": 1 for number in range(16)})
    drawn = [rules.draw(f"7/revise/{row}/{round_}").id for row in range(2_500) for round_ in range(4)]
    counts = Counter(drawn)
    assert len(counts) == 16
    assert all(0.05 <= count / 10_000 <= 0.075 for count in counts.values())
    repeats = sum(len(set(drawn[row : row + 4])) < 4 for row in range(0, 10_000, 4))
    assert repeats / 2_500 == pytest.approx(1 - 15 * 14 * 13 / 16**3, abs=0.03), "33 % of chains repeat one"


PIPELINE = """
name: revised
models:
  writer: {{provider: compatible, model: writer, base_url: {url}/v1}}
  judge: {{provider: compatible, model: judge, base_url: {url}/v1, supports: [logprobs]}}
steps:
  - jsonl: {{path: red}}
  - respond: {{model: writer}}
  - critique_revise: {{model: writer, constitution: mine, rounds: 2}}
  - judge_pairs: {{model: judge, pairs: revision}}
dataset: {{views: [critiques]}}
"""
RULES = "## be-kind\nBe kind.\n\n## be-brief\nBe brief.\n\n## be-true\nSay what is true.\n"


@dataclass
class Revised:
    """A project whose pipeline goes by constitutions/mine.md, and a server that answers it."""

    read: ReadPipeline
    make: Make
    server: ProviderServer
    folder: Path

    @property
    def pipeline(self) -> Pipeline:
        return self.read(PIPELINE.format(url=self.server.url))

    async def run(self) -> tuple[Version, Watch]:
        return await self.make(self.pipeline)

    def edit(self, text: str, name: str = "constitutions/mine.md") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    async def cost(self, before: Path, after: Path) -> Cost:
        return await cost(before, after, self.pipeline, Project(self.folder))


@pytest.fixture
def revised(
    project: Path, write_lines: WriteLines, pipeline: ReadPipeline, make: Make, server: ProviderServer
) -> Revised:
    write_lines("red.jsonl", *({"prompt": f"Tell me about thing {number}."} for number in range(12)))
    ready = Revised(pipeline, make, server, project)
    ready.edit(RULES)
    return ready


async def test_editing_a_principle_changes_the_fingerprint_and_every_row_names_its_principle(
    revised: Revised,
) -> None:
    """And the version names the file by its hash."""
    mine = revised.edit(RULES)
    first, _ = await revised.run()
    assert first.manifest["made_from"]["constitutions/mine.md"] == assets.digest(mine)
    revised.edit(RULES.replace("Be brief.", "Be short."))
    edited, _ = await revised.run()
    assert first.id != edited.id
    assert edited.manifest["made_from"]["constitutions/mine.md"] == assets.digest(mine)
    assert edited.manifest["made_from"] != first.manifest["made_from"]
    for version in (first, edited):
        assert {row["principle"] for row in version.rows("critiques")} == {"be-kind", "be-brief", "be-true"}
    now = {row["id"]: row for row in edited.rows("critiques")}
    untouched = [row for row in first.rows("critiques") if row["principle"] != "be-brief"]
    assert any(now[row["id"]] == row for row in untouched), "what the edit did not touch is as it was"
    revised.edit(RULES)
    again, _ = await revised.run()
    assert again.id == first.id


# Cost


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Be brief.", "Be short."),
        ("## be-true", "## be-fair\nBe fair.\n\n## be-true"),
        ("Be kind.", "Be kind.\nWeight: 3"),
    ],
    ids=["a new wording", "a new principle", "a heavier weight"],
)
async def test_what_an_edit_costs_is_said_without_a_call_and_holds_in_the_run(
    revised: Revised, monkeypatch: pytest.MonkeyPatch, old: str, new: str
) -> None:
    monkeypatch.setattr(Compatible, "price_usd", lambda self, usage: _price(usage))
    await revised.run()
    asked = len(revised.server.bodies)
    after = revised.edit(RULES.replace(old, new), "edited.md")
    said = await revised.cost(revised.folder / "constitutions" / "mine.md", after)
    assert len(revised.server.bodies) == asked

    revised.edit(RULES.replace(old, new))
    _, watch = await revised.run()
    bought = totals(watch.tallies)
    assert bought.bought == len(revised.server.bodies) - asked > 0
    certain, about = (sum(getattr(step, name) for step in said.steps) for name in ("certain", "about"))
    assert 0 < certain <= bought.bought <= about <= 1.25 * bought.bought
    assert sum(step.usd or 0 for step in said.steps) == pytest.approx(bought.usd, rel=0.35)
    [revision] = [step for step in said.steps if step.step == "critique_revise"]
    assert said.touched == {"critique_revise": (revision.certain, 12)}
    assert (said.goes_by, said.was_complete) == (("critique_revise",), True)


def _price(usage: Usage) -> float:
    return (usage.prompt + usage.completion) / 1000


async def test_an_edit_of_the_title_alone_costs_nothing(revised: Revised) -> None:
    await revised.run()
    after = revised.edit(f"# A title\n\nProse.\n\n{RULES}", "edited.md")
    said = await revised.cost(revised.folder / "constitutions" / "mine.md", after)
    assert {(step.certain, step.about, step.usd) for step in said.steps} == {(0, 0, 0.0)}
    assert said.touched == {}


async def test_a_pipeline_that_never_ran_is_said_not_to_be_complete_and_has_no_price(
    revised: Revised,
) -> None:
    mine = revised.edit(RULES)
    said = await revised.cost(mine, mine)
    assert not said.was_complete
    assert revised.server.bodies == []
    assert all(step.usd is None and step.about > 0 for step in said.steps)


async def test_an_old_constitution_may_lie_outside_the_project(
    revised: Revised, tmp_path_factory: pytest.TempPathFactory
) -> None:
    await revised.run()
    old = tmp_path_factory.mktemp("elsewhere") / "old.md"
    revised.edit(RULES, str(old))
    mine = revised.edit(RULES.replace("Be brief.", "Be short."))
    said = await revised.cost(old, mine)
    assert said.was_complete
    assert sum(step.certain for step in said.steps) > 0
    assert not any(path.name.startswith("amend-") for path in revised.folder.rglob("*"))


async def test_a_pipeline_that_goes_by_neither_is_a_mistake(revised: Revised) -> None:
    other = SHIPPED / "honest.md"
    with pytest.raises(UserError, match=r"no step of .* goes by .*honest"):
        await revised.cost(other, other)


# The command line


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["synth", *arguments])
    return cli.main()


def test_check_leaves_with_2_on_mistakes_and_with_0_on_notes(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "good.md").write_text("## a\nBe kind.\n\n## b\nBe kind.\n", encoding="utf-8")
    (project / "bad.md").write_text("## a\n\n## A b\nBe kind.\n", encoding="utf-8")
    assert call(monkeypatch, "constitution", "check", "good.md") == 0
    assert "good.md:4 b: word for word the same as 'a'" in capsys.readouterr().out
    assert call(monkeypatch, "constitution", "check", "bad.md") == 2
    said = capsys.readouterr().err
    assert "bad.md:1  principle 'a' has no text" in said
    assert "bad.md:3  principle id 'A b'" in said
    assert call(monkeypatch, "constitution", "check", "harmles") == 2
    assert "Did you mean 'harmless'?" in capsys.readouterr().err


def test_diff_and_cost_say_what_they_found(
    revised: Revised, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert revised.pipeline.path == Path("pipeline.yaml").absolute()
    revised.edit(f"{RULES}\n## be-fair\nBe fair.\n", "new.md")
    assert call(monkeypatch, "constitution", "diff", "mine", "new.md") == 0
    said = capsys.readouterr().out
    assert "added    be-fair" in said
    assert "fall on another principle than before" in said
    assert call(monkeypatch, "constitution", "cost", "mine", "new.md", "--pipeline", "pipeline.yaml") == 0
    said = capsys.readouterr().out
    assert "run the pipeline first" in said
    assert "No call was made to say so." in " ".join(said.split())
    assert call(monkeypatch, "constitution", "diff", "mine", "mine") == 0
    assert "nothing changed" in capsys.readouterr().out
    assert revised.server.bodies == []


def test_what_a_file_holds_never_reaches_the_terminal_as_it_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = (
        "## one\nBe kind.\nJudge: more \x1b[31mharmful, or worse?\n\n## two\nJudge\x1b[31m: [bold]x[/bold]\n"
    )
    (project / "mine.md").write_text(evil, encoding="utf-8")
    assert call(monkeypatch, "constitution", "check", "mine.md") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_json_constitution_is_found_by_its_name_and_checked(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "constitutions").mkdir()
    path = project / "constitutions" / "mine.json"
    path.write_text('["Be kind.", "Be brief.", "be kind"]', encoding="utf-8")
    assert call(monkeypatch, "constitution", "check", "mine") == 2
    assert "principle 'be-kind' is there already" in capsys.readouterr().err
    path.write_text('["Be kind.", "Be brief."]', encoding="utf-8")
    assert call(monkeypatch, "constitution", "check", "mine") == 0
    assert "2 principles: no mistake found" in capsys.readouterr().out
