"""Sources: steps in which rows begin from files."""

from abc import abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synth import assets, seeds
from synth.errors import Problem, UserError
from synth.rows import Answer, Judgment, Message, Row, sourced
from synth.step import Bench, SeedsName, Source, shown

_conversation = TypeAdapter(tuple[Message, ...])


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a line of a file becomes.

    Attributes:
        prompt, answers, judgments, facts: as in `Row`.
        dropped: why no row begins here, in snake_case; "" if one does.
    """

    prompt: tuple[Message, ...]
    answers: tuple[Answer, ...] = ()
    judgments: tuple[Judgment, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    dropped: str = ""


class FileSource(Source):
    """Rows from a JSON Lines file, packed with gzip or not. Override `mistake` and `begun`."""

    path: SeedsName

    @abstractmethod
    def mistake(self, line: Any) -> str | None:
        """Why the file needs an edit, if `line`, a JSON value, has not the right form; None if it has."""

    @abstractmethod
    def begun(self, line: dict[str, Any], step: str) -> Beginning:
        """What `line`, in which there is no mistake, becomes in the step `step`."""

    async def begin(self, bench: Bench) -> AsyncGenerator[Row]:
        """Yield a row a line; equal prompts are told apart by how many came before."""
        seen: Counter[str] = Counter()
        for line in self._lines(bench.folder):
            if isinstance(line, Problem):
                raise UserError(line)
            new = self.begun(line, bench.step)
            root = sourced(new.prompt, 0).root
            row = sourced(new.prompt, seen[root], new.facts).answered(*new.answers).judged(*new.judgments)
            seen[root] += 1
            if new.dropped:
                bench.journal.filtered(bench.step, row.id, new.dropped, shown(row))
            else:
                yield row

    def rows_out(self, rows: float, folder: Path) -> float:
        """As many as the file has lines in which a row begins."""
        lines = (line for line in self._lines(folder) if not isinstance(line, Problem))
        return sum(not self.begun(line, self.id).dropped for line in lines)

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """Malformed lines, before anything runs."""
        yield from (("path", str(line)) for line in self._lines(folder) if isinstance(line, Problem))

    def _lines(self, folder: Path) -> Iterator[dict[str, Any] | Problem]:
        path = assets.find("seeds", self.path, folder)
        for number, line in seeds.lines(path):
            mistake = None if isinstance(line, Problem) else self.mistake(line)
            yield Problem(mistake, str(path), number) if mistake else line


def messages(value: Any) -> tuple[Message, ...] | None:
    """`value`, a text or a list of messages, as messages; None if it is neither. A text is the user's."""
    if isinstance(value, str):
        return (Message("user", value),)
    try:
        return _conversation.validate_python(value)
    except ValidationError:
        return None


def compared(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...], step: str, facts: Mapping[str, Any]
) -> Beginning:
    """A person's comparison of dialogues that differ in their last turn: one judgement, without a call."""
    if dropped := _incomparable(chosen, rejected):
        return Beginning(chosen, facts=facts, dropped=dropped)
    return Beginning(
        chosen[:-1],
        answers=tuple(Answer(dialogue[-1].content, step) for dialogue in (chosen, rejected)),
        judgments=(Judgment(step, "pair", candidates=(0, 1), order=(0, 1), value=1.0),),
        facts=facts,
    )


def _incomparable(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> str:
    """Why two dialogues are no comparison of answers to one prompt; "" if they are."""
    if chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        return "no_answer"
    if chosen[:-1] != rejected[:-1]:
        return "unequal_prefixes"
    if not any(message.content.strip() for message in chosen[:-1]):
        return "no_prompt"
    if not chosen[-1].content.strip() or not rejected[-1].content.strip():
        return "empty_answer"
    return "identical_answers" if chosen == rejected else ""
