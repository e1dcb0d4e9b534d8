"""SFT: prompts and the completions to learn from."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from synth.rows import Judgment, Row
from synth.scores import scores
from synth.store.views import CHAT, LeftOut, View, chat, reply


class Sft(View):
    """Prompt and completion, a line for every answer that is shown.

    With ``answers: revisions`` every revision is one, as Constitutional AI trains on all of them. With
    ``best`` it is the answer of the highest score, of equal scores the first, as in rejection sampling; with
    ``passed`` every answer that passed all checks. What could not be read is neither.
    """

    columns = pa.schema([("id", pa.string()), ("prompt", CHAT), ("completion", CHAT)])

    answers: Literal["auto", "revisions", "last", "all", "best", "passed"] = Field(
        "auto", description="auto: the revisions where a row has some, else all answers"
    )
    up_to: int | None = Field(
        None, ge=1, description="revisions: of the first so many rounds, as SL-CAI-n is trained on"
    )
    judge: str | None = Field(
        None,
        description="id of the judging step that best or passed goes by; if left out, best goes by the last "
        "one that scored answers alone, and passed by all checks",
    )
    aspect: str | None = Field(
        None, description='best: one aspect to go by, "" the answer as a whole; the mean if left out'
    )

    def show(self, row: Row) -> Iterator[dict[str, Any] | LeftOut]:
        """Yield the chosen answers of `row`; those that `unfit` names are left out."""
        chosen = list(self._chosen(row))
        if not chosen:
            yield LeftOut("no_revision" if row.answers else "no_answer")
        for number in chosen:
            yield number if isinstance(number, LeftOut) else self._line(row, number)

    def _line(self, row: Row, number: int) -> dict[str, Any] | LeftOut:
        answer = row.answers[number]
        if reason := answer.unfit:
            return LeftOut(reason)
        return {
            "id": f"{row.id}:{number:04}",
            "prompt": chat(*row.prompt),
            "completion": reply(answer.text),
        }

    def _chosen(self, row: Row) -> Iterator[int | LeftOut]:
        """The answers to show, and why others that were judged are not."""
        if self.answers == "best" and row.answers:
            yield self._best(row)
        elif self.answers == "passed":
            yield from self._passed(row)
        else:
            yield from self._numbers(row)

    def _numbers(self, row: Row) -> Sequence[int]:
        every = range(len(row.answers))
        revised = [number for number in every if row.answers[number].parent is not None]
        if self.answers == "last":
            return every[-1:]
        if self.answers == "revisions" or (self.answers == "auto" and revised):
            return revised[: self.up_to]
        return every

    def _best(self, row: Row) -> int | LeftOut:
        """The answer of the highest score among those that are fit."""
        found = scores(row, self.judge, self.aspect)
        fit = [number for number in sorted(found.of) if not row.answers[number].unfit]
        if fit:
            return max(fit, key=found.of.__getitem__)
        reasons = [*found.unreadable.values(), *(row.answers[number].unfit for number in sorted(found.of))]
        return LeftOut(next((reason for reason in reasons if reason), "not_judged"))

    def _passed(self, row: Row) -> Iterator[int | LeftOut]:
        """Every answer of which all checks say that it passed."""
        for number in range(len(row.answers)):
            checks = [judgment for judgment in row.judgments if self._is_check(judgment, number)]
            reason = _reason_failed(checks)
            yield LeftOut(reason) if reason else number

    def _is_check(self, judgment: Judgment, number: int) -> bool:
        is_asked = self.judge is None or judgment.step == self.judge
        return is_asked and judgment.kind == "check" and judgment.candidates == (number,)


def _reason_failed(checks: Sequence[Judgment]) -> str | None:
    """Why an answer with these checks has not passed: it was not checked, could not be, or failed one."""
    if not checks:
        return "not_judged"
    if all(judgment.value == 1.0 for judgment in checks):
        return None
    return next((judgment.unreadable for judgment in checks if judgment.unreadable), "failed_check")
