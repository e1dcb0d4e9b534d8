"""Prompts from a JSON Lines file: one object a line."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from synth import assets, seeds
from synth.errors import Problem, UserError
from synth.rows import Message, Row, sourced
from synth.step import Bench, SeedsName, Source

_conversation = TypeAdapter(tuple[Message, ...])


class Jsonl(Source):
    """Read `path`; a line's `column` is the prompt, a text or a list of messages.

    Needs: nothing. Gives: rows with a prompt; the line's other columns are facts. Costs: nothing.
    """

    path: SeedsName
    column: str = Field("prompt", description="the key that holds the prompt")

    async def begin(self, bench: Bench) -> AsyncGenerator[Row]:
        """Yield a row a line; equal prompts are told apart by how many came before."""
        seen: Counter[str] = Counter()
        for line in self._lines(assets.find("seeds", self.path, bench.folder)):
            if isinstance(line, Problem):
                raise UserError(line)
            facts = {key: value for key, value in line.items() if key != self.column}
            prompt = self._prompt(line)
            row = sourced(prompt, 0)
            yield sourced(prompt, seen[row.root], facts)
            seen[row.root] += 1

    def rows_out(self, rows: float, folder: Path) -> float:
        """As many as the file has lines."""
        return sum(1 for _ in self._lines(assets.find("seeds", self.path, folder)))

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Malformed lines, before anything runs."""
        found = [
            line for line in self._lines(assets.find("seeds", self.path, folder)) if isinstance(line, Problem)
        ]
        yield from (("path", str(problem)) for problem in found)

    def _lines(self, path: Path) -> Iterator[dict[str, Any] | Problem]:
        for number, line in seeds.lines(path):
            if isinstance(line, Problem):
                yield line
            elif not isinstance(line, dict) or self.column not in line:
                yield Problem(f"expected an object with the key {self.column!r}", str(path), number)
            elif not self._is_prompt(line):
                yield Problem(f"{self.column}: expected a text or a list of messages", str(path), number)
            else:
                yield line

    def _is_prompt(self, line: dict[str, Any]) -> bool:
        try:
            return bool(self._prompt(line))
        except ValidationError:
            return False

    def _prompt(self, line: dict[str, Any]) -> tuple[Message, ...]:
        value = line[self.column]
        if isinstance(value, str):
            return (Message("user", value),) if value.strip() else ()
        return _conversation.validate_python(value)
