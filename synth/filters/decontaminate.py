"""Decontaminate: drop rows whose prompt holds most of a prompt of a test set.

Lambert et al. 2024, "Tulu 3" (arXiv:2411.15124), section 3.2, code ``open-instruct``: a word of a test prompt
matches if it lies in a run of 8 words that a row's user turns hold too; a row that matches more than half of
the words of one test prompt is contaminated. Only what users say is looked at.

Differs: a row goes at a time, where Tulu 3 removes a whole data set of which more than 2 % of a test is
found; words are those of any script, without case and marks, where it takes spaCy's tokens; and a test
prompt of fewer than 8 words, of which there is no run, is found only where a turn says just that.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from synth.errors import Filtered
from synth.filters.curate import prompts_in
from synth.rouge import tokens
from synth.rows import Message, Row
from synth.step import Bench, Each, Names

GRAM = 8
MOST = 0.5

_Run = tuple[str, ...]


class HeldOut:
    """Test prompts, and by which run of words each is known."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sizes: list[int] = []
        self._places: dict[_Run, list[tuple[int, int]]] = defaultdict(list)
        self._short: set[_Run] = set()
        for number, text in enumerate(texts):
            words = tokens(text)
            self._sizes.append(len(words))
            for start, run in enumerate(_runs(words)):
                self._places[run].append((number, start))
            if len(words) < GRAM:
                self._short.add(words)

    def share(self, turns: Sequence[str]) -> float:
        """How much of a test prompt the `turns` of one row hold, in [0, 1]: of the one they hold most of."""
        said = [words for turn in turns if (words := tokens(turn))]
        if not self._short.isdisjoint(said):
            return 1.0
        matched: dict[int, set[int]] = defaultdict(set)
        for run in {run for words in said for run in _runs(words)}:
            for number, start in self._places.get(run, ()):
                matched[number].update(range(start, start + GRAM))
        return max((len(words) / self._sizes[number] for number, words in matched.items()), default=0.0)

    def is_held_by(self, prompt: Sequence[Message], share: float = MOST) -> bool:
        """Whether what users say in one `prompt` holds more than `share` of a test prompt."""
        return self.share([message.content for message in prompt if message.role == "user"]) > share


class Decontaminate(Each):
    """Keep rows that do not hold a prompt of a test set.

    Needs: a row with a prompt; stand before what costs calls. Gives: the row as it is; one that holds too
    much of a test prompt is dropped as ``contaminated``. Costs: nothing.
    """

    held_out: Annotated[str, Names("seeds", prompts_in)] = Field(
        description="a file with the prompts of a test set, under `prompt` or `instruction`"
    )
    share: float = Field(
        MOST, ge=0, lt=1, description="how much of a test prompt a row may hold, as a part of its words"
    )

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row`, or drop it."""
        known = bench.file("seeds", self.held_out, _read)
        if known.is_held_by(row.prompt, self.share):
            raise Filtered("contaminated")
        yield row


def _read(path: Path) -> HeldOut:
    return HeldOut(prompts_in(path))


def _runs(words: Sequence[str]) -> Iterator[_Run]:
    """Every run of 8 words, in order."""
    for start in range(len(words) - GRAM + 1):
        yield tuple(words[start : start + GRAM])
