"""A step of somebody else's: one file and one prompt folder in a project, and no list is edited."""

import sys
from pathlib import Path

import pytest
from conftest import Asked, Make, ReadPipeline, WriteLines

from synth import registry
from synth.errors import StorageError, UserError
from synth.step import Step

SHOUT = '''
"""Shout: an answer in capitals, with what a model says of it."""

from collections.abc import AsyncGenerator
from pathlib import Path

from synth.rows import Answer, Message, Row
from synth.step import Bench, Each, ModelName

Path("imported").touch()


class Shout(Each):
    """Add a louder answer. Needs: a row with an answer. Gives: one more. Costs: 1 call."""

    model: ModelName
    marks: int = 1

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        question = bench.prompt("shout/ask.md").fill(text=row.answers[-1].text)
        reply = await bench.model(self.model).ask([Message("user", question)])
        louder = reply.text.upper() + "!" * self.marks
        yield row.answered(Answer(louder, bench.step, parent=0, calls=(reply.key,)))
'''
PROMPT = "Say this louder:\n\n{{ text | fence }}\n"


def text(step: str) -> str:
    return f"""
name: loud
models: {{m: {{provider: scripted}}}}
steps:
  - jsonl: {{path: prompts}}
  - respond: {{model: m}}
  - {step}: {{model: m, marks: 3}}
dataset: {{views: [sft]}}
"""


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins are gone when the test is over."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())


def plugin(project: Path, package: str, code: str = SHOUT) -> str:
    """A plugin in `project`; its dotted name."""
    (project / package).mkdir()
    (project / package / "shout.py").write_text(code, encoding="utf-8")
    (project / "prompts" / "shout").mkdir(parents=True)
    (project / "prompts" / "shout" / "ask.md").write_text(PROMPT, encoding="utf-8")
    return f"{package}.shout"


async def test_a_step_of_one_file_and_one_prompt_folder_runs_through(
    project: Path, pipeline: ReadPipeline, make: Make, asked: Asked, write_lines: WriteLines
) -> None:
    name = plugin(project, "my_steps")
    write_lines("prompts.jsonl", {"prompt": "Greet me."})
    asked.answers = lambda request: "hello" if "louder" not in request.messages[-1].content else "hello hello"
    version, watch = await make(pipeline(text(name), allow_code=True))
    [line] = version.rows("sft")
    assert line["completion"] == [{"role": "assistant", "content": "HELLO HELLO!!!"}]
    assert watch.accounts["shout"].continued == 1
    assert asked.requests[-1].messages[-1].content.startswith("Say this louder:\n\n[begin ")


async def test_the_steps_of_a_plugin_are_checked_like_ours(project: Path, pipeline: ReadPipeline) -> None:
    name = plugin(project, "checked_steps")
    (project / "prompts.jsonl").write_text('{"prompt": "Hi"}\n')
    with pytest.raises(UserError, match=r"unknown key 'mraks'. Did you mean 'marks'"):
        pipeline(text(name).replace("marks", "mraks"), allow_code=True)


def test_code_is_not_run_unless_that_is_allowed(
    project: Path, pipeline: ReadPipeline, write_lines: WriteLines
) -> None:
    name = plugin(project, "refused_steps")
    write_lines("prompts.jsonl", {"prompt": "Hi"})
    with pytest.raises(UserError) as caught:
        pipeline(text(name))
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == (7, 5)
    assert problem.message == f"{name!r} is Python code of yours; run it with --allow-code if you trust it"
    assert not (project / "imported").exists()


@pytest.mark.parametrize(
    "name", ["os.path", "elsewhere.shout", "..elsewhere.shout", "linked.shout", "a..b", "."]
)
def test_a_module_outside_the_project_is_refused(
    project: Path, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    elsewhere = tmp_path_factory.mktemp("outside") / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "shout.py").write_text(SHOUT)
    (project / "linked").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"no module .* inside the project folder"):
        registry.find(Step, name, registry.STEPS, project)
    assert not (project / "imported").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "must define exactly one Step, it defines 0"),
        (f"{SHOUT}\n\nclass Twice(Shout):\n    pass\n", "must define exactly one Step, it defines 2"),
        ("def broken(:\n", "shout"),
        ("import a_module_that_nobody_has\n", "a_module_that_nobody_has"),
        ("1 / 0\n", "division by zero"),
    ],
    ids=["empty", "two steps", "no Python", "missing import", "fails"],
)
def test_a_plugin_that_is_no_step_is_told_with_its_place(
    project: Path,
    pipeline: ReadPipeline,
    write_lines: WriteLines,
    code: str,
    said: str,
    request: pytest.FixtureRequest,
) -> None:
    name = plugin(project, f"wrong_{request.node.callspec.id.replace(' ', '_')}", code)
    write_lines("prompts.jsonl", {"prompt": "Hi"})
    with pytest.raises(UserError, match=said) as caught:
        pipeline(text(name), allow_code=True)
    assert caught.value.problems[0].line == 7


def test_ours_wins_over_a_dotted_name_s_last_part(project: Path) -> None:
    plugin(project, "respond_too")
    assert registry.find(Step, "respond", registry.STEPS, project).__module__ == "synth.methods.respond"


SHORTEST = '''
from collections.abc import AsyncGenerator

from synth.rows import Row
from synth.spool import Spool
from synth.step import Bench, Whole


class Shortest(Whole):
    """Keep the two rows with the shortest prompts."""

    async def whole(self, rows: Spool, bench: Bench) -> AsyncGenerator[Row]:
        kept = {row.id for row in sorted(rows, key=lambda row: len(row.prompt[-1].content))[:2]}
        for row in rows:
            if row.id in kept:
                yield row
            else:
                bench.journal.filtered(bench.step, row.id, "longer")
'''
TWICE = '''
from collections.abc import AsyncGenerator

from synth.rows import Row
from synth.step import Bench, Each


class Twice(Each):
    """Give every row twice, under one id: a mistake."""

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        yield row
        yield row
'''


async def test_a_step_that_needs_all_rows_gets_them_sorted_and_accounts_for_each(
    project: Path, pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    (project / "mine").mkdir()
    (project / "mine" / "shortest.py").write_text(SHORTEST, encoding="utf-8")
    write_lines("prompts.jsonl", *({"prompt": "word " * number} for number in (3, 1, 4, 2)))
    text = "name: p\nmodels: {m: {provider: scripted}}\nsteps:\n  - jsonl: {path: prompts}\n"
    version, watch = await make(
        pipeline(text + "  - mine.shortest\ndataset: {views: [instructions]}\n", allow_code=True)
    )
    kept = sorted(row["instruction"].count("word") for row in version.rows("instructions"))
    assert kept == [1, 2]
    account = watch.accounts["shortest"]
    assert (account.rows, account.continued, account.filtered) == (4, 2, {"longer": 2})


async def test_a_step_that_gives_two_rows_one_id_is_named(
    project: Path, pipeline: ReadPipeline, make: Make, write_lines: WriteLines
) -> None:
    (project / "ours").mkdir()
    (project / "ours" / "twice.py").write_text(TWICE, encoding="utf-8")
    write_lines("prompts.jsonl", {"prompt": "Hi"})
    text = "name: p\nmodels: {m: {provider: scripted}}\nsteps:\n  - jsonl: {path: prompts}\n  - ours.twice\n"
    with pytest.raises(StorageError, match="one id"):
        await make(pipeline(text + "  - length\ndataset: {views: [instructions]}\n", allow_code=True))
