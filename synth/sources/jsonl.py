"""Prompts from a JSON Lines file: one object a line."""

from typing import Any

from pydantic import Field

from synth.sources import Beginning, FileSource, messages


class Jsonl(FileSource):
    """Read `path`; a line's `column` is the prompt, a text or a list of messages.

    Needs: nothing. Gives: rows with a prompt; the line's other columns are facts. Costs: nothing.
    """

    column: str = Field("prompt", description="the key that holds the prompt")

    def mistake(self, line: Any) -> str | None:
        """A line without a prompt."""
        if not isinstance(line, dict) or self.column not in line:
            return f"expected an object with the key {self.column!r}"
        prompt = line[self.column]
        blank = isinstance(prompt, str) and not prompt.strip()
        return (
            f"{self.column}: expected a text or a list of messages" if blank or not messages(prompt) else None
        )

    def begun(self, line: dict[str, Any], step: str) -> Beginning:
        """A row with its prompt and its facts."""
        facts = {key: value for key, value in line.items() if key != self.column}
        return Beginning(messages(line[self.column]) or (), facts=facts)
