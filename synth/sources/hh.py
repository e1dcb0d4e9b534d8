"""HH: what people asked an assistant, and which of two of its replies they preferred.

Bai et al. 2022, "Training a Helpful and Harmless Assistant with RLHF" (arXiv:2204.05862): files of
``anthropics/hh-rlhf``, an object ``{chosen, rejected}`` of two transcripts a line. Constitutional AI (Bai
et al. 2022, arXiv:2212.08073), section 4.2, trains its preference model on people's comparisons of
helpfulness beside a model's of harmlessness; Hugging Face's open recipe takes first human turns as prompts.

Differs: what is no comparison of two answers to one prompt is left out and counted, where the files have it.
The files themselves do not come with synth: name your own copy.
"""

from typing import Any, Literal

from pydantic import Field

from synth.rows import Message
from synth.sources import Beginning, FileSource, compared
from synth.transcript import parse

SIDES = ("chosen", "rejected")


class Hh(FileSource):
    """Read `path`, a file of comparisons of dialogues, ``.jsonl`` or ``.jsonl.gz``.

    Needs: nothing. Gives: with ``take: first_turn`` rows with the first human turn as their prompt; with
    ``take: pairs`` rows with the turns that both dialogues share as their prompt, the two last turns as
    answers and a person's judgement of them, booked on this step. Costs: nothing.
    """

    take: Literal["first_turn", "pairs"] = Field(
        description="first_turn: prompts alone; pairs: comparisons by people"
    )

    def mistake(self, line: Any) -> str | None:
        """A line that does not hold two texts."""
        if isinstance(line, dict) and all(isinstance(line.get(side), str) for side in SIDES):
            return None
        return "expected an object with the texts 'chosen' and 'rejected'"

    def begun(self, line: dict[str, Any], step: str) -> Beginning:
        """A prompt, or a comparison."""
        facts = {key: value for key, value in line.items() if key not in SIDES}
        chosen = parse(line["chosen"])
        rejected = parse(line["rejected"]) if self.take == "pairs" else chosen
        if chosen is None or rejected is None:
            return Beginning((Message("user", line["chosen"]),), facts=facts, dropped="no_transcript")
        if self.take == "pairs":
            return compared(chosen, rejected, step, facts)
        first = chosen[0]
        asks = first.role == "user" and first.content.strip()
        return Beginning((first,), facts=facts, dropped="" if asks else "no_human_turn")
