"""``python -m synth.train.worker``: the process that trains. Its spec comes on standard input.

It says ``{step, of, metrics}`` at every entry of the log and ``{done}`` at the end.
"""

import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import orjson
import transformers

from synth.errors import UserError
from synth.train.base import Training
from synth.train.card import card
from synth.train.child import Say, work


@dataclass(frozen=True)
class Lengths:
    """How the rows fit into `max_length`, in tokens. No row is cut or left out without being counted.

    Attributes:
        rows: rows of the split.
        trained: rows that are trained on.
        truncated: rows longer than `max_length`, whether they are cut or left out.
        longest: tokens of the longest row, prompt and answer together.
    """

    rows: int
    trained: int
    truncated: int
    longest: int

    @property
    def truncated_share(self) -> float:
        """In [0, 1]."""
        return self.truncated / self.rows


class Progress(transformers.TrainerCallback):  # type: ignore[misc]
    """Passes on what the trainer logs."""

    def __init__(self, say: Say) -> None:
        self.say = say

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any], **_: Any) -> None:
        """Say one entry; the last one, which sums up the run, is no step."""
        if "loss" in logs:
            self.say({"step": state.global_step, "of": state.max_steps, "metrics": logs})


def train(spec: dict[str, Any], say: Say) -> None:
    """Train as `spec` says and write the model, its metrics and its card to the folder it names."""
    started = time.monotonic()
    training = load_training(spec["training"])
    base, out = Path(spec["base"]), Path(spec["out"])
    tokenizer = load_tokenizer(base)
    rows = load_rows(spec["files"], training.columns, out.with_name("cache"))
    # LoRA matrices and a reward head are drawn before the trainer sets its own seed.
    transformers.set_seed(training.seed)
    sizes = [size(tokenizer, row) for row in rows]
    check_sizes(training, sizes)
    trainer = training.trainer(base, rows, tokenizer, out.with_name("trainer"))
    lengths = Lengths(
        rows=len(rows),
        trained=len(trainer.train_dataset),
        truncated=sum(longest > training.max_length for _, longest in sizes),
        longest=max(longest for _, longest in sizes),
    )
    trainer.add_callback(Progress(say))
    trainer.train()
    training.save(trainer, out)
    metrics = summary(lengths, trainer.state, time.monotonic() - started)
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    write(out / "metrics.json", {"summary": metrics, "history": history})
    (out / "README.md").write_text(card(spec["about"], metrics), encoding="utf-8")
    say({"done": metrics})


def load_training(spec: Mapping[str, Any]) -> Training:
    """The training that `spec` describes: the module and the name of its class, and its fields."""
    kind: type[Training] = getattr(importlib.import_module(spec["module"]), spec["class"])
    return kind.model_validate(spec["fields"])


def load_tokenizer(base: Path) -> Any:
    """The tokenizer of `base`. Without a chat template the rows have no one text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
    if not tokenizer.chat_template:
        raise UserError(f"{base.name} has no chat template, so it cannot be trained on conversations")
    return tokenizer


def load_rows(files: Sequence[str], columns: Sequence[str], cache: Path) -> Any:
    """The rows, memory-mapped from files in `cache` rather than in the user's home."""
    return datasets.Dataset.from_parquet(list(files), columns=list(columns), cache_dir=str(cache))


def size(tokenizer: Any, row: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of a row's prompt, and of its prompt with the longest of its answers."""
    prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
    answers = [row[column] for column in row if column != "prompt"]
    texts = [tokenizer.apply_chat_template(row["prompt"] + answer, tokenize=False) for answer in answers]
    counts = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (prompt, *texts)]
    return counts[0], max(counts[1:])


def check_sizes(training: Training, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse data of which no row would be left."""
    if not any(training.fits(*size) for size in sizes):
        raise UserError(
            f"{training.name}.max_length: no row of the {training.view} view fits into {training.max_length} "
            f"tokens; the shortest has a prompt of {min(sizes)[0]}, with its answer {min(sizes)[1]}"
        )


def summary(lengths: Lengths, state: Any, seconds: float) -> dict[str, Any]:
    """What is worth a line in a report: how the rows fit, and the first and the last of each metric."""
    logs = [entry for entry in state.log_history if "loss" in entry]
    return {
        **asdict(lengths),
        "truncated_share": lengths.truncated_share,
        "steps": state.global_step,
        "seconds": round(seconds, 1),
        "first": logs[0] if logs else {},
        "last": logs[-1] if logs else {},
    }


def write(path: Path, content: Any) -> None:
    """Write `content` as JSON that a diff shows well."""
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")


if __name__ == "__main__":
    work(train)
