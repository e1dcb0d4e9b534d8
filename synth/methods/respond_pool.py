"""Respond by a pool: each prompt answered by several models drawn from many, each under a principle.

Cui et al. 2023, "UltraFeedback" (arXiv:2310.01377), section 2: four of 17 models a prompt, drawn uniformly;
each answers under a system message for helpfulness, truthfulness, honesty or verbalised calibration, drawn
by the data set that the prompt came from; temperature 1, top_p 1, at most 1,024 tokens. The mix is the
published table's, or that of the released code, which differ for FLAN, FalseQA and TruthfulQA.

Differs: the wordings of the principles are ours, four each. A data set that the mix does not name gets
helpfulness, as in the code, or what the mix has under the name `other`.
"""

import random
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from synth.rows import APART, Message, Row
from synth.step import Bench, Each, ModelName, answered

Principle = Literal["helpfulness", "truthfulness", "honesty", "verbalized_calibration"]
Mix = Mapping[str, Mapping[Principle, float]]

WORDINGS: Final = 4
ALL_HELPFUL: Final[Mapping[Principle, float]] = {"helpfulness": 100}
# Honesty is a fifth, and gives way to calibration in one case of ten.
CHATS: Final[Mapping[Principle, float]] = {
    "helpfulness": 60,
    "truthfulness": 20,
    "honesty": 18,
    "verbalized_calibration": 2,
}
TRAPS: Final[Mapping[Principle, float]] = {"truthfulness": 50, "honesty": 45, "verbalized_calibration": 5}
MIXES: Final[Mapping[str, Mix]] = {
    "published": {
        "evol_instruct": ALL_HELPFUL,
        "false_qa": {"truthfulness": 100},
        "flan": {"helpfulness": 60, "truthfulness": 20, "verbalized_calibration": 20},
        "sharegpt": CHATS,
        "truthful_qa": {"truthfulness": 100},
        "ultrachat": CHATS,
    },
    "code": {
        "evol_instruct": ALL_HELPFUL,
        "false_qa": TRAPS,
        "flan": {"helpfulness": 80, "verbalized_calibration": 20},
        "sharegpt": CHATS,
        "truthful_qa": TRAPS,
        "ultrachat": CHATS,
    },
}


class RespondPool(Each):
    """Add an answer each by `count` different models to a row.

    Needs: a row with a prompt. Gives: the same row with `count` more answers, each with its model and
    principle; the system messages as facts, by the model's name. Costs: `count` calls.
    """

    models: list[ModelName] = Field(min_length=1)
    count: int = Field(4, ge=1, description="how many of the models answer a prompt")
    source: str = Field("source", description="the column that says which data set a prompt came from")
    mix: (
        Literal["published", "code"]
        | dict[str, Annotated[dict[Principle, Annotated[float, Field(gt=0)]], Field(min_length=1)]]
    ) = Field("published", description="how often each principle is drawn, by data set; or a mix by name")
    temperature: float = Field(1.0, ge=0)
    top_p: float | None = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: one of them is there twice")
        if self.count > len(self.models):
            raise ValueError(f"count: expected at most {len(self.models)}, as many as there are models")
        return self

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its answers. No model answers a row twice."""
        models = random.Random(bench.chance(f"{row.id}:models")).sample(self.models, self.count)
        principles = [self._principle(row, place, bench) for place in range(self.count)]
        systems = [self._system(row, principle, place, bench) for place, principle in enumerate(principles)]
        first = row.occurrence * self.count + APART * len(row.answers)
        replies = await bench.ask_all(
            [
                bench.model(model).ask(
                    [Message("system", system), *row.prompt],
                    sample=first + place,
                    temperature=self.temperature,
                    top_p=self.top_p,
                    max_tokens=self.max_tokens,
                )
                for place, (model, system) in enumerate(zip(models, systems, strict=True))
            ]
        )
        answers = [
            replace(answered(reply, bench, model), principle=principle)
            for model, principle, reply in zip(models, principles, replies, strict=True)
        ]
        said = dict(zip(models, systems, strict=True))
        yield row.answered(*answers).noted(bench.step, systems=said)

    def _principle(self, row: Row, place: int, bench: Bench) -> Principle:
        mix = MIXES[self.mix] if isinstance(self.mix, str) else self.mix
        weights = mix.get(str(row.facts.get(self.source, ""))) or mix.get("other", ALL_HELPFUL)
        dice = random.Random(bench.chance(f"{row.id}:principle", place))
        [drawn] = dice.choices(list(weights), list(weights.values()))
        return drawn

    def _system(self, row: Row, principle: Principle, place: int, bench: Bench) -> str:
        wording = random.Random(bench.chance(f"{row.id}:wording", place)).randrange(WORDINGS)
        return bench.prompt(f"respond_pool/{principle}.md").fill(wording=wording)

    def calls(self, rows: float) -> float:
        """`count` a row."""
        return rows * self.count
