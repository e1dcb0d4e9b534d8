"""The nouns that flow through a pipeline. All frozen: a step makes new ones and edits none.

A row's id is given at birth and says where it came from, so that it is the same on every machine:
a child's is the digest of its step, its parent and its index; a source row's is the digest of its
content and of how many equal ones came before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter

from synth.errors import UserError

# Sample indices of one row's later rounds lie this far apart, so that they never meet those of another row.
APART = 1_000_000

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One candidate reply to a row's prompt.

    Attributes:
        text: the reply itself.
        step: id of the step that made it.
        parent: index of the answer that this one revises, None for a fresh one.
        principle: id of the principle it was revised by.
        critique: what the critique said before the revision.
        finish: why the model stopped, as in `Reply.finish`.
        calls: keys of the calls that made it, in order.
        model: the pipeline's name for the model that wrote it, "" if it came from a file.
    """

    text: str
    step: str = ""
    parent: int | None = None
    principle: str | None = None
    critique: str | None = None
    finish: str = "stop"
    calls: tuple[str, ...] = ()
    model: str = ""

    @property
    def unfit(self) -> str | None:
        """Why this is nothing to learn from: it is empty, or the model did not end it itself."""
        if not self.text:
            return "empty_answer"
        return {"length": "cut_off", "content_filter": "content_filter"}.get(self.finish)


JudgmentKind = Literal["pair", "rank", "likelihood", "score", "check"]


@dataclass(frozen=True, slots=True)
class Judgment:
    """One raw judgement: what a judge said, once, of the answers that it was shown. Views derive labels.

    Attributes:
        step: id of the judging step.
        kind: ``pair`` compares two answers; ``rank`` puts several in order; ``likelihood``, ``score`` and
            ``check`` look at one answer alone.
        candidates: indices of the judged answers, in their own order, whatever order was shown.
        order: the same indices in the order in which the judge saw them.
        value: ``pair``: probability in [0, 1] that ``candidates[0]`` is better, already un-swapped;
            ``likelihood``: mean natural-log probability a token of the answer; ``score``: points on the
            step's own scale, more is better; ``check``: 1.0 passed, 0.0 not. None if unreadable, and for
            ``rank``.
        unreadable: why nothing could be read.
        censored: True if a verdict token was not among those returned, so that its probability is a bound.
        principle: id of the principle that was asked about, if one was.
        calls: keys of the calls, in order; none if it was not asked, or code decided.
        aspect: what was looked at, such as ``helpfulness``; "" for the answer as a whole.
        places: ``rank``: the place of each of `candidates`, 1 the best; equal places are a tie.
        bounds: ``pair``: a label may not lie outside, however sure the judge was; ``score``: the ends of the
            scale.
        said: what it said before its verdict: a rationale, or evidence.
        sample: which of several judgements of the same question.
        model: the pipeline's name for the judging model, "" for code and people.
    """

    step: str
    kind: JudgmentKind
    candidates: tuple[int, ...]
    order: tuple[int, ...]
    value: float | None
    unreadable: str | None = None
    censored: bool = False
    principle: str | None = None
    calls: tuple[str, ...] = ()
    aspect: str = ""
    places: tuple[int, ...] = ()
    bounds: tuple[float, float] = (0.0, 1.0)
    said: str = ""
    sample: int = 0
    model: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, the answers it has so far, and what is known about them.

    Attributes:
        id: 24 hex digits, the same for the same work.
        root: digest of the prompt of the first ancestor; rows that share it stay in one split.
        prompt: the conversation that the answers reply to.
        occurrence: how many rows of equal content came before it in its source; so that equal prompts
            ask for different samples.
        answers: candidate replies, in the order in which they were made.
        judgments: raw judgements of them.
        facts: what only one method knows, by the id of its step; plain JSON.
        calls: keys of the calls that made the prompt itself.
    """

    id: str
    root: str
    prompt: tuple[Message, ...]
    occurrence: int = 0
    answers: tuple[Answer, ...] = ()
    judgments: tuple[Judgment, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    calls: tuple[str, ...] = ()

    def child(self, step: str, index: int, **changes: Any) -> "Row":
        """A row born from this one in `step`, as its `index`-th child."""
        return replace(self, id=digest("child", step, self.id, index), **changes)

    def answered(self, *answers: Answer) -> "Row":
        """This row with more answers."""
        return replace(self, answers=self.answers + answers)

    def judged(self, *judgments: Judgment) -> "Row":
        """This row with more judgements."""
        return replace(self, judgments=self.judgments + judgments)

    def origin(self, number: int) -> int:
        """Index of the fresh answer that answer `number` was revised from, however often; itself if fresh."""
        parent = self.answers[number].parent
        return number if parent is None else self.origin(parent)

    def noted(self, step: str, **known: Any) -> "Row":
        """This row with facts that `step` knows, beside those that it knew before.

        Raises:
            UserError: the row's source has a column of the step's name.
        """
        before = self.facts.get(step, {})
        if not isinstance(before, Mapping):
            raise UserError(f"the source has a column {step!r}, and so is a step called; give the step an id")
        return replace(self, facts={**self.facts, step: {**before, **known}})


def digest(*parts: object) -> str:
    """24 hex digits of the SHA-256 of `parts` as JSON: no two lists of parts look alike."""
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]


def sourced(prompt: Sequence[Message], occurrence: int, facts: Mapping[str, Any] | None = None) -> Row:
    """A row read from a file: named by its content and by how many equal ones came before it."""
    content = [[message.role, message.content] for message in prompt]
    return Row(
        id=digest("source", content, facts or {}, occurrence),
        root=digest("root", content),
        prompt=tuple(prompt),
        occurrence=occurrence,
        facts=facts or {},
    )


def made(step: str, index: tuple[int, ...], prompt: Sequence[Message], calls: tuple[str, ...]) -> Row:
    """A row without a parent, made by `step` as the one at `index` (request, place in its reply)."""
    content = [[message.role, message.content] for message in prompt]
    return Row(
        id=digest("made", step, index), root=digest("root", content), prompt=tuple(prompt), calls=calls
    )


_adapter = TypeAdapter(Row)


def to_json(row: Row) -> bytes:
    """`row` as one line of JSON."""
    return orjson.dumps(row)


def from_json(line: bytes) -> Row:
    """The row that `to_json` wrote."""
    return _adapter.validate_json(line)
