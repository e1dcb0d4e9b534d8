"""A reward model: one number for an answer, higher for the chosen of a pair.

Ouyang et al. 2022 (arXiv:2203.02155), section 3.5, with pairs: the loss is -log sigmoid(r_chosen -
r_rejected), the Bradley-Terry likelihood. The number is read at the last token by a new linear head.
Hard labels: a pair's p_chosen is not used, and its margin is not subtracted.
"""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from synth.train.base import Training


class Reward(Training):
    """Learn to score answers.

    Needs: the preference view. Gives: a sequence classifier with one label. TRL leaves out, rather than
    cuts, a pair that is longer than `max_length`.
    """

    view: ClassVar[str] = "preference"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")
    task: ClassVar[str] = "SEQ_CLS"

    batch_size: int = Field(8, ge=1, description="pairs in memory at once; as in TRL's reward_modeling.py")
    accumulate: int = Field(1, ge=1, description="batches that make one step; as in the same file")
    learning_rate: float | None = Field(
        None, gt=0, description="1e-4 with LoRA and 1e-5 without, as in the same file"
    )

    @property
    def rate(self) -> float:
        return self.learning_rate or (1e-4 if self.lora else 1e-5)

    def fits(self, prompt: int, longest: int) -> bool:
        return longest <= self.max_length

    def trainer(self, base: Path, rows: Any, tokenizer: Any, out: Path) -> Any:
        from trl import RewardConfig, RewardTrainer

        # A path makes TRL build the head, with one label, from this process's seed.
        return RewardTrainer(
            model=str(base),
            args=RewardConfig(**self.arguments(out)),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=self.adapter(),
        )
