"""A disk that is full, broken or read-only: the run stops at once, says where, and goes on once it is mended.

Disks are small file systems in memory, so that it is the kernel that refuses; only root may mount them.
"""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Asked, Make, ReadPipeline
from provider_server import ProviderServer

from synth import disk
from synth.errors import StorageError
from synth.models.ledger import Ledger
from synth.rows import Message, sourced
from synth.spool import Spool
from synth.store.version import versions

ROOT = Path(__file__).parents[1]
WIDTH = 4
TEXT = f"""
name: full
models: {{m: {{provider: scripted, max_concurrency: {WIDTH}}}}}
steps:
  - self_instruct: {{count: 10, lag: 2, max_similarity: 0.95, model: m}}
  - respond: {{model: m, count: 2}}
dataset: {{views: [instructions, sft]}}
"""
ONLY_ROOT = pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0 or not shutil.which("mount"), reason="only root may mount a disk"
)
TRACED = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")

Disk = Callable[..., None]


def sh(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def small_disk() -> Iterator[Disk]:
    """Mount a disk of `size` at `path`; again, to change its size or have it read-only."""
    mounted: list[Path] = []

    def mount(path: Path, options: str) -> None:
        again = path in mounted
        if not again:
            path.mkdir(parents=True, exist_ok=True)
        way = f"remount,{options}" if again else options
        done = sh("mount", "-t", "tmpfs", "-o", way, "none", str(path))
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr}")
        mounted.append(path)

    yield mount
    for path in reversed(dict.fromkeys(mounted)):
        sh("umount", "--lazy", str(path))


def recorded(project: Path) -> int:
    """How many outcomes the ledger holds."""
    ledger = Ledger(project / ".synth" / "ledger.sqlite")
    try:
        return len(list(ledger))
    finally:
        ledger.close()


def nothing_in(datasets: Path) -> bool:
    """Whether no version is there, nor a part of one."""
    return not [path for path in datasets.rglob("*") if path.is_file()]


# Full


@ONLY_ROOT
async def test_a_full_disk_under_the_ledger_costs_what_was_in_flight_and_space_mends_it(
    pipeline: ReadPipeline, make: Make, project: Path, asked: Asked, small_disk: Disk
) -> None:
    whole, _ = await make(pipeline(TEXT), into=project / "whole")
    needed = len(asked.requests)
    asked.requests.clear()
    here = project / "here"
    small_disk(here / ".synth", "size=128k")
    small_disk(here / ".synth" / "runs", "size=20m")
    with pytest.raises(StorageError, match=r"ledger\.sqlite: the disk is full") as caught:
        await make(pipeline(TEXT), into=here)
    assert "bytes are free there, and at least" in str(caught.value)
    assert nothing_in(here / "datasets")
    bought = len(asked.requests)

    small_disk(here / ".synth", "size=20m")
    kept = recorded(here)
    assert 0 < kept < needed
    assert bought - kept <= WIDTH
    again, _ = await make(pipeline(TEXT), into=here)
    assert again.id == whole.id
    assert len(asked.requests) - bought == needed - kept
    assert max(Counter(request.key for request in asked.requests).values()) <= 2


@ONLY_ROOT
@pytest.mark.parametrize("size", ["4k", "8k", "12k"])
async def test_a_full_disk_under_what_is_thrown_away_stops_the_run_and_space_mends_it(
    pipeline: ReadPipeline, make: Make, project: Path, asked: Asked, small_disk: Disk, size: str
) -> None:
    small_disk(project / ".synth" / "runs", f"size={size}")
    with pytest.raises(StorageError, match=r"\.synth/runs/full\S*: the disk is full"):
        await make(pipeline(TEXT))
    assert nothing_in(project / "datasets")
    assert len(asked.requests) - recorded(project) <= WIDTH
    small_disk(project / ".synth" / "runs", "size=20m")
    made, _ = await make(pipeline(TEXT))
    assert made.is_new


@ONLY_ROOT
def test_rows_that_no_longer_fit_are_a_storage_error_that_names_the_file(
    tmp_path: Path, small_disk: Disk
) -> None:
    small_disk(tmp_path, "size=1m")
    spool = Spool(tmp_path / "rows.sqlite")
    rows = [sourced([Message("user", f"{number} {'x' * 100_000}")], 0) for number in range(100)]

    def add_all() -> None:
        for row in rows:
            spool.add(row)

    with pytest.raises(StorageError, match=r"rows\.sqlite: the disk is full"):
        add_all()


@ONLY_ROOT
@pytest.mark.parametrize("size", ["4k", "16k", "28k"])
async def test_a_full_disk_under_the_dataset_leaves_no_part_of_a_version_and_the_former_one_whole(
    pipeline: ReadPipeline, make: Make, project: Path, asked: Asked, small_disk: Disk, size: str
) -> None:
    former, _ = await make(pipeline(TEXT.replace("count: 10", "count: 2")))
    kept = {path: path.read_bytes() for path in former.path.rglob("*") if path.is_file()}
    datasets = project / "datasets"
    aside = project / "aside"
    datasets.rename(aside)
    taken = sum(4096 * (1 + len(content) // 4096) for content in kept.values())
    small_disk(datasets, f"size={taken + 65536 + int(size[:-1]) * 1024}")
    shutil.copytree(aside, datasets, dirs_exist_ok=True)

    filler = datasets / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(datasets).free - int(size[:-1]) * 1024))
    with pytest.raises(StorageError, match=r"cannot write the version in .*: the disk is full"):
        await make(pipeline(TEXT))
    assert [version.id for version in versions(datasets / "full")] == [former.id]
    assert {path: path.read_bytes() for path in kept} == kept
    assert [path.name for path in (datasets / "full").iterdir()] == [former.name]

    asked.requests.clear()
    filler.unlink()
    small_disk(datasets, "size=20m")
    made, _ = await make(pipeline(TEXT))
    assert made.name.startswith("v2-")
    assert not asked.requests


# As a process


def command(folder: Path, url: str, *before: str) -> list[str]:
    """``synth run`` of the pipeline, with the provider at `url`."""
    provider = f'{{provider: compatible, model: made, base_url: "{url}/v1", max_concurrency: {WIDTH}}}'
    text = TEXT.replace(f"{{provider: scripted, max_concurrency: {WIDTH}}}", provider)
    (folder / "p.yaml").write_text(text, encoding="utf-8")
    return [*before, sys.executable, "-m", "synth", "run", "p.yaml"]


def run(folder: Path, asked: list[str], **options: object) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        asked,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


@ONLY_ROOT
def test_a_read_only_folder_is_said_before_the_first_call(
    tmp_path: Path, server: ProviderServer, small_disk: Disk
) -> None:
    small_disk(tmp_path, "size=20m")
    asked = command(tmp_path, server.url)
    small_disk(tmp_path, "size=20m,ro")
    done = run(tmp_path, asked)
    assert done.returncode == 5
    assert f"{tmp_path} cannot be written to" in done.stderr
    assert "Go on with: python -m synth run p.yaml" in done.stderr
    assert not server.log


@pytest.mark.slow
@ONLY_ROOT
def test_a_full_disk_leaves_with_5_in_seconds_and_the_same_command_goes_on(
    tmp_path: Path, small_disk: Disk
) -> None:
    small_disk(tmp_path, "size=160k")
    with ProviderServer(latency=0.01) as server:
        asked = command(tmp_path, server.url)
        done = run(tmp_path, asked)
        assert done.returncode == 5, done.stderr
        assert "the disk is full" in done.stderr
        assert "Go on with: python -m synth run p.yaml" in done.stderr
        assert "Traceback" not in done.stderr
        small_disk(tmp_path, "size=50m")
        kept, bought = recorded(tmp_path), len(server.bodies)
        assert bought - kept <= WIDTH
        assert run(tmp_path, asked).returncode == 0
        assert len(versions(tmp_path / "datasets" / "full")) == 1


def no_file_over(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_leaves_with_5(tmp_path: Path, server: ProviderServer) -> None:
    asked = command(tmp_path, server.url)
    done = run(tmp_path, asked, preexec_fn=no_file_over(60_000))
    assert done.returncode == 5, done.stderr
    assert "ulimit -f" in done.stderr
    assert nothing_in(tmp_path / "datasets")
    assert run(tmp_path, asked).returncode == 0


@pytest.mark.slow
@TRACED
@pytest.mark.parametrize("when", [1, 8])
def test_a_disk_that_cannot_keep_the_ledger_ends_the_run_for_good(
    tmp_path: Path, server: ProviderServer, when: int
) -> None:
    (tmp_path / ".synth").mkdir()
    wal = tmp_path / ".synth" / "ledger.sqlite-wal"
    broken = (
        "strace",
        "-f",
        "-q",
        "-o",
        "/dev/null",
        "-P",
        str(wal),
        "-e",
        f"inject=fdatasync,fsync:error=EIO:when={when}",
    )
    done = run(tmp_path, command(tmp_path, server.url, *broken))
    assert done.returncode == 5, done.stderr
    assert "ledger.sqlite: the disk reports an error (SQLITE_IOERR_FSYNC)" in done.stderr
    assert nothing_in(tmp_path / "datasets")
    assert run(tmp_path, command(tmp_path, server.url)).returncode == 0


@pytest.mark.slow
@TRACED
@pytest.mark.parametrize("when", [1, 7])
def test_a_disk_that_cannot_keep_a_version_shows_none(
    tmp_path: Path, server: ProviderServer, when: int
) -> None:
    # SQLite syncs by fdatasync, so that only the version's own files are refused here.
    broken = ("strace", "-f", "-q", "-o", "/dev/null", "-e", f"inject=fsync:error=EIO:when={when}")
    done = run(tmp_path, command(tmp_path, server.url, *broken))
    assert done.returncode == 5, done.stderr
    assert "cannot write the version in" in done.stderr
    assert "the disk reports an error (EIO)" in done.stderr
    assert nothing_in(tmp_path / "datasets")
    bought = len(server.bodies)
    assert run(tmp_path, command(tmp_path, server.url)).returncode == 0
    assert len(server.bodies) == bought


# What is said


def test_an_error_of_the_system_that_is_no_disks_fault_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), disk.watched(tmp_path):
        raise ConnectionResetError(104, "reset")


def test_a_file_that_is_named_by_the_system_is_named_to_the_reader(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="cannot write /there/x: Permission denied"),
        disk.watched(tmp_path),
    ):
        raise PermissionError(13, "Permission denied", "/there/x")


def test_an_error_of_sqlite_that_names_no_file_is_about_the_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"{tmp_path}: .*no such table"), disk.watched(tmp_path):
        sqlite3.connect(":memory:").execute("SELECT * FROM rows")
