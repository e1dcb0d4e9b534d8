"""Growing a pool: a model is asked for new tasks again and again, and what is new is admitted.

What self-instruct and Alpaca share. The pool is the same however many requests are in flight: request n is
drawn from the pool as it stood when reply n - `lag` had been dealt with, and replies are admitted in the
order of requests. So a run that was killed goes on with the very requests that it had not made yet, under the
same numbers.

Where the originals ask for a batch of 5 at a time, all drawn from the pool as the batch before left it, here
`lag` requests are always on their way; a request's number counts requests, and not batches.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from synth import rouge, stream
from synth.errors import RowError
from synth.instructions import Candidate, Form, Mode
from synth.models.base import Reply
from synth.models.client import SAMPLING, Model
from synth.rouge import Pool
from synth.rows import Message, Row, digest, made
from synth.seeds import SeedTask
from synth.step import Bench, ModelName, Source

MOST_SIMILAR = 10


@dataclass
class Known:
    """The instructions that a new one must differ from.

    Attributes:
        tasks: those that people wrote.
        pool: theirs and those that were admitted, in that order.
        admitted: the latter alone.
    """

    tasks: Sequence[SeedTask]
    mode: Mode
    pool: Pool = field(init=False)
    admitted: list[str] = field(default_factory=list)
    _people: Pool = field(init=False)

    def __post_init__(self) -> None:
        tokenize = rouge.tokens if self.mode == "modern" else rouge.faithful_tokens
        texts = [task.instruction for task in self.tasks]
        self.pool, self._people = Pool(texts, tokenize), Pool(texts, tokenize)

    def admit(self, text: str, limit: float) -> dict[str, Any] | None:
        """Take `text` in if no score with a known one is above `limit`: what is then known of its novelty.

        ``nearest_seed`` and ``nearest`` are the highest ROUGE-L F with a seed task and with any known
        instruction. The mode ``faithful`` adds what the originals keep; that takes a score with each of the
        pool, where the other mode needs but few.
        """
        found = self._novelty(text, limit)
        if found is not None:
            self.pool.add(text)
            self.admitted.append(text)
        return found

    def _novelty(self, text: str, limit: float) -> dict[str, Any] | None:
        if self.mode == "modern":
            if not self.pool.is_new(text, limit):
                return None
            return {"nearest_seed": self._people.nearest(text)[0], "nearest": self.pool.nearest(text)[0]}
        scores = self.pool.scores(text)
        if max(scores) > limit:
            return None
        # As the originals have it, to the order of ties and the last bit of the mean.
        most = np.argsort(scores)[-MOST_SIMILAR:][::-1]
        return {
            "nearest_seed": max(scores[: len(self.tasks)]),
            "nearest": max(scores),
            "most_similar": {self.pool.texts[place]: scores[place] for place in most},
            "avg_similarity_score": float(np.mean(scores)),
        }


def is_stopped(model: Model) -> bool:
    """Whether `model` is given the originals' stop sequences: one that chats would end at the wrong place."""
    return model.can("complete") and model.can("stop")


def adapted(model: Model, end: str) -> dict[str, Any]:
    """How the original's request was adapted to `model`. `end`: what ends a reply that no stop does."""
    return {
        "request": "completion" if model.can("complete") else "chat",
        "ended_by": "stop_sequences" if is_stopped(model) else end,
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says, the number of the first task to come, and the number that ends the list."""

    text: str
    first: int
    end: int


class Growth(Source):
    """A source that makes `count` new tasks with a model. Override what is abstract."""

    model: ModelName
    count: int = Field(100, ge=1)
    mode: Mode = Field(
        "modern",
        description="faithful: reads replies and measures novelty as the original code does, flaws included",
    )
    max_similarity: float = Field(0.7, ge=0, le=1, description="ROUGE-L F above which one is not new")
    temperature: float = Field(1.0, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    presence_penalty: float | None = Field(0.0, ge=-2, le=2)
    frequency_penalty: float | None = Field(0.0, ge=-2, le=2)
    max_tokens: int = Field(1024, ge=1)
    lag: int = Field(
        8,
        ge=1,
        description="requests in flight; it decides what each one is shown. Twice to three times the model's "
        "max_concurrency keeps it busy; with fewer it waits for the slowest",
    )
    give_up_after: int = Field(
        50, ge=1, description="requests in a row that failed or gave no new instruction"
    )

    never_sent: ClassVar[tuple[str, ...]] = ()  # what the original sends and no request of ours can hold
    yield_: ClassVar[float] = 2.0  # admitted tasks a request; only `synth plan` uses it

    @abstractmethod
    def tasks(self, folder: Path) -> list[SeedTask]:
        """The seed tasks. `folder` is the pipeline's."""

    @abstractmethod
    def asked(self, known: Known, number: int, bench: Bench) -> Asked:
        """What request `number` says, drawn from what is known now."""

    @abstractmethod
    def stops(self, end: int) -> tuple[str, ...]:
        """The stop sequences of a completion whose list ends at number `end`."""

    @abstractmethod
    def candidates(self, text: str, form: Form) -> list[Candidate]:
        """The tasks that a reply offers."""

    @abstractmethod
    def reason_unfit(self, candidate: Candidate) -> str | None:
        """Why `candidate` is no task for a text-only model."""

    def row(self, row: Row, candidate: Candidate, bench: Bench) -> Row:
        """`row`, which has its prompt, with what else `candidate` holds."""
        return row

    def raw(self, bench: Bench) -> bool:
        """Whether the model goes on with a raw text; one that only chats is asked to go on with the list."""
        return bench.model(self.model).can("complete")

    async def begin(self, bench: Bench) -> AsyncGenerator[Row]:
        """Yield a row for every task that is admitted."""
        known = Known(self.tasks(bench.folder), self.mode)

        def request(number: int) -> Coroutine[Any, Any, tuple[Reply, Form]]:
            return self._ask(self.asked(known, number, bench), number, bench)

        async with aclosing(stream.lagged(request, self.lag)) as replies:
            async for row in self._grow(replies, known, bench):
                yield row

    async def _grow(
        self, replies: AsyncGenerator[tuple[Reply, Form] | RowError], known: Known, bench: Bench
    ) -> AsyncGenerator[Row]:
        """Admit what is new in `replies`, until there is enough or nothing new comes any more."""
        number = last_with_new = -1
        async for reply in replies:
            number += 1
            for row in self._admit(reply, number, known, bench):
                last_with_new = number
                yield row
                if len(known.admitted) == self.count:
                    return
            if number - last_with_new == self.give_up_after:
                idle = f"{self.give_up_after} requests in a row failed or gave nothing new"
                bench.journal.note(bench.step, f"{len(known.admitted)} of {self.count}: {idle}")
                return

    async def _ask(self, asked: Asked, number: int, bench: Bench) -> tuple[Reply, Form]:
        """The reply to request `number`, and how to read it."""
        model, raw = bench.model(self.model), self.raw(bench)
        reply = await model.ask(
            [Message("user", asked.text)],
            kind="complete" if raw else "chat",
            sample=number,
            stop=self.stops(asked.end) if raw else (),
            temperature=self.temperature,
            top_p=self.top_p,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            max_tokens=self.max_tokens,
        )
        end = None if is_stopped(model) else asked.end
        return reply, Form(raw, reply.finish == "length", asked.first, end)

    def _admit(
        self, reply: tuple[Reply, Form] | RowError, number: int, known: Known, bench: Bench
    ) -> Iterator[Row]:
        """The rows of reply `number` that are new. Whatever is looked at has its fate in the journal."""
        if isinstance(reply, RowError):
            bench.journal.failed(bench.step, digest("made", bench.step, (number,)), reply)
            return
        for place, candidate in enumerate(self._offered(*reply)):
            prompt = [Message("user", candidate.asks)]
            row = made(bench.step, (number, place), prompt, (reply[0].key,))
            reason = candidate.reason or self.reason_unfit(candidate)
            novelty = None if reason else known.admit(candidate.instruction, self.max_similarity)
            if novelty is None:
                bench.journal.filtered(bench.step, row.id, reason or "too_similar", candidate.instruction)
            else:
                known_of_it = {"request": number, "place": place, **novelty, "origin": self._origin(bench)}
                yield self.row(row.noted(bench.step, **known_of_it), candidate, bench)

    def _offered(self, reply: Reply, form: Form) -> list[Candidate]:
        """What a reply offers; if that is nothing, one candidate that says why."""
        if reply.finish == "content_filter":
            return [Candidate(reply.text, reason="content_filter")]
        return self.candidates(reply.text, form) or [Candidate(reply.text, reason="no_candidate")]

    def _origin(self, bench: Bench) -> dict[str, Any]:
        """How the original's request was adapted to the model at hand."""
        model = bench.model(self.model)
        unable = [name for name in SAMPLING if name != "stop" and not model.can(name)]
        left_out = [name for name in unable if getattr(self, name) is not None]
        return {**adapted(model, "numbered_line"), "left_out": [*left_out, *self.never_sent]}

    def calls(self, rows: float) -> float:
        """One for every few tasks, and what is in flight at the end."""
        return rows / self.yield_ + self.lag

    def rows_out(self, rows: float, folder: Path) -> float:
        """`count`."""
        return self.count
