"""The verbs of the ledger: what a person sees of it, drops from it, and carries elsewhere."""

import asyncio
import shutil
import sqlite3
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from synth import cli
from synth.errors import BadRequest, RowError
from synth.models.base import Reply, Request, Token, Usage, key_of
from synth.models.ledger import Ledger, Outcome
from synth.models.ledger_file import ADD, reading
from synth.project import Project
from synth.records import counts as counting
from synth.records.transfer import Merged, export, merge, records
from synth.rows import Message

Synth = Callable[..., int]


def asked(text: str, model: str = "large", **fields: object) -> Request:
    return Request("https://api.example", model, (Message("user", text),), **fields)  # type: ignore[arg-type]


def replied(request: Request, text: str = "Hello.", **about: object) -> Outcome:
    reply = Reply(text, usage=Usage(10, 5, 2), model=f"{request.model}-0613", response_id="resp-1")
    return Outcome(request.key, request.as_json(), reply=reply, usd=0.25, **about)  # type: ignore[arg-type]


def failed(request: Request, error: RowError | None = None) -> Outcome:
    error = error or BadRequest("too long", hint="shorten it")
    return Outcome(request.key, request.as_json(), error=error)


def record(project: Path, *outcomes: Outcome) -> None:
    async def write() -> None:
        with closing(Ledger(Project(project).ledger)) as ledger:
            await asyncio.gather(*(ledger.record(outcome) for outcome in outcomes))

    asyncio.run(write())


def edit(project: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(Project(project).ledger, isolation_level=None)) as db:
        db.execute(statement, values)


def keys(project: Path) -> list[str]:
    with closing(Ledger(Project(project).ledger)) as ledger:
        return [outcome.key for outcome in ledger]


@pytest.fixture
def synth(project: Path, monkeypatch: pytest.MonkeyPatch) -> Synth:
    """``python -m synth ledger`` with arguments, in this process; returns the exit code."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["synth", "ledger", *arguments])
        return cli.main()

    return call


# ls


def test_calls_are_counted_by_model_and_kind_with_what_they_cost(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(
        project,
        *(replied(asked(f"q{n}")) for n in range(3)),
        failed(asked("q", "small")),
        replied(asked("free", "small", kind="complete")),
    )
    edit(project, "UPDATE outcomes SET usd = NULL WHERE CAST(request AS TEXT) LIKE '%complete%'")
    edit(project, "UPDATE outcomes SET at = '2020-05-06T07:08:09.000+00:00' WHERE failed = 1")
    assert synth("ls") == 0
    lines = capsys.readouterr().out.splitlines()
    today = next(line for line in lines if line.startswith("large")).split()[-1]
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        f"large https://api.example chat 3 0 30 15 0.7500 {today} {today}",
        "small https://api.example chat 0 1 0 0 0.0000 2020-05-06 2020-05-06",
        f"small https://api.example complete 1 0 10 5 0.0000 + {today} {today}",
    ]
    assert lines[4].startswith("4 replies, 1 failures; $0.75; ")
    assert lines[5] == "+ 1 replies have no known price."


def test_a_list_can_be_of_one_model_of_failures_and_of_late_calls(project: Path) -> None:
    record(project, replied(asked("one")), failed(asked("two")), failed(asked("three", "small")))
    edit(project, "UPDATE outcomes SET at = '2020-05-06T00:00:00.000+00:00' WHERE key = ?", asked("two").key)
    with reading(Project(project).ledger) as db:

        def names(**which: object) -> list[tuple[str, int, int]]:
            found = counting.counted(db, **which)  # type: ignore[arg-type]
            return sorted((asked.model, each.replies, each.failed) for asked, each in found.asked.items())

        assert names() == [("large", 1, 1), ("small", 0, 1)]
        assert names(model="small") == [("small", 0, 1)]
        assert names(failed=True) == [("large", 0, 1), ("small", 0, 1)]
        assert names(since="2021") == [("large", 1, 0), ("small", 0, 1)]


def test_a_date_that_is_none_is_a_mistake_of_the_command_line(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, replied(asked("one")))
    assert synth("ls", "--since", "yesterday") == 2
    assert "--since: expected a date such as 2026-11-25, found 'yesterday'" in capsys.readouterr().err
    assert synth("prune", "--before", "2026-13-01") == 2


@pytest.mark.parametrize("verb", ["ls", "verify", "prune", "show x", "export out.jsonl"])
def test_where_no_ledger_is_none_is_made(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert synth(*verb.split()) == 2
    assert "there is no ledger here" in capsys.readouterr().err
    assert not list(project.iterdir())


# show


def test_a_call_is_shown_as_a_person_reads_it(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = Request(
        "https://api.example",
        "large",
        (Message("system", "Be brief."), Message("user", "First line.\n\tSecond line.")),
        temperature=0.7,
        stop=("\n\n",),
    )
    record(project, replied(request, "Sure.\nDone.", attempts=("503: overloaded",), latency_s=1.5))
    assert synth("show", request.key[:8]) == 0
    shown = capsys.readouterr().out
    for said in (
        f"key          {request.key}",
        "temperature 0.7",
        "── system\nBe brief.\n",
        "── user\nFirst line.\n    Second line.\n",
        "── reply\nSure.\nDone.\n",
        "answered by  large-0613",
        "response id  resp-1",
        "tokens       10 in (2 from a cache), 5 out",
        "took         1.500 s",
        "cost         $0.250000",
        "attempts     2\n  1  503: overloaded",
    ):
        assert said in shown


def test_nothing_that_a_model_wrote_is_obeyed_by_the_terminal(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x1b]0;title\x07 [bold]loud[/bold] \u202egnp.exe\r\x9b31m"
    record(
        project, replied(asked(evil), evil, attempts=(evil,)), failed(asked("q"), BadRequest(evil, hint=evil))
    )
    for request in (asked(evil), asked("q")):
        assert synth("show", request.key) == 0
        shown = capsys.readouterr().out
        assert not any(sign in shown for sign in "\x1b\x07\u202e\r\x9b")
        assert "[bold]loud[/bold]" in shown


def test_a_failure_is_shown_with_what_to_do_and_so_is_one_that_was_set_aside(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, failed(asked("q")))
    assert synth("show", asked("q").key) == 0
    shown = capsys.readouterr().out
    assert "── failed: BadRequest\ntoo long\n" in shown
    assert "hint         shorten it" in shown
    with closing(Ledger(Project(project).ledger)) as ledger:
        ledger.supersede_failures([asked("q").key])
    assert synth("show", asked("q").key) == 0
    assert "set aside since: it is asked again" in capsys.readouterr().out
    record(project, replied(asked("q")))
    assert synth("show", asked("q").key) == 0
    shown = capsys.readouterr().out
    assert "── reply\nHello." in shown
    assert "set aside" in shown
    assert "too long" in shown


def test_a_beginning_that_fits_several_keys_or_none_is_told(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, *(replied(asked(f"q{n}")) for n in range(40)))
    assert synth("show", "") == 2
    assert "several keys begin with ''" in capsys.readouterr().err
    assert synth("show", "xyz") == 2
    assert "no call's key begins with 'xyz'" in capsys.readouterr().err


# verify


def test_a_sound_ledger_is_said_to_be_sound(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = (Token("a", -0.5, {"a": -0.5, "b": -1.0}),)
    logprobs = Outcome(asked("l").key, asked("l").as_json(), reply=Reply("a", tokens=tokens))
    record(project, replied(asked("one")), failed(asked("two")), logprobs)
    with closing(Ledger(Project(project).ledger)) as ledger:
        ledger.supersede_failures([asked("two").key])
    assert synth("verify") == 0
    assert "3 records, all sound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("request = replace(request, 'one', 'uno')", "it has not the columns of a record"),
        ("request = CAST(replace(request, 'one', 'uno') AS BLOB)", "its key is not the SHA-256 of its"),
        ('outcome = CAST(\'{"text":"half\' AS BLOB)', "does not read back"),
        ('outcome = CAST(\'{"text":"a","tokens":[{"text":"a","logprob":1e999}]}\' AS BLOB)', "infinite"),
        ("failed = 1", "does not read back"),
        ("failed = 7", "whether it failed is 7"),
        ("attempts = CAST('3' AS BLOB)", "does not read back"),
        ("at = 'noon'", "its time is 'noon'"),
        ("usd = 'much'", "it has not the columns of a record"),
        ("latency_s = 9e999", "infinite"),
    ],
)
def test_a_record_that_is_not_sound_is_named(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    record(project, replied(asked("one")), replied(asked("two")))
    edit(project, f"UPDATE outcomes SET {change} WHERE key = ?", asked("one").key)
    assert synth("verify") == 5
    shown = capsys.readouterr()
    assert f"record   {asked('one').key}: " in shown.out
    assert asked("two").key not in shown.out
    assert said in shown.out
    assert "1 of 2 records are not sound" in shown.err
    assert "python -m synth ledger salvage" in shown.err


def test_broken_pages_are_named_and_end_with_the_code_of_storage(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, *(replied(asked(f"q{n}"), "x" * 2000) for n in range(40)))
    with Project(project).ledger.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xa5" * 4096)
    assert synth("verify") == 5
    shown = capsys.readouterr()
    assert "page     " in shown.out
    assert "python -m synth ledger salvage" in shown.err


# prune


def test_only_what_was_set_aside_is_dropped_and_not_before_yes_is_said(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, replied(asked("r")), *(failed(asked(f"f{n}")) for n in range(3)))
    with closing(Ledger(Project(project).ledger)) as ledger:
        ledger.supersede_failures([asked("f0").key, asked("f1").key])
    assert synth("prune") == 0
    assert "2 failures set aside, 0 others to drop" in capsys.readouterr().out
    assert synth("ls") == 0
    assert "2 failures set aside" in capsys.readouterr().out
    assert synth("prune", "--yes") == 0
    assert "dropped 2" in capsys.readouterr().out
    assert keys(project) == sorted([asked("r").key, asked("f2").key])
    assert synth("prune", "--failed", "--yes") == 0
    assert keys(project) == [asked("r").key]
    assert synth("verify") == 0


def test_what_is_younger_than_a_date_is_not_dropped(synth: Synth, project: Path) -> None:
    record(project, *(failed(asked(f"f{n}")) for n in range(3)))
    edit(project, "UPDATE outcomes SET at = '2020-01-01T12:00:00.000+00:00' WHERE key = ?", asked("f0").key)
    edit(project, "UPDATE outcomes SET at = '2020-01-02T12:00:00.000+00:00' WHERE key = ?", asked("f1").key)
    assert synth("prune", "--failed", "--before", "2020-01-02", "--yes") == 0
    assert keys(project) == sorted([asked("f1").key, asked("f2").key])
    assert synth("prune", "--failed", "--before", "2020-01-02T14:00:00+01:00", "--yes") == 0
    assert keys(project) == [asked("f2").key]


def test_pruning_the_newest_record_is_no_damage(synth: Synth, project: Path) -> None:
    record(project, replied(asked("r")))
    record(project, failed(asked("f")))
    assert synth("prune", "--failed", "--yes") == 0
    assert keys(project) == [asked("r").key]


# export and import


def test_what_is_exported_and_imported_is_the_same_ledger(
    synth: Synth, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = Outcome(asked("odd").key, asked("odd").as_json(), reply=Reply("\x00 \u2028 é 𝄞"), usd=1e-17)
    spaced = b'{"endpoint": "e", "model": "m", "kind": "chat", "scheme": 2}'
    theirs = Outcome(counting_key(spaced), spaced, reply=Reply("x"), latency_s=2.0)
    record(project, replied(asked("one"), attempts=("a", "b")), failed(asked("two")), odd, theirs)
    assert synth("export", "out.jsonl") == 0
    lines = [orjson.loads(line) for line in (project / "out.jsonl").read_bytes().splitlines()]
    assert [line["key"] for line in lines] == sorted(line["key"] for line in lines)
    [one] = [line for line in lines if line["key"] == asked("one").key]
    assert one["request"]["messages"] == [{"role": "user", "content": "one"}]
    assert one["outcome"]["text"] == "Hello."

    (project / "other").mkdir()
    monkeypatch.chdir(project / "other")
    assert synth("import", "../out.jsonl") == 0
    with (
        closing(Ledger(Project(project).ledger)) as ours,
        closing(Ledger(Project(project / "other").ledger)) as copied,
    ):
        for mine, other in zip(ours, copied, strict=True):
            assert (mine.key, mine.request, mine.reply, str(mine.error)) == (
                other.key,
                other.request,
                other.reply,
                str(other.error),
            )
            assert (mine.attempts, mine.latency_s, mine.usd, mine.at) == (
                other.attempts,
                other.latency_s,
                other.usd,
                other.at,
            )
    assert synth("export", "again.jsonl") == 0
    assert (project / "other" / "again.jsonl").read_bytes() == (project / "out.jsonl").read_bytes()


def counting_key(request: bytes) -> str:
    from synth.models.base import key_of

    return key_of(request)


def test_an_export_writes_over_nothing_and_is_for_the_owner_alone(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, replied(asked("one")))
    (project / "mine.jsonl").write_text("precious")
    assert synth("export", "mine.jsonl") == 2
    assert "is there already" in capsys.readouterr().err
    assert (project / "mine.jsonl").read_text() == "precious"
    assert synth("export", "new.jsonl") == 0
    if sys.platform != "win32":
        assert (project / "new.jsonl").stat().st_mode & 0o777 == 0o600
    assert synth("export", "no/such/folder.jsonl") == 5


def test_a_record_that_is_not_sound_is_left_out_of_an_export_and_told(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project, replied(asked("one")), replied(asked("two")))
    edit(project, "UPDATE outcomes SET outcome = CAST('{' AS BLOB) WHERE key = ?", asked("one").key)
    assert synth("export", "out.jsonl") == 5
    assert "1 records are not sound, and not in out.jsonl" in capsys.readouterr().err
    assert len((project / "out.jsonl").read_bytes().splitlines()) == 1


def test_of_another_ledger_what_is_new_is_added_and_what_is_here_stays(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = project / "theirs"
    record(theirs, replied(asked("both")), replied(asked("new")), replied(asked("differs"), "Theirs."))
    shutil.copy(Project(theirs).ledger, project / "theirs.sqlite")
    record(project, replied(asked("both")), replied(asked("differs"), "Ours."), replied(asked("ours")))
    assert synth("import", "theirs.sqlite") == 0
    counts = "1 new, 1 known, 1 conflicting (what was here stays), 0 refused"
    assert counts in capsys.readouterr().out
    with closing(Ledger(Project(project).ledger)) as ledger:
        assert ledger.find(asked("differs").key).result().text == "Ours."  # type: ignore[union-attr]
        assert len(list(ledger)) == 4
    assert synth("import", "theirs.sqlite") == 0
    assert "0 new, 2 known, 1 conflicting" in capsys.readouterr().out


def test_a_record_whose_key_is_not_the_hash_of_its_request_is_refused_and_the_rest_is_taken(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = project / "theirs"
    record(theirs, replied(asked("good")), replied(asked("forged")))
    edit(theirs, "UPDATE outcomes SET key = ? WHERE key = ?", asked("other").key, asked("forged").key)
    assert synth("import", str(Project(theirs).ledger)) == 2
    shown = capsys.readouterr()
    assert "1 new, 0 known, 0 conflicting (what was here stays), 1 refused" in shown.out
    assert f"{asked('other').key}: its key is not the SHA-256 of its request" in shown.err
    assert keys(project) == [asked("good").key]


def test_lines_that_are_no_records_are_refused_with_their_number(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(project / "theirs", replied(asked("good")))
    with reading(Project(project / "theirs").ledger) as db:
        export(db, project / "good.jsonl")
    good = (project / "good.jsonl").read_bytes()
    forged = good.replace(b'"content":"good"', b'"content":"evil"')
    hostile = b'{"error":"__import__","message":"m","hint":"h"}'
    failing = orjson.loads(good) | {"failed": True, "outcome": orjson.loads(hostile)}
    lines = [b"[]\n", b"{\n", forged, b'{"key":1}\n', good, b"\xff\n", orjson.dumps(failing) + b"\n"]
    (project / "mixed.jsonl").write_bytes(b"".join(lines))
    assert synth("import", "mixed.jsonl") == 2
    shown = capsys.readouterr()
    assert "1 new, 0 known, 1 conflicting (what was here stays), 5 refused" in shown.out
    for number in (1, 2, 3, 4, 6):
        assert f"mixed.jsonl:{number}  " in shown.err
    assert keys(project) == [asked("good").key]
    assert synth("import", "nowhere.jsonl") == 2
    assert synth("verify") == 0


@pytest.mark.parametrize(
    ("request_", "attempts"),
    [
        ({"messages": ["Hi."]}, []),
        ({"messages": None}, []),
        (["Hi."], []),
        ({"messages": []}, [1]),
        ({"messages": []}, "busy"),
    ],
)
def test_a_record_that_could_not_be_shown_is_not_taken_though_its_key_fits(
    synth: Synth, project: Path, capsys: pytest.CaptureFixture[str], request_: object, attempts: object
) -> None:
    written = orjson.dumps(request_)
    line = {"key": key_of(written), "failed": False, "request": request_, "outcome": {"text": "Hi."}}
    line |= {"attempts": attempts, "latency_s": 0.5, "usd": None, "at": "2026-11-25T00:00:00.000+00:00"}
    (project / "odd.jsonl").write_bytes(orjson.dumps(line))
    assert synth("import", "odd.jsonl") == 2
    assert "0 new, 0 known, 0 conflicting (what was here stays), 1 refused" in capsys.readouterr().out
    assert keys(project) == []


def test_carrying_a_large_ledger_takes_little_memory(project: Path) -> None:
    count, text = 1000, "x" * 10_000
    record(project, replied(asked("first")))
    with reading(Project(project).ledger, writing=True) as db:
        db.execute("BEGIN")
        for n in range(count):
            request = asked(f"q{n}")
            body = orjson.dumps(Reply(f"{n} {text}"))
            row = (request.key, 0, request.as_json(), body, b"[]", 0.5, None, "2026-01-01T00:00:00+00:00")
            db.execute(ADD, row)
        db.execute("COMMIT")
    record(project / "other", replied(asked("first")))
    tracemalloc.start()
    with reading(Project(project).ledger) as db:
        export(db, project / "out.jsonl")
    merged = Merged()
    with reading(Project(project / "other").ledger, writing=True) as db:
        merge(db, records(project / "out.jsonl"), merged)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (merged.new, merged.known, merged.conflicting) == (count, 1, 0)
    assert (project / "out.jsonl").stat().st_size > 10_000_000
    assert peak < 3_000_000
