"""The ledger: what is recorded is found, whoever writes, and however it ends."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth import errors
from synth.errors import BadReply, BadRequest, RateLimited, RowError, StorageError, Transient
from synth.models.base import Reply, Token, Usage
from synth.models.ledger import Ledger, Outcome

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
