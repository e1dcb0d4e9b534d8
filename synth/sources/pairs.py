"""Pairs: comparisons that people have made, from the columns prompt, chosen and rejected.

The form in which preference data is shared, and which TRL trains on: an answer is a text, or a list of
messages. Several that do not begin with the assistant's are the whole conversation; others follow the prompt.
"""

from typing import Any

from pydantic import Field

from synth.rows import Message
from synth.sources import Beginning, FileSource, compared, messages


class Pairs(FileSource):
    """Read `path`, JSON Lines, ``.jsonl`` or ``.jsonl.gz``.

    Needs: nothing. Gives: rows with a prompt, two answers and a person's judgement of them, booked on this
    step; the line's other columns are facts. Costs: nothing.
    """

    prompt: str = Field("prompt", description="the key that holds the prompt, a text or a list of messages")
    chosen: str = Field("chosen", description="the key that holds the better answer")
    rejected: str = Field("rejected", description="the key that holds the worse one")

    def mistake(self, line: Any) -> str | None:
        """A line without two answers, or without a prompt for them."""
        if not isinstance(line, dict):
            return "expected an object"
        for side in (self.chosen, self.rejected):
            if not messages(line.get(side)):
                return f"{side}: expected a text or a list of messages"
            if not _is_whole(line[side]) and not messages(line.get(self.prompt)):
                return f"{self.prompt}: expected a text or a list of messages, which {side!r} is an answer to"
        return None

    def begun(self, line: dict[str, Any], step: str) -> Beginning:
        """A comparison."""
        columns = (self.prompt, self.chosen, self.rejected)
        facts = {key: value for key, value in line.items() if key not in columns}
        return compared(self._dialogue(line, self.chosen), self._dialogue(line, self.rejected), step, facts)

    def _dialogue(self, line: dict[str, Any], side: str) -> tuple[Message, ...]:
        """The prompt and the answer under `side`, which is the last turn."""
        said = line[side]
        if _is_whole(said):
            return messages(said) or ()
        answer = (Message("assistant", said),) if isinstance(said, str) else messages(said) or ()
        return (messages(line[self.prompt]) or ()) + answer


def _is_whole(said: object) -> bool:
    """Whether an answer is a conversation from its beginning: several messages, the assistant's not first."""
    first, *others = messages(said) or (None,) if isinstance(said, list) else (None,)
    return bool(others) and first is not None and first.role != "assistant"
