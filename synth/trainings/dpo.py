"""Direct preference optimization: from pairs to a policy, without a reward model.

Rafailov et al. 2023 (arXiv:2305.18290), section 4: the loss is -log sigmoid(beta * h), where h is by how
much more than the reference the policy prefers the chosen answer, in nats summed over the answer. The
reference is the model that the training starts from. Hard labels: a pair's p_chosen is not used.
"""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from synth.train.base import Training


class DPO(Training):
    """Learn to prefer the chosen answer.

    Needs: the preference view. Gives: a causal language model.
    """

    view: ClassVar[str] = "preference"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")

    learning_rate: float | None = Field(
        None, gt=0, description="5e-6 with LoRA and 5e-7 without, as in TRL's example commands"
    )
    beta: float = Field(0.1, gt=0, description="pull towards the reference; 0.1 in the paper's appendix B")

    @property
    def rate(self) -> float:
        return self.learning_rate or (5e-6 if self.lora else 5e-7)

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.from_:
            return ()
        return ("dpo: no supervised training comes before it; the paper starts from one (from: sft)",)

    def trainer(self, base: Path, rows: Any, tokenizer: Any, out: Path) -> Any:
        from trl import DPOConfig, DPOTrainer

        # No second copy of the model: with LoRA the reference is the model with its adapters off;
        # without, the reference's log-probabilities are computed before the first step.
        reference = {"precompute_ref_log_probs": not self.lora}
        return DPOTrainer(
            model=str(base),
            args=DPOConfig(**self.arguments(out), **reference, loss_type=["sigmoid"], beta=self.beta),
            train_dataset=rows,
            processing_class=tokenizer,
            peft_config=self.adapter(),
        )
