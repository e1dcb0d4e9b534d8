"""A version is pushed for real: the real client, over sockets, to a Hub of our own."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from threading import Timer
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer, Repo

from synth.errors import UserError
from synth.publish import publish

ROOT = Path(__file__).parent.parent
REPO = "me/harmless"
KEY = f"datasets/{REPO}"
VIEWS = ("preference", "sft")
ROWS = [{"prompt": f"q{n}", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(5)]

# What a child runs: for each line an expression, with whose token, it says what that gives.
# An error of ours is told by its class and its words; the waits between tries are cut short.
LOOP = """
import json, os, sys
from pathlib import Path
from synth.errors import SynthError
from synth.publish import hub, publish
hub._backoff_s = lambda state: 0.05
def show(published):
    return {name: getattr(published, name) for name in published.__slots__}
for line in sys.stdin:
    code, os.environ["HF_TOKEN"] = json.loads(line)
    try:
        said = eval(code)
    except SynthError as error:
        said = {"error": type(error).__name__, "says": str(error)}
    print("ANSWER", json.dumps(said), flush=True)
"""

Child = Callable[..., Any]
MakeVersion = Callable[..., Path]


class _Child:
    """A process that has this Hub for the Hub: the client reads where it is when it is imported."""

    def __init__(self, hub: HubServer, home: Path, **more: str) -> None:
        self.errors = home / "stderr.txt"
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            env=hub.environment(home) | {"PYTHONPATH": str(ROOT)} | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("wb"),
            text=True,
        )

    def ask(self, code: str, token: str) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([" ".join(code.split()), token]) + "\n")
        self.process.stdin.flush()
        watchdog = Timer(60, self.process.kill)
        watchdog.start()
        lines = list(_up_to_the_answer(self.process.stdout))
        watchdog.cancel()
        told = self.errors.read_text()
        assert lines, told
        # Whatever happens, the token is in no output.
        assert not token or token not in "".join(lines) + told
        return json.loads(lines[-1].removeprefix("ANSWER "))

    def end(self) -> None:
        self.process.communicate()


def _up_to_the_answer(stdout: IO[str]) -> Iterator[str]:
    for line in stdout:
        yield line
        if line.startswith("ANSWER "):
            return


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


@pytest.fixture(scope="module")
def process(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Child]:
    running = _Child(server, tmp_path_factory.mktemp("home"))
    yield running
    running.end()


@pytest.fixture
def hub(server: HubServer) -> HubServer:
    server.reset()
    return server


@pytest.fixture
def child(hub: HubServer, process: _Child, tmp_path: Path) -> Child:
    """child("publish(...)") is what the expression gives in another process, that talks to `hub`.

    A variable that is set for one call only gets a process of its own.
    """

    def run(code: str, token: str = hub.token, **more: str) -> Any:
        if not more:
            return process.ask(code, token)
        alone = _Child(hub, tmp_path, **more)
        try:
            return alone.ask(code, token)
        finally:
            alone.end()

    return run


@pytest.fixture
def version(tmp_path: Path) -> MakeVersion:
    """version("aaaaaaaaaaaa") is a whole version folder; `test_split` gives it one more file a view."""

    def make(
        digits: str = "aaaaaaaaaaaa", rows: list[dict[str, str]] = ROWS, *, test_split: bool = False
    ) -> Path:
        folder = tmp_path / "datasets" / "harmless" / f"v3-{digits}"
        splits = ("train", "test") if test_split else ("train",)
        for view in VIEWS:
            for split in splits:
                part = folder / "data" / view / f"{split}-00000-of-00001.parquet"
                part.parent.mkdir(parents=True, exist_ok=True)
                shown = rows if view == "preference" else [{"prompt": row["prompt"]} for row in rows]
                pq.write_table(pa.Table.from_pylist(shown), part, compression="zstd")
        (folder / ".synth").mkdir()
        (folder / ".synth" / "pipeline.yaml").write_text("name: harmless\n")
        pq.write_table(pa.table({"row": ["r1"], "call": ["c1"]}), folder / ".synth" / "lineage.parquet")
        (folder / "README.md").write_text(_card(splits))
        _write_manifest(folder, digits)
        return folder

    return make


def _card(splits: tuple[str, ...]) -> str:
    lines = ["---", "configs:"]
    for view in VIEWS:
        lines += [f"- config_name: {view}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: data/{view}/{split}-*.parquet"]
    return "\n".join([*lines, "---", "# harmless", ""])


def _write_manifest(folder: Path, digits: str) -> None:
    files = {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    manifest = {"version": f"v3-{digits}", "id": digits.ljust(64, "0"), "name": "harmless"}
    text = json.dumps(manifest | {"views": list(VIEWS), "files": files})
    (folder / ".synth" / "manifest.json").write_text(text)


def _publish(folder: Path, **options: object) -> str:
    """The expression that publishes a folder in a child."""
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"show(publish(Path({str(folder)!r}), {REPO!r}{given}))"


def _messages(repo: Repo) -> list[str]:
    return [commit.message for commit in repo.commits]


def _read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_version_becomes_one_commit_and_one_tag(hub: HubServer, child: Child, version: MakeVersion) -> None:
    folder = version()

    said = child(_publish(folder))

    repo = hub.repos[KEY]
    assert _messages(repo) == ["initial commit", "Publish harmless v3-aaaaaaaaaaaa"]
    assert repo.tags == {"v3-aaaaaaaaaaaa": repo.head.oid}
    assert repo.private
    there = {path: blob.read() for path, blob in repo.head.files.items() if path != ".gitattributes"}
    assert there == _read(folder)
    assert said == {
        "repo": REPO,
        "url": f"{hub.url}/datasets/{REPO}",
        "commit": repo.head.oid,
        "tag": "v3-aaaaaaaaaaaa",
        "files": sorted(_read(folder)),
        "uploaded": True,
    }


@pytest.mark.slow
def test_the_tag_loads_as_the_rows_that_were_published(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    folder = version(test_split=True)
    child(_publish(folder))
    hub.commit(KEY, {"data/preference/train-00000-of-00001.parquet": None})  # main moves on

    loaded = child(
        f"""{{split: rows.to_list() for split, rows in
        __import__('datasets').load_dataset({REPO!r}, 'preference', revision='v3-aaaaaaaaaaaa').items()}}"""
    )

    assert loaded == {"train": ROWS, "test": ROWS}


def test_publishing_again_makes_no_commit(hub: HubServer, child: Child, version: MakeVersion) -> None:
    folder = version()

    first, second = child(f"[{_publish(folder)}, {_publish(folder)}]")

    assert second == first | {"uploaded": False}
    assert hub.count("POST .*/commit/") == hub.count("POST .*/tag/") == 1


def test_an_older_version_that_has_its_tag_is_not_committed_over_a_newer_one(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    old, new = version("aaaaaaaaaaaa"), version("bbbbbbbbbbbb", ROWS[:2])

    first, _, again = child(f"[{_publish(old)}, {_publish(new)}, {_publish(old)}]")

    assert again == first | {"uploaded": False}
    assert len(hub.repos[KEY].commits) == 3


def test_a_push_that_was_killed_before_its_tag_gets_the_tag_without_a_commit(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    folder = version()
    child(_publish(folder))
    hub.repos[KEY].tags.clear()

    said = child(_publish(folder))

    assert not said["uploaded"]
    assert hub.repos[KEY].tags == {"v3-aaaaaaaaaaaa": hub.repos[KEY].head.oid}
    assert hub.count("POST .*/commit/") == 1


def test_a_503_on_the_commit_is_tried_again_and_nothing_goes_up_twice(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    hub.fail("POST .*/commit/", 503)

    said = child(_publish(version()))

    assert said["uploaded"]
    assert len(hub.repos[KEY].commits) == 2
    assert hub.count("POST .*/commit/") == 2
    assert hub.count("PUT /storage/") == 3  # two views and the lineage, once each


def test_the_hub_is_given_the_time_that_it_asks_for(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    hub.fail("POST .*/commit/", 429, headers={"Retry-After": "1"})
    hub.fail("POST .*/tag/", 429, headers={"RateLimit": '"api";r=0;t=0'})

    said = child(_publish(version()))

    assert said["uploaded"]
    for kind in ("/commit/", "/tag/"):
        refused, granted = (seen for seen in hub.log if kind in seen.path)
        assert granted.at_s - refused.at_s >= 1


@pytest.mark.parametrize("status", [503, 0])
def test_a_commit_whose_answer_was_lost_is_found_and_not_made_twice(
    hub: HubServer, child: Child, version: MakeVersion, status: int
) -> None:
    hub.fail("POST .*/commit/", status, after=True)

    said = child(_publish(version()))

    assert said["uploaded"]
    assert said["commit"] == hub.repos[KEY].head.oid
    assert hub.count("POST .*/commit/") == 1


def test_a_hub_that_stays_away_is_one_sentence_and_leaves_the_former_version(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    child(_publish(version()))
    hub.fail("POST .*/commit/", 503, times=99)

    said = child(_publish(version("bbbbbbbbbbbb", ROWS[:2])))

    assert said["error"] == "ProviderError"
    assert "still answers 503 after several tries" in said["says"]
    assert list(hub.repos[KEY].tags.values()) == [hub.repos[KEY].head.oid]


def test_a_commit_that_lost_a_race_is_made_on_the_new_head(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    hub.meanwhile("POST .*/commit/", lambda: hub.commit(KEY, {"LICENSE": b"by hand"}))

    said = child(_publish(version()))

    assert said["uploaded"]
    assert _messages(hub.repos[KEY])[1:] == ["by hand", "Publish harmless v3-aaaaaaaaaaaa"]
    assert "LICENSE" in hub.repos[KEY].head.files
    assert [seen.status for seen in hub.log if "/commit/" in seen.path] == [412, 200]


def test_a_second_lost_race_is_told_and_not_fought(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    hub.fail("POST .*/commit/", 412, times=99)

    said = child(_publish(version()))

    assert said["error"] == "ProviderError"
    assert "somebody else is committing" in said["says"]
    assert hub.count("POST .*/commit/") == 2


def test_a_wrong_token_is_one_clear_sentence_without_the_token(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    hub.fail("POST /api/repos/create", 401, message="hf_wrong is not a token that I know")

    said = child(_publish(version()), token="hf_wrong")

    assert said["error"] == "ProviderError"
    assert "hf auth login" in said["says"]
    assert "[token] is not a token" in said["says"]  # even a Hub that repeats it
    assert "\n" not in said["says"]
    assert not hub.repos


def test_a_namespace_of_somebody_else_is_refused_with_a_hint(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    said = child(_publish(version()).replace(REPO, "google/harmless"))

    assert said["error"] == "ProviderError"
    assert "write access to 'google'" in said["says"]


def test_nobody_logged_in_is_told_how_to(hub: HubServer, child: Child, version: MakeVersion) -> None:
    said = child(_publish(version()), token="")

    assert said["error"] == "UserError"
    assert "hf auth login" in said["says"]
    assert "HF_TOKEN" in said["says"]
    assert hub.log == []


def test_a_stale_file_of_the_former_version_goes_with_the_one_commit(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    child(_publish(version("aaaaaaaaaaaa", test_split=True)))
    hub.commit(KEY, {"LICENSE": b"by hand", ".synth/former.json": b"{}"})
    folder = version("bbbbbbbbbbbb", ROWS[:2])

    child(_publish(folder))

    repo = hub.repos[KEY]
    assert _messages(repo)[-2:] == ["by hand", "Publish harmless v3-bbbbbbbbbbbb"]
    assert set(repo.head.files) == {*_read(folder), "LICENSE", ".gitattributes"}
    assert set(repo.tags) == {"v3-aaaaaaaaaaaa", "v3-bbbbbbbbbbbb"}


def test_rows_that_were_to_stay_private_do_not_go_to_a_public_repository(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    folder = version()
    child(_publish(version("bbbbbbbbbbbb", ROWS[:2]), private=False))
    assert not hub.repos[KEY].private

    said = child(_publish(folder))

    assert said["error"] == "UserError"
    assert "is public" in said["says"]
    assert len(hub.repos[KEY].commits) == 2


def test_a_file_that_the_hub_leaves_out_is_no_success(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    child(_publish(version()))
    hub.commit(KEY, {".gitignore": b".synth/pipeline.yaml\n", ".synth/pipeline.yaml": None})

    said = child(_publish(version("bbbbbbbbbbbb", ROWS[:2])))

    assert said["error"] == "ProviderError"
    assert ".gitignore" in said["says"]
    assert "v3-bbbbbbbbbbbb" not in hub.repos[KEY].tags


def test_a_half_version_is_refused_with_all_its_faults_before_any_request(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    no_manifest, damaged = version("aaaaaaaaaaaa"), version("bbbbbbbbbbbb")
    (no_manifest / ".synth" / "manifest.json").unlink()
    (damaged / "data" / "sft" / "train-00000-of-00001.parquet").unlink()
    (damaged / "data" / "stray.json").write_text("{}")

    first, second = (child(_publish(folder)) for folder in (no_manifest, damaged))

    assert first["error"] == second["error"] == "UserError"
    assert ".synth/manifest.json is missing" in first["says"]
    assert "sft/train-00000-of-00001.parquet is missing" in second["says"]
    assert "data/stray.json: is not in the manifest" in second["says"]
    assert hub.log == []


def test_a_version_whose_bytes_changed_is_refused(hub: HubServer, child: Child, version: MakeVersion) -> None:
    folder = version()
    part = folder / "data" / "sft" / "train-00000-of-00001.parquet"
    part.write_bytes(part.read_bytes() + b"\0")

    said = child(_publish(folder))

    assert said["error"] == "UserError"
    assert "changed since the version was made" in said["says"]
    assert hub.log == []


def test_a_dry_run_lists_the_files_and_makes_no_request(
    hub: HubServer, child: Child, version: MakeVersion
) -> None:
    folder = version()

    said = child(_publish(folder, dry_run=True), token="")

    assert said["files"] == sorted(_read(folder))
    assert (said["commit"], said["uploaded"]) == ("", False)
    assert hub.log == []


@pytest.mark.parametrize("name", ["harmless", "me/", "me/a/b", "me/a--b", "me/ä", "me/.a", "datasets/me/a"])
def test_a_name_that_is_no_org_and_name_is_refused(version: MakeVersion, name: str) -> None:
    with pytest.raises(UserError, match="expected ORG/NAME"):
        publish(version(), name, dry_run=True)


@pytest.mark.parametrize(
    ("pattern", "status", "error", "words"),
    [
        ("PUT /storage/", 403, "ProviderError", "the token may not write"),
        ("POST /api/validate-yaml", 400, "UserError", "Invalid metadata in README.md"),
        ("POST .*/commit/", 413, "ProviderError", "the Hub answered 413 (out of order)"),
        ("GET .*/refs", 0, "ProviderError", "cannot reach http://127.0.0.1:"),
    ],
)
def test_whatever_fails_underneath_is_one_sentence(  # noqa: PLR0913
    hub: HubServer, child: Child, version: MakeVersion, pattern: str, status: int, error: str, words: str
) -> None:
    hub.fail(pattern, status, times=99)

    said = child(_publish(version()))

    assert said["error"] == error
    assert words in said["says"]
    assert "signature=" not in said["says"]


def test_an_endpoint_without_xet_storage_is_told_what_to_set(child: Child, version: MakeVersion) -> None:
    said = child(_publish(version()), HF_HUB_DISABLE_XET="0")

    assert said["error"] == "ProviderError"
    assert "HF_HUB_DISABLE_XET=1" in said["says"]


def test_offline_mode_is_told_and_not_tried_again(child: Child, version: MakeVersion) -> None:
    said = child(_publish(version()), HF_HUB_OFFLINE="1")

    assert said == {"error": "UserError", "says": "cannot publish offline: HF_HUB_OFFLINE is set"}


def test_storage_is_never_sent_the_token(hub: HubServer, child: Child, version: MakeVersion) -> None:
    child(_publish(version()))

    uploads = [seen for seen in hub.log if seen.method == "PUT"]
    assert uploads
    assert {seen.token for seen in uploads} == {""}


def test_importing_publish_does_not_import_the_client() -> None:
    code = "import sys, synth.publish; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
