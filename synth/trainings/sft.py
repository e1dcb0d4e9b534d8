"""Supervised fine-tuning: the likelihood of the completion, given the prompt.

The loss is the mean negative log-likelihood of the completion's tokens, its end of turn among them; the
prompt's are masked. In constitutional AI this is the first stage (Bai et al. 2022, arXiv:2212.08073,
section 3), there on a pretrained model.
"""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from synth.train.base import Training


class SFT(Training):
    """Learn to say the completions.

    Needs: the sft view. Gives: a causal language model.
    """

    view: ClassVar[str] = "sft"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "completion")

    learning_rate: float | None = Field(
        None, gt=0, description="2e-4 with LoRA and 2e-5 without, as in TRL's example commands"
    )

    @property
    def rate(self) -> float:
        return self.learning_rate or (2e-4 if self.lora else 2e-5)

    def trainer(self, base: Path, rows: Any, tokenizer: Any, out: Path) -> Any:
        from trl import SFTConfig, SFTTrainer

        return SFTTrainer(
            model=str(base),
            args=SFTConfig(**self.arguments(out), completion_only_loss=True),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=self.adapter(),
        )
