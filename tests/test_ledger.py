"""The ledger: what is recorded is found, whoever writes, and however it ends."""

import asyncio
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ReadPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from synth import errors
from synth.errors import BadReply, BadRequest, RateLimited, RowError, StorageError, Transient, UserError
from synth.models.base import Reply, Token, Usage
from synth.models.ledger import Ledger, Outcome
from synth.models.ledger_file import APPLICATION, VERSION, Synchronous

PATH = ".synth/ledger.sqlite"


def replied(key: str, text: str = "Hello.") -> Outcome:
    return Outcome(key, b'{"model":"m"}', reply=Reply(text), usd=0.25)


def failed(key: str, error: RowError | None = None) -> Outcome:
    return Outcome(key, b"{}", error=error or BadRequest("too long", hint="shorten it"), attempts=("busy",))


async def test_what_is_recorded_is_found_again_in_another_process_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / PATH)
    assert ledger.find("k") is None
    await ledger.record(replied("k"))
    assert ledger.find("k") == replace(replied("k"), at=ledger.find("k").at)  # type: ignore[union-attr]
    ledger.close()
    with closing(Ledger(tmp_path / PATH)) as reopened:
        found = reopened.find("k")
    assert found
    assert found.result() == Reply("Hello.")
    assert found.usd == 0.25
    assert found.request == b'{"model":"m"}'


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("too long", hint="shorten it"),
        BadReply("no letter"),
        Transient("time-out", retry_after_s=3),
        RateLimited("slow down", hint="wait"),
        RowError("something else"),
    ],
)
async def test_a_failure_is_found_as_the_error_that_it_was(tmp_path: Path, error: RowError) -> None:
    with closing(Ledger(tmp_path / PATH)) as ledger:
        await ledger.record(failed("k", error))
        found = ledger.find("k")
        assert found
        with pytest.raises(type(error), match=str(error)) as caught:
            found.result()
    assert type(caught.value) is type(error)
    assert caught.value.hint == error.hint
    assert found.attempts == ("busy",)


def test_every_error_of_a_row_can_be_read_back_by_its_name() -> None:
    def below(kind: type[RowError]) -> list[type[RowError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))]

    for kind in below(RowError):
        if kind.__module__.startswith("synth."):
            assert getattr(errors, kind.__name__) is kind


async def test_the_first_outcome_of_a_key_stays(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / PATH)) as ledger:
        await ledger.record(replied("k", "first"))
        await ledger.record(replied("k", "second"))
        found = ledger.find("k")
    assert found
    assert found.result().text == "first"


async def test_failures_are_set_aside_and_replies_stay(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / PATH)) as ledger:
        await asyncio.gather(*(ledger.record(failed(f"f{number}")) for number in range(3)))
        await ledger.record(replied("r"))
        assert ledger.supersede_failures(["f1", "r", "unknown"]) == 1
        assert ledger.find("f1") is None
        assert ledger.find("r")
        assert ledger.find("f0")
        assert ledger.supersede_failures(["f0", "f2"]) == 2
        assert ledger.supersede_failures(["f0", "f2"]) == 0
        assert [outcome.key for outcome in ledger] == ["r"]
        await ledger.record(replied("f1", "now it works"))
        assert ledger.find("f1").result().text == "now it works"  # type: ignore[union-attr]
    with closing(sqlite3.connect(tmp_path / PATH)) as db:
        assert db.execute("SELECT count(*) FROM superseded").fetchone() == (3,)


async def test_outcomes_come_back_in_the_order_of_keys(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / PATH)) as ledger:
        await asyncio.gather(*(ledger.record(replied(key)) for key in "dbca"))
        assert "".join(outcome.key for outcome in ledger) == "abcd"


async def test_what_waits_together_is_committed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0
    with closing(Ledger(tmp_path / PATH)) as ledger:
        commit = ledger._commit

        def counted(*given: Any) -> Any:
            nonlocal commits
            commits += 1
            return commit(*given)

        monkeypatch.setattr(ledger, "_commit", counted)
        await asyncio.gather(*(ledger.record(replied(f"k{number:03}")) for number in range(600)))
        assert len(list(ledger)) == 600
    assert 3 <= commits < 60


async def test_closing_commits_what_waits(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / PATH)
    waiting = [asyncio.ensure_future(ledger.record(replied(f"k{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    ledger.close()
    await asyncio.gather(*waiting)
    with closing(Ledger(tmp_path / PATH)) as reopened:
        assert len(list(reopened)) == 20


async def test_two_ledgers_of_one_file_write_side_by_side(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / PATH)) as one, closing(Ledger(tmp_path / PATH)) as other:
        await asyncio.gather(
            *(one.record(replied(f"a{number}")) for number in range(50)),
            *(other.record(replied(f"b{number}")) for number in range(50)),
            one.record(replied("both", "from one")),
            other.record(replied("both", "from the other")),
        )
        assert len(list(one)) == len(list(other)) == 101
        assert one.find("both") == other.find("both")


async def test_another_process_writes_into_the_same_ledger(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from synth.models.base import Reply\n"
        "from synth.models.ledger import Ledger, Outcome\n"
        "async def write():\n"
        "    ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "    for n in range(30):\n"
        "        await ledger.record(Outcome(f'theirs{n}', b'{}', reply=Reply('x')))\n"
        "    ledger.close()\n"
        "asyncio.run(write())\n"
    )
    with closing(Ledger(tmp_path / PATH)) as ledger:
        theirs = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(tmp_path / PATH))
        count = 0
        while theirs.returncode is None and count < 5000:
            await ledger.record(replied(f"ours{count}"))
            count += 1
        assert await theirs.wait() == 0
        assert len(list(ledger)) == 30 + count


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no such modes")
async def test_only_the_owner_can_read_the_ledger(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / PATH)) as ledger:
        await ledger.record(replied("k"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / ".synth").iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_ledger_that_cannot_be_opened_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot open the ledger .*file"):
        Ledger(tmp_path / "file" / "ledger.sqlite")
    (tmp_path / "ledger.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(StorageError, match="cannot open the ledger"):
        Ledger(tmp_path / "ledger.sqlite")


async def test_a_ledger_that_cannot_be_written_says_so_and_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / PATH)

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "_commit", full)
        with pytest.raises(StorageError, match="disk is full"):
            await asyncio.wait_for(ledger.record(replied("k")), 5)
    with pytest.raises(StorageError, match="disk is full"):
        await asyncio.wait_for(ledger.record(replied("l")), 5)
    ledger.close()


def test_a_killed_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, sys, pathlib\n"
        "from synth.models.base import Reply\n"
        "from synth.models.ledger import Ledger, Outcome\n"
        "async def write():\n"
        "    ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "    async def one(n):\n"
        "        await ledger.record(Outcome(f'k{n}', b'{}', reply=Reply('x')))\n"
        "        os.write(1, f'{n}\\n'.encode())\n"
        "    for n in range(0, 10**6, 8):\n"
        "        await asyncio.gather(*(one(n + m) for m in range(8)))\n"
        "asyncio.run(write())\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / PATH)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        acknowledged = [int(process.stdout.readline()) for _ in range(100)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().splitlines()]
    with closing(Ledger(tmp_path / PATH)) as ledger:
        assert all(ledger.find(f"k{number}") for number in acknowledged)
        asyncio.run(ledger.record(replied("after")))
        assert ledger.find("after")


# Damage is noticed when the ledger is opened, and nothing is begun anew


def filled(path: Path, count: int = 40) -> None:
    """A ledger at `path` with `count` replies, closed in order."""

    async def fill() -> None:
        with closing(Ledger(path)) as ledger:
            await asyncio.gather(*(ledger.record(replied(f"k{n:02}", "x" * 3000)) for n in range(count)))

    asyncio.run(fill())


def killed(path: Path, texts: list[str]) -> None:
    """A process that records a reply for each of `texts` in a commit of its own, and is killed."""
    script = (
        "import asyncio, os, sys, pathlib, signal\n"
        "from synth.models.base import Reply\n"
        "from synth.models.ledger import Ledger, Outcome\n"
        "async def write():\n"
        "    ledger = Ledger(pathlib.Path(sys.argv[1]))\n"
        "    for n, text in enumerate(sys.argv[2:]):\n"
        "        await ledger.record(Outcome(f'w{n:02}', b'{}', reply=Reply(text)))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(write())\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path), *texts], check=False, timeout=60)


def overwrite_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xa5" * 4096)


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def put_a_text_there(path: Path) -> None:
    path.write_text("no database")


def put_another_database_there(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE places (url TEXT)")


def stamp_it_for_a_later_release(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=99")


def zero_the_first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(4096))


DAMAGES = [
    overwrite_a_page,
    cut,
    empty,
    put_a_text_there,
    put_another_database_there,
    stamp_it_for_a_later_release,
    zero_the_first_page,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_when_a_ledger_is_opened_and_the_file_is_left_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    filled(tmp_path / PATH)
    damage(tmp_path / PATH)
    before = (tmp_path / PATH).read_bytes()
    with pytest.raises(StorageError, match="python -m synth ledger salvage") as caught:
        Ledger(tmp_path / PATH)
    assert caught.value.exit_code == 5
    assert (tmp_path / PATH).read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_a_deleted_wal_file_is_noticed_since_records_went_with_it(tmp_path: Path) -> None:
    filled(tmp_path / PATH)
    killed(tmp_path / PATH, ["one", "two"])
    (tmp_path / f"{PATH}-wal").unlink()
    with pytest.raises(StorageError, match="newest record, w01, is not there; was its -wal file deleted"):
        Ledger(tmp_path / PATH)


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_a_wal_file_without_its_ledger_is_not_thrown_away(tmp_path: Path) -> None:
    killed(tmp_path / PATH, ["one", "two"])
    (tmp_path / PATH).unlink()
    with pytest.raises(StorageError, match="its -wal file is there, and it is not"):
        Ledger(tmp_path / PATH)
    assert (tmp_path / f"{PATH}-wal").stat().st_size


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_a_wal_file_that_another_program_wrote_back_is_no_damage(tmp_path: Path) -> None:
    killed(tmp_path / PATH, ["one", "two"])
    with closing(sqlite3.connect(tmp_path / PATH)) as db:
        assert db.execute("SELECT count(*) FROM outcomes").fetchone() == (2,)
    assert not (tmp_path / f"{PATH}-wal").exists()
    with closing(Ledger(tmp_path / PATH)) as ledger:
        assert ledger.find("w01")


def zeroed(wal: Path) -> None:
    with wal.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(bytes(4096))


def shortened(wal: Path) -> None:
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 4096)


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
@pytest.mark.parametrize("lose", [zeroed, shortened])
def test_after_a_power_loss_all_that_was_synced_is_there_and_the_rest_is_said_to_be_gone(
    tmp_path: Path, lose: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    killed(tmp_path / "run" / PATH, [f"text {n}" * 400 for n in range(12)])
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    lose(tmp_path / "copy" / f"{PATH}-wal")
    with closing(Ledger(tmp_path / "copy" / PATH)) as ledger:
        assert [outcome.key for outcome in ledger] == [f"w{n:02}" for n in range(11)]
        assert ledger.find("w10").result().text == "text 10" * 400  # type: ignore[union-attr]
        assert "the newest records of the ledger" in caplog.text
        asyncio.run(ledger.record(replied("w11")))
    caplog.clear()
    with closing(Ledger(tmp_path / "copy" / PATH)) as ledger:
        assert len(list(ledger)) == 12
        assert not caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="kills")
def test_a_wal_file_that_is_broken_in_its_middle_is_no_power_loss(tmp_path: Path) -> None:
    killed(tmp_path / PATH, [f"text {n}" * 400 for n in range(12)])
    wal = tmp_path / f"{PATH}-wal"
    with wal.open("r+b") as file:
        file.seek(32 + 20 * 4120 + 1000)
        file.write(bytes(500))
    before = (tmp_path / PATH).read_bytes(), wal.read_bytes()
    with pytest.raises(StorageError, match="records stand behind that place"):
        Ledger(tmp_path / PATH)
    assert ((tmp_path / PATH).read_bytes(), wal.read_bytes()) == before


def test_a_ledger_from_before_there_were_stamps_is_read_and_stamped(tmp_path: Path) -> None:
    filled(tmp_path / PATH, 3)
    with closing(sqlite3.connect(tmp_path / PATH, isolation_level=None)) as db:
        db.execute("PRAGMA application_id=0")
        db.execute("PRAGMA user_version=0")
    with closing(Ledger(tmp_path / PATH)) as ledger:
        assert len(list(ledger)) == 3
    with closing(sqlite3.connect(tmp_path / PATH)) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_record_that_does_not_read_back_stops_the_run_and_names_the_key(tmp_path: Path) -> None:
    filled(tmp_path / PATH, 3)
    with closing(sqlite3.connect(tmp_path / PATH, isolation_level=None)) as db:
        db.execute("UPDATE outcomes SET outcome = ? WHERE key = 'k01'", (b'{"text":"half',))
    with closing(Ledger(tmp_path / PATH)) as ledger:
        assert ledger.find("k00")
        with pytest.raises(StorageError, match=r"under k01 does not read back.*ledger salvage"):
            ledger.find("k01")
        with pytest.raises(StorageError, match="under k01 does not read back"):
            list(ledger)


def test_a_failure_recorded_under_a_name_that_is_no_error_of_a_row_is_a_failure_still(tmp_path: Path) -> None:
    filled(tmp_path / PATH, 1)
    body = b'{"error":"unknown","message":"m","hint":"h"}'
    with closing(sqlite3.connect(tmp_path / PATH, isolation_level=None)) as db:
        db.execute("UPDATE outcomes SET failed = 1, outcome = ?", (body,))
    with closing(Ledger(tmp_path / PATH)) as ledger:
        found = ledger.find("k00")
    assert found
    assert type(found.error) is RowError
    assert found.error.hint == "h"


# Durability is a setting; many processes share a ledger


async def test_commits_wait_for_the_disk_unless_the_pipeline_says_otherwise(
    pipeline: ReadPipeline, tmp_path: Path
) -> None:
    text = "name: n\nmodels: {m: {provider: scripted}}\nsteps: [self_instruct: {model: m, count: 2}]\n"
    assert pipeline(text).ledger.synchronous == "full"
    normal: Synchronous = pipeline(text + "ledger: {synchronous: normal}\n").ledger.synchronous
    assert normal == "normal"
    levels: dict[Synchronous, int] = {"full": 2, normal: 1}
    for synchronous, level in levels.items():
        with closing(Ledger(tmp_path / PATH, synchronous)) as ledger, closing(ledger._connect()) as db:
            assert db.execute("PRAGMA synchronous").fetchone() == (level,)
            await ledger.record(replied(synchronous))
            assert ledger.find(synchronous)


@pytest.mark.parametrize(
    ("section", "place", "message"),
    [
        ("{synchronous: off}", (4, 23), "ledger.synchronous: expected 'full' or 'normal', found 'off'"),
        ("{sync: full}", (4, 10), "unknown key 'sync'. Known: synchronous."),
        ("3", (4, 9), "ledger: expected keys and values, found 3"),
    ],
)
def test_a_mistake_in_the_ledger_section_is_told_with_its_place(
    pipeline: ReadPipeline, section: str, place: tuple[int, int], message: str
) -> None:
    text = "name: n\nmodels: {m: {provider: scripted}}\nsteps: [self_instruct: {model: m, count: 2}]\n"
    with pytest.raises(UserError) as caught:
        pipeline(f"{text}ledger: {section}\n")
    [problem] = caught.value.problems
    assert (problem.line, problem.column) == place
    assert problem.message.startswith(message)


WRITER = """
import asyncio, sys, pathlib
from synth.models.base import Reply
from synth.models.ledger import Ledger, Outcome

async def write():
    ledger = Ledger(pathlib.Path(sys.argv[1]))
    async def one(n):
        await ledger.record(Outcome(f"{sys.argv[2]}{n}", b"{}", reply=Reply("x" * 500)))
        assert ledger.find(f"{sys.argv[2]}{n}")
    for n in range(0, 400, 8):
        await asyncio.gather(*(one(n + m) for m in range(8)))
    ledger.close()

asyncio.run(write())
"""
READER = """
import pathlib, sys
from synth.models.ledger import Ledger
from synth.models.ledger_file import reading

path = pathlib.Path(sys.argv[1])
seen = 0
while seen < 800:
    if not path.exists():
        continue
    if int(sys.argv[2]) % 2:
        ledger = Ledger(path)
        count = sum(1 for _ in ledger)
        ledger.close()
    else:
        with reading(path) as db:
            [(count,)] = db.execute("SELECT count(*) FROM outcomes").fetchall()
    assert count >= seen
    seen = count
"""


def test_two_processes_write_and_five_read_and_no_ledger_is_ever_locked(tmp_path: Path) -> None:
    filled(tmp_path / PATH, 0)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / PATH), name],
            stderr=subprocess.PIPE,
            text=True,
        )
        for script, names in ((WRITER, "ab"), (READER, "01234"))
        for name in names
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 7, said
    with closing(Ledger(tmp_path / PATH)) as ledger:
        assert len(list(ledger)) == 800


def test_processes_that_make_one_ledger_at_once_all_get_it(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from synth.models.ledger import Ledger\n"
        "Ledger(pathlib.Path(sys.argv[1])).close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / PATH)], stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, said


texts = st.text(max_size=20)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53)
replies = st.builds(
    Reply,
    text=texts,
    finish=texts,
    tokens=st.lists(
        st.builds(Token, texts, numbers, st.dictionaries(texts, numbers, max_size=3)), max_size=3
    ).map(tuple),
    usage=st.builds(Usage, counts, counts, counts),
    model=texts,
    response_id=texts,
)
row_errors = st.builds(
    lambda kind, message, hint: kind(message, hint=hint),
    st.sampled_from([BadRequest, BadReply, Transient, RateLimited, RowError]),
    texts,
    texts,
)


@settings(max_examples=12, deadline=None)
@given(
    ends=st.lists(st.one_of(replies, row_errors), min_size=1, max_size=6),
    request=st.binary(max_size=30),
    attempts=st.lists(texts, max_size=3).map(tuple),
    latency_s=st.floats(0, 1e6),
    usd=st.none() | st.floats(0, 1e6),
)
def test_an_outcome_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    ends: list[Reply | RowError],
    request: bytes,
    attempts: tuple[str, ...],
    latency_s: float,
    usd: float | None,
) -> None:
    about: dict[str, Any] = {"attempts": attempts, "latency_s": latency_s, "usd": usd}
    outcomes = [
        Outcome(f"k{number}", request, reply=end, **about)
        if isinstance(end, Reply)
        else Outcome(f"k{number}", request, error=end, **about)
        for number, end in enumerate(ends)
    ]

    async def write_and_read() -> list[Outcome]:
        with closing(Ledger(tmp_path_factory.mktemp("ledger") / PATH)) as ledger:
            await asyncio.gather(*(ledger.record(outcome) for outcome in outcomes))
            return list(ledger)

    for written, read in zip(outcomes, asyncio.run(write_and_read()), strict=True):
        assert replace(read, at="", error=None) == replace(written, error=None)
        assert type(read.error) is type(written.error)
        if read.error and written.error:
            assert (str(read.error), read.error.hint) == (str(written.error), written.error.hint)


async def test_whatever_goes_wrong_in_the_writer_nobody_waits_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def broken(*_: object) -> bool:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(ledger, "_commit", broken)
    for key in "ab":
        with pytest.raises(StorageError, match="not foreseen"):
            await asyncio.wait_for(ledger.record(Outcome(key, b"{}", reply=Reply("x"))), 5)
    ledger.close()
