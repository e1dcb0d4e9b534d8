"""Respond: sample answers to each prompt.

A `system` message guides the answers and is then forgotten, so that a model trained on them learns what the
message brought about: context distillation (Askell et al. 2021, arXiv:2112.00861), there by KL divergence,
here by samples.
"""

from collections.abc import AsyncGenerator

from pydantic import Field

from synth.rows import APART, Message, Row
from synth.step import Bench, Each, ModelName, answered


class Respond(Each):
    """Add `count` answers to a row, sampled at the same time.

    Needs: a row with a prompt. Gives: the same row with `count` more answers. Costs: `count` calls.
    """

    model: ModelName
    count: int = Field(1, ge=1)
    temperature: float = Field(1.0, ge=0, description="1, as Constitutional AI samples")
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)
    system: str | None = Field(
        None,
        description="said to the model before the prompt, and not kept in the row: what it brings about is",
    )

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` with its answers. Rows of equal content, and further steps, ask for other samples."""
        model = bench.model(self.model)
        first = row.occurrence * self.count + APART * len(row.answers)
        system = (Message("system", self.system),) if self.system else ()
        replies = await bench.ask_all(
            [
                model.ask(
                    [*system, *row.prompt],
                    sample=first + number,
                    temperature=self.temperature,
                    top_p=self.top_p,
                    max_tokens=self.max_tokens,
                )
                for number in range(self.count)
            ]
        )
        yield row.answered(*(answered(reply, bench, self.model) for reply in replies))

    def calls(self, rows: float) -> float:
        """`count` a row."""
        return rows * self.count
