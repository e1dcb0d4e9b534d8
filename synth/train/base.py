"""What every training shares: its keys, its trainer's arguments, and how what it made is saved.

Nothing here imports torch until a trainer is built, and only `synth.train.worker` builds one.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_SCRIPTS = "as in the example commands of TRL's sft.py and dpo.py"
_HANDBOOK = "alignment-handbook, recipes/zephyr-7b-beta/*/config_qlora.yaml"


class Training(BaseModel, ABC):
    """One way to train. The fields are the YAML keys; the file's name is its name there.

    Attributes:
        view: the view of the dataset that it learns from.
        columns: the columns that reach TRL. All others stay behind: TRL gives a meaning to some names
            (`margin` changes the reward loss) that a dataset's own columns do not have.
        task: what peft calls the kind of model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    view: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    task: ClassVar[str] = "CAUSAL_LM"

    id: str | None = Field(None, description="what a later training calls this one; its kind if left out")
    base: str | None = Field(None, description="a fetched model, a checkpoint folder or a Hub repository")
    from_: str | None = Field(
        None,
        alias="from",
        description="an earlier training of this pipeline to go on from, in place of a base",
    )
    epochs: float = Field(1, gt=0, description=f"passes over the rows; 1 {_SCRIPTS}")
    steps: int | None = Field(None, ge=1, description="optimizer steps; if given, `epochs` is not used")
    batch_size: int = Field(2, ge=1, description=f"rows in memory at once; 2 {_SCRIPTS}")
    accumulate: int = Field(8, ge=1, description=f"batches that make one step; 8 {_SCRIPTS}")
    max_length: int = Field(
        1024,
        ge=2,
        description="most tokens of prompt and answer together; TRL's default; what is cut is counted",
    )
    lora: bool = Field(True, description="train low-rank adapters, merged on save, rather than every weight")
    lora_rank: int = Field(16, ge=1, description=_HANDBOOK)
    lora_alpha: int = Field(16, ge=1, description=f"{_HANDBOOK}; adapters are scaled by alpha / rank")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description=_HANDBOOK)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = Field("cosine", description=_HANDBOOK)
    warmup: float = Field(0.1, ge=0, lt=1, description=f"share of the steps; {_HANDBOOK}")
    log_every: int = Field(1, ge=1, description="steps between two entries of metrics.json")
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _one_start(self) -> "Training":
        if self.base and self.from_:
            raise ValueError("give `base` or `from`, not both")
        return self

    @property
    def kind(self) -> str:
        """Its name in YAML: the name of the file that it is in."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def name(self) -> str:
        """What `from` calls it."""
        return self.id or self.kind

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but seldom meant, a sentence each; known without data."""
        return ()

    def fits(self, prompt: int, longest: int) -> bool:
        """Whether TRL trains on a row: `prompt` tokens, and `longest` with the longest of its answers.

        The end of a long answer is cut. A row whose prompt fills `max_length` has nothing to learn from.
        """
        return prompt < min(longest, self.max_length)

    @abstractmethod
    def trainer(self, base: Path, rows: Any, tokenizer: Any, out: Path) -> Any:
        """The TRL trainer, ready to train `base` on `rows` (a `datasets.Dataset` of `columns`)."""

    def arguments(self, out: Path) -> dict[str, Any]:
        """What every TRL configuration is given. TRL's defaults assume a GPU."""
        import torch

        gpu = torch.cuda.is_available()
        return {
            "output_dir": str(out),
            "num_train_epochs": self.epochs,
            "max_steps": self.steps or -1,
            "per_device_train_batch_size": self.batch_size,
            "gradient_accumulation_steps": self.accumulate,
            "learning_rate": self.rate,
            "lr_scheduler_type": self.schedule,
            "warmup_steps": self.warmup,
            "max_length": self.max_length,
            "logging_steps": self.log_every,
            "seed": self.seed,
            "use_cpu": not gpu,
            "bf16": gpu and torch.cuda.is_bf16_supported(),
            "gradient_checkpointing": gpu,
            "dataloader_pin_memory": gpu,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }

    @property
    @abstractmethod
    def rate(self) -> float:
        """The learning rate: the one that was given, or the one that suits `lora`."""

    def adapter(self) -> Any:
        """The LoRA configuration, or None to train every weight."""
        if not self.lora:
            return None
        from peft import LoraConfig

        return LoraConfig(
            r=self.lora_rank,
            lora_alpha=self.lora_alpha,
            lora_dropout=self.lora_dropout,
            target_modules="all-linear",
            # The new head of a reward model is no adapter, and would otherwise stay as it was drawn.
            modules_to_save=["score"] if self.task == "SEQ_CLS" else None,
            task_type=self.task,
        )

    def save(self, trainer: Any, out: Path) -> None:
        """Write a plain checkpoint, adapters merged, that transformers loads without peft.

        `Trainer.save_model` would add its arguments as a pickle.
        """
        model = trainer.accelerator.unwrap_model(trainer.model)
        if self.lora:
            model = model.merge_and_unload()
        model.save_pretrained(out)
        trainer.processing_class.save_pretrained(out)
