"""A damaged ledger is replaced by one with all that still reads, and is kept; nothing is made up."""

import asyncio
import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth import cli
from synth.errors import BadRequest, StorageError, SynthError, UserError
from synth.models.base import Reply, Request, Usage
from synth.models.ledger import Ledger, Outcome
from synth.models.ledger_file import COLUMNS, beside, reading
from synth.project import Project
from synth.records.pages import opened
from synth.records.salvage import Salvaged, salvage
from synth.rows import Message

PAGE = 4096
LENGTHS = (0, 100, 700, 900, 1000, 1100, 3000, 4060, 4100, 9000, 30_000)


def outcome(number: int, length: int) -> Outcome:
    request = Request("https://api.example", "large", (Message("user", f"q{number} " + "y" * (length // 3)),))
    reply = Reply(f"{number} é " + "x" * length, usage=Usage(number, 3), model="large")
    return Outcome(request.key, request.as_json(), reply=reply, usd=None if number % 3 else float(number))


def failure(number: int) -> Outcome:
    return replace(outcome(number, 50), reply=None, error=BadRequest("too long", hint="shorten"))


def record(path: Path, outcomes: Sequence[Outcome]) -> None:
    async def write() -> None:
        with closing(Ledger(path)) as ledger:
            await asyncio.gather(*(ledger.record(each) for each in outcomes))

    asyncio.run(write())


def several(count: int) -> list[Outcome]:
    return [outcome(number, LENGTHS[number % len(LENGTHS)]) for number in range(count)]


def kept(path: Path) -> dict[str, tuple[object, ...]]:
    """All that a ledger holds, by key."""
    with reading(path) as db:
        return {row[0]: row for row in db.execute(f"SELECT {COLUMNS} FROM outcomes")}


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_at(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


def pages_of(path: Path, kind: int) -> list[int]:
    """Where the pages begin that are of a `kind`: 10 for leaves of outcomes, 2 for what is above them."""
    content = path.read_bytes()
    return [place for place in range(PAGE, len(content), PAGE) if content[place] == kind]


@pytest.fixture
def ledger(project: Path) -> Path:
    """Where the project's ledger is; it holds 200 records of many lengths."""
    path = Project(project).ledger
    record(path, several(200))
    return path


@pytest.fixture
def synth(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``python -m synth ledger``, in this process; returns the exit code."""

    def call(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["synth", "ledger", *arguments])
        return cli.main()

    return call


# Damage, and what is saved


def a_page_of_records(path: Path) -> None:
    write_at(path, pages_of(path, 10)[5], b"\xa5" * PAGE)


def the_pages_above_them(path: Path) -> None:
    for place in pages_of(path, 2):
        write_at(path, place, bytes(PAGE))


def the_first_page(path: Path) -> None:
    write_at(path, 0, bytes(PAGE))


def the_second_half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def the_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")


def one_record(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        key = several(1)[0].key
        db.execute("UPDATE outcomes SET outcome = CAST('{' AS BLOB) WHERE key = ?", (key,))


@pytest.mark.parametrize(
    ("damage", "most_lost"),
    [
        (a_page_of_records, 12),
        (the_pages_above_them, 40),
        (the_first_page, 0),
        (the_second_half, 145),
        (the_version, 0),
        (one_record, 1),
    ],
)
def test_all_that_still_reads_is_saved_as_it_was_and_the_damaged_ledger_is_kept(
    ledger: Path,
    synth: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    most_lost: int,
) -> None:
    before = kept(ledger)
    damage(ledger)
    damaged = sha(ledger)
    assert synth("verify") == 5
    assert "python -m synth ledger salvage" in capsys.readouterr().err
    assert sha(ledger) == damaged
    assert synth("salvage") == 0
    said = capsys.readouterr().out
    after = kept(ledger)
    assert after.items() <= before.items()
    assert len(before) - len(after) <= most_lost
    assert f"saved {len(after)} replies, 0 failures" in said
    assert ("lost" in said.split("no trace")[0]) == (len(after) < len(before))
    [aside] = ledger.parent.glob("ledger.damaged-*.sqlite")
    assert sha(aside) == damaged
    assert str(aside) in said.replace("\n", "")
    assert synth("verify") == 0
    if sys.platform != "win32":
        assert ledger.stat().st_mode & 0o777 == 0o600


def test_a_run_on_a_damaged_ledger_stops_with_the_code_of_storage_and_after_the_salvage_it_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "name: n\nmodels: {m: {provider: scripted}}\nsteps: [self_instruct: {model: m, count: 3}]\n"
    (project / "n.yaml").write_text(text)
    path = Project(project).ledger

    def synth(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["synth", *arguments])
        return cli.main()

    assert synth("run", "n.yaml") == 0
    write_at(path, pages_of(path, 10)[0], b"\xa5" * PAGE)
    damaged = sha(path)
    assert synth("run", "n.yaml") == 5
    assert "python -m synth ledger salvage" in capsys.readouterr().err
    assert sha(path) == damaged
    assert synth("ledger", "salvage") == 0
    assert synth("run", "n.yaml") == 0


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(5000)])
def test_of_a_foreign_file_nothing_is_saved_and_that_is_said(
    project: Path, synth: Callable[..., int], capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = Project(project).ledger
    record(path, several(3))
    path.write_bytes(content)
    assert synth("salvage") == 0
    said = capsys.readouterr().out
    assert "saved 0 replies, 0 failures" in said
    assert "lost the newest record, " in said
    [aside] = path.parent.glob("ledger.damaged-*.sqlite")
    assert aside.read_bytes() == content
    assert kept(path) == {}


def test_a_sound_ledger_is_left_as_it_is(
    ledger: Path, synth: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sha(ledger)
    assert synth("salvage") == 0
    assert "is sound; there is nothing to save" in capsys.readouterr().out
    assert sha(ledger) == before
    assert not list(ledger.parent.glob("*damaged*"))


def test_where_there_is_no_ledger_none_is_made(project: Path, synth: Callable[..., int]) -> None:
    assert synth("salvage") == 1
    assert not Project(project).ledger.exists()


def test_nothing_is_moved_aside_from_under_a_run(
    project: Path, ledger: Path, synth: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    the_first_page(ledger)
    before = sha(ledger)
    with Project(project).lock("busy"):
        assert synth("salvage") == 2
    assert "another run of the pipeline 'busy' is going on" in capsys.readouterr().err
    assert sha(ledger) == before


# What stands in the write-ahead log


def killed(path: Path, numbers: range) -> None:
    """A process that records outcomes, each in a commit of its own, and is killed."""
    script = (
        "import asyncio, os, sys, pathlib, signal\n"
        "from test_salvage import outcome, LENGTHS\n"
        "from synth.models.ledger import Ledger\n"
        "async def write():\n"
        "    ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "    for n in range(int(sys.argv[2]), int(sys.argv[3])):\n"
        "        await ledger.record(outcome(n, LENGTHS[n % len(LENGTHS)]))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(write())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent)))}
    arguments = [str(path), str(numbers.start), str(numbers.stop)]
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, check=False, timeout=60)
    assert done.returncode < 0


TESTS = Path(__file__).parent
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="kills")


@POSIX
def test_what_stands_in_the_log_alone_is_saved_too(ledger: Path) -> None:
    killed(ledger, range(200, 240))
    write_at(ledger, 0, bytes(PAGE))
    found = salvage(ledger)
    assert (found.replies, found.lost, found.newest) == (240, 0, "")
    assert set(kept(ledger)) == {each.key for each in several(240)}
    assert beside(found.aside, "-wal").exists()


@POSIX
def test_what_stands_behind_a_broken_place_of_the_log_is_saved(ledger: Path) -> None:
    killed(ledger, range(200, 240))
    write_at(beside(ledger, "-wal"), 32 + 30 * (PAGE + 24) + 500, bytes(3000))
    with pytest.raises(StorageError, match="records stand behind that place"):
        Ledger(ledger)
    found = salvage(ledger)
    assert found.replies >= 239
    assert found.newest == ""


@POSIX
@pytest.mark.parametrize(
    ("place", "content"), [(0, bytes(8)), (16, b"\xa5" * 8), (24, bytes(8)), (0, bytes(32))]
)
def test_what_stands_in_a_log_whose_header_is_broken_is_saved(
    ledger: Path, place: int, content: bytes
) -> None:
    killed(ledger, range(200, 240))
    write_at(beside(ledger, "-wal"), place, content)
    with pytest.raises(StorageError, match="records stand behind that place"):
        Ledger(ledger)
    found = salvage(ledger)
    assert (found.replies, found.lost, found.newest) == (240, 0, "")


@POSIX
def test_without_its_log_a_ledger_is_saved_and_the_newest_record_is_said_to_be_lost(ledger: Path) -> None:
    killed(ledger, range(200, 203))
    beside(ledger, "-wal").unlink()
    found = salvage(ledger)
    assert found.replies == 200
    assert found.newest == several(203)[-1].key


@POSIX
def test_a_log_without_its_ledger_is_saved(project: Path) -> None:
    path = Project(project).ledger
    path.parent.mkdir()
    killed(path, range(12))
    path.unlink()
    assert salvage(path).replies == 12


# Failures


def test_failures_that_were_set_aside_stay_so_and_do_not_come_back(project: Path) -> None:
    path = Project(project).ledger
    record(path, [*several(5), *(failure(n) for n in range(100, 108))])
    with closing(Ledger(path)) as ledger:
        ledger.supersede_failures([failure(n).key for n in range(100, 104)])
    record(path, [outcome(100, 50)])
    the_first_page(path)
    found = salvage(path)
    assert (found.replies, found.failures, found.set_aside) == (6, 4, 4)
    with closing(Ledger(path)) as ledger:
        assert ledger.find(failure(100).key).result().text.startswith("100")  # type: ignore[union-attr]
        assert ledger.find(failure(101).key) is None
        assert ledger.find(failure(105).key).error  # type: ignore[union-attr]


# Stopped on the way


@pytest.mark.parametrize("renames", range(4))
def test_a_salvage_that_is_stopped_anywhere_is_gone_on_with(
    ledger: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    the_first_page(ledger)
    beside(ledger, "-wal").write_bytes(b"whatever was in it")
    damaged, usual, done = sha(ledger), Path.rename, 0

    def rename(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise KeyboardInterrupt
        done += 1
        return usual(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            salvage(ledger)
    with pytest.raises(StorageError, match="python -m synth ledger salvage"):
        Ledger(ledger)
    found = salvage(ledger)
    assert found.replies == 200
    assert [sha(path) for path in ledger.parent.glob("ledger.damaged-*.sqlite")] == [damaged]
    assert beside(found.aside, "-wal").read_bytes() == b"whatever was in it"
    assert {path.name for path in ledger.parent.iterdir()} == {
        "ledger.sqlite",
        found.aside.name,
        f"{found.aside.name}-wal",
    }
    with closing(Ledger(ledger)) as opened_again:
        assert len(list(opened_again)) == 200


def test_a_disk_that_is_full_leaves_the_damaged_ledger_where_it_is(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_first_page(ledger)
    damaged = sha(ledger)

    def full(*_: object) -> set[str]:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("synth.records.salvage._fill", full)
        with pytest.raises(StorageError, match="disk is full"):
            salvage(ledger)
    assert sha(ledger) == damaged
    assert salvage(ledger).replies == 200


# Laws


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 14_000), min_size=1, max_size=60),
    page_size=st.sampled_from([512, 1024, 4096, 65536]),
)
def test_the_bytes_of_a_sound_ledger_say_what_sqlite_says(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], page_size: int
) -> None:
    path = tmp_path_factory.mktemp("pages") / "ledger.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size={page_size}")
        db.execute("PRAGMA journal_mode=WAL")
    record(path, [outcome(number, length) for number, length in enumerate(lengths)])
    pages = opened(path, beside(path, "-wal"))
    try:
        cells = {cell.readings[0] for cell in pages.cells() if cell.is_outcome}
        lost = pages.lost_leaves()
    finally:
        for file in (pages.main, pages.log):
            if file:
                file.close()
    assert int.from_bytes(path.read_bytes()[16:18]) == page_size % 65535
    assert cells == set(kept(path).values())
    assert lost == (0, 0)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    holes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 9000), st.sampled_from([0, 0xA5])),
        min_size=1,
        max_size=5,
    ),
)
def test_wherever_bytes_are_overwritten_nothing_is_made_up_and_what_was_not_touched_is_saved(
    tmp_path_factory: pytest.TempPathFactory, seed: int, holes: list[tuple[float, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("holes") / "ledger.sqlite"
    dice = random.Random(seed)
    record(path, [outcome(number, dice.choice(LENGTHS)) for number in range(80)])
    before = kept(path)
    size = path.stat().st_size
    touched = 0
    for where, length, byte in holes:
        place = int(where * size)
        length = min(length, size - place)
        write_at(path, place, bytes([byte]) * length)
        touched += (place + length - 1) // PAGE - place // PAGE + 1
    found: Salvaged = salvage(path)
    after = kept(path)
    assert after.items() <= before.items()
    assert found.replies == len(after)
    most_in_a_page = 14
    assert len(before) - len(after) <= touched * most_in_a_page


def test_random_bytes_are_read_to_their_end_without_an_error(tmp_path: Path) -> None:
    dice = random.Random(5)
    for number in range(60):
        content = bytearray(dice.randbytes(PAGE * 6))
        for page in range(6):
            content[page * PAGE] = dice.choice([2, 10, 13])
        path = tmp_path / f"{number}.sqlite"
        path.write_bytes(content)
        beside(path, "-wal").write_bytes(b"\x37\x7f\x06\x82" + dice.randbytes(20_000))
        assert salvage(path).replies == 0
        assert orjson.dumps(kept(path)) == b"{}"


def test_salvage_is_refused_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(SynthError, match="there is no ledger"):
        salvage(tmp_path / "ledger.sqlite")
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError), reading(tmp_path / "ledger.sqlite"):
        pass
