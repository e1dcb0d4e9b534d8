"""Converse: a dialogue of several turns, both sides of which are played by models.

Ding et al. 2023, "UltraChat" (arXiv:2305.14233), section 3: separate calls for the user and the assistant,
and a user that is told to act as a person does, since it thanks without end otherwise. That roles may flip,
and that a word of the model's own may end the talk, is Li et al. 2023, "CAMEL" (arXiv:2303.17760), section 3.

Differs: the opening line is the row's prompt, from whatever step made it; a user's turn that is not one ends
the dialogue, and the turns before it are kept; and no dialogue has a turn that was cut off.
"""

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from synth.errors import Filtered
from synth.models.base import Reply
from synth.rows import Answer, Message, Role, Row, digest
from synth.step import Bench, Each, ModelName, answered

END = "[END]"
SWAPPED: dict[Role, Role] = {"user": "assistant", "assistant": "user"}

_NAME = re.compile(r"\A\s*(?:user|human|person)\s*:\s*", re.IGNORECASE)
_AI = r"(?:AI|artificial intelligence|(?:large )?language model|virtual assistant|chat ?bot)"
# Someone may ask "as an AI, can you …?" or be an AI researcher; only an AI says what it is itself.
_ASSISTANT = re.compile(
    rf"\bas an? {_AI}(?:\W*\Z|\u2026|,? (?:I|I'm|it is|it's|my)\b| (?:language )?(?:model|assistant)\b)"
    rf"|\bI(?:'m| am) (?:just |only )?an? {_AI}(?![ -]\w*(?:er|ist|or|student)\b)"
    r"|(?:^|[.!?]\W{0,4}|\b(?:hi|hello|hey|sure|okay|welcome)\W{1,4})how (?:can|may) I (?:help|assist) you\b"
    r"|(?:^|[.!?]\s{1,4}|,\s?|\bplease )(?:feel free to|don't hesitate to) ask\b"
    r"|^[ \t]{0,8}\W{0,2}(?:assistant|AI|bot)\W{0,2}:",
    re.IGNORECASE | re.MULTILINE,
)
# Kindnesses are listed, and whatever is not listed may want something: to go on for a turn too many costs a
# call, to end a turn too soon costs the rest of the dialogue.
_MUCH = (
    r"(?: (?:(?:so|very) much|a (?:lot|bunch|million)|lots|now|then|again|too|for (?:now|today)|later|soon))*"
)
_GOOD = (
    r"(?:(?:so|very|really|super|quite) )*(?:great|perfect|good|nice|cool|wonderful|awesome|lovely"
    r"|excellent|brilliant|fantastic|amazing|useful|helpful|clear|kind)"
)
_THANKS = (
    rf"(?:many |lots of )?(?:thanks?|thank you|thx|cheers){_MUCH}(?: for(?: [\w'-]+){{1,6}})?"
    r"|(?:good)?bye|good night|farewell|see you|take care|you(?:'re| are)(?: very| most)? welcome"
    r"|I(?: really| do| truly)* appreciate (?:it|that|this|(?:all )?(?:your|the) (?:help|advice|time|tips))"
)
_KIND = (
    rf"(?:(?:that|this|it|you|everything)(?:'s| is| was| are| were|'ve been|'re) )?(?:an? )?{_GOOD}"
    r"(?: (?:advice|ideas?|tips?|explanations?|answers?|points?|help|job|work|one|to (?:know|hear)))?"
    r"|(?:that|this|it)(?: really| all| now)* (?:helps|helped|makes sense|works|worked)|makes sense|got it"
    r"|sounds (?:good|great|perfect)|understood|will do|you too|same to you|all the best|good luck"
    r"|that(?:'s| is| was| will be) (?:all|it|everything)(?: I (?:need|needed|wanted)(?: to know)?)?"
    r"|(?:I'll|I will|I'm going to)(?: definitely| surely| just)* (?:try|do|give|use|keep|start|follow)"
    r"(?: [\w']+){0,6}|(?:have|enjoy) (?:an?|the|your)(?: \w+){1,4}|no (?:problem|worries)"
)
_ONE = rf"(?:{_THANKS}|{_KIND}){_MUCH}"
_OH = r"(?:ok(?:ay)?|oh|ah|wow|well|no|and)"
_KINDNESS = re.compile(rf"{_OH}|(?:{_OH} )*{_ONE}(?: and {_ONE})*", re.IGNORECASE)
_THANKING = re.compile(rf"\b(?:{_THANKS})", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[.!,;:\n\u2013\u2014]|\s-\s")
_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
_WANTS = re.compile(
    r"\?|\b(?:please|but|though|however|instead|not|(?:can|could|would) you|help me)\b|n't\b"
    r"|\b(?:and|now|also|next|then) (?:give|tell|show|make|write|explain|add|change|list|name|what|how)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """What came of one more turn: the messages and the answer that they end with, or why it is `over`.

    `calls` are the keys of all that was asked for it.
    """

    calls: tuple[str, ...]
    messages: tuple[Message, ...] = ()
    answer: Answer | None = None
    over: str = ""


class Converse(Each):
    """Go on from a row's prompt for up to `turns` answers, with another model as the user.

    Needs: a row whose prompt ends with a user's turn, and no answer. Gives: the same row; the turns before
    the last answer are its prompt. Costs: 2 calls a turn, 1 for the first.
    """

    model: ModelName
    user_model: ModelName
    turns: int = Field(3, ge=1, description="most answers of the assistant; UltraChat has 3 to 7")
    least_turns: int = Field(1, ge=1, description="a dialogue with fewer is dropped, for what ended it")
    system: str | None = Field(
        None, description="said to the assistant alone, and not kept in the row: what it brings about is"
    )
    temperature: float = Field(1.0, ge=0)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(512, ge=1)
    user_temperature: float = Field(1.0, ge=0)
    user_max_tokens: int = Field(128, ge=1)

    def problems(self, folder: Path) -> Iterator[tuple[str, str]]:
        """More turns wanted than there may be."""
        if self.least_turns > self.turns:
            yield "least_turns", f"expected at most turns, {self.turns}, found {self.least_turns}"

    async def each(self, row: Row, bench: Bench) -> AsyncGenerator[Row]:
        """Yield `row` as a dialogue."""
        if row.answers:
            raise Filtered("has_an_answer")
        if row.prompt[-1].role != "user":
            raise Filtered("no_user_turn")
        chat, calls, answers, ended = list(row.prompt), list(row.calls), list[Answer](), "most_turns"
        while len(answers) < self.turns:
            turn = await self._turn(row, chat, bench)
            calls += turn.calls
            if turn.answer is None:
                ended = turn.over
                break
            chat += turn.messages
            answers.append(turn.answer)
        if len(answers) < self.least_turns:
            raise Filtered(ended)
        last = answers[-1]
        known = {**self._players(bench), "first_turn": len(row.prompt), "first_call": len(row.calls)}
        row = replace(row, prompt=tuple(chat[:-1]), calls=tuple(c for c in calls if c not in last.calls))
        yield row.answered(last).noted(bench.step, **known, turns=len(answers), ended=ended)

    def _players(self, bench: Bench) -> dict[str, str | None]:
        """Who plays which side, and digests of what they were told."""
        return {
            "model": self.model,
            "system": digest(self.system) if self.system else None,
            "user_model": self.user_model,
            "user_system": digest(*(message.content for message in self._told(bench))),
        }

    async def _turn(self, row: Row, chat: Sequence[Message], bench: Bench) -> _Turn:
        """The next turn of `chat`, which ends with the row's own prompt or with an answer."""
        asked: tuple[Message, ...] = ()
        calls: tuple[str, ...] = ()
        if chat[-1].role == "assistant":
            said = await self._user(row, chat, bench)
            calls = (said.key,)
            if over := why_over(said, chat):
                return _Turn(calls, over=over)
            asked = (Message("user", words(said.text)),)
        reply = await self._assistant(row, [*chat, *asked], bench)
        calls += (reply.key,)
        if over := unfinished(reply):
            return _Turn(calls, over=f"assistant_{over}")
        answer = answered(reply, bench, self.model)
        return _Turn(calls, (*asked, Message("assistant", answer.text)), answer)

    async def _assistant(self, row: Row, chat: Sequence[Message], bench: Bench) -> Reply:
        system = (Message("system", self.system),) if self.system else ()
        return await bench.model(self.model).ask(
            [*system, *chat],
            sample=row.occurrence,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
        )

    async def _user(self, row: Row, chat: Sequence[Message], bench: Bench) -> Reply:
        """What the user says next. It is told its own part, and never what the assistant was told."""
        seen = [Message(SWAPPED[turn.role], turn.content) for turn in chat if turn.role != "system"]
        return await bench.model(self.user_model).ask(
            [*self._told(bench), *seen],
            sample=row.occurrence,
            temperature=self.user_temperature,
            max_tokens=self.user_max_tokens,
        )

    def _told(self, bench: Bench) -> tuple[Message, Message]:
        """The user's instructions, and a first turn to answer to, so that a chat begins as providers want."""
        rules = bench.prompt("converse/user.md").fill(end=END)
        return Message("system", rules), Message("user", bench.prompt("converse/begin.md").fill())

    def calls(self, rows: float) -> float:
        """2 a turn, without a user's call for the first."""
        return rows * (2 * self.turns - 1)


def turn_at(row: Row, place: int) -> tuple[Answer, tuple[str, ...]]:
    """The assistant's turn at `place` of a row's prompt as an answer, and the calls behind what is before it.

    If a step of this kind wrote it, the answer has that step, the model and its call.
    """
    text = row.prompt[place].content
    for step, known in row.facts.items():
        call = _call_of(known, place)
        if call is not None and call < len(row.calls):
            return Answer(text, step, calls=(row.calls[call],), model=known["model"]), row.calls[:call]
    return Answer(text), row.calls


def _call_of(known: object, place: int) -> int | None:
    """Which of a row's calls wrote the turn at `place`, by what a step noted."""
    match known:
        case {"model": str(), "first_turn": int(turn), "first_call": int(call)} if place >= turn:
            return call + place - turn
    return None


def words(text: str) -> str:
    """A user's turn without the name that some models put before it."""
    return _NAME.sub("", text, count=1).strip()


def unfinished(reply: Reply) -> str:
    """Why `reply` is no turn to go on from; "" if it is one."""
    unfit = Answer(words(reply.text), finish=reply.finish).unfit
    return "silent" if unfit == "empty_answer" else unfit or ""


def why_over(said: Reply, chat: Sequence[Message]) -> str:
    """Why the dialogue `chat` is over with what the user said; "" if it goes on."""
    if END in said.text:
        return "user_ended"
    if reason := unfinished(said):
        return f"user_{reason}"
    text = words(said.text)
    if flips_role(text):
        return "user_flipped_role"
    if _folded(text) in {_folded(turn.content) for turn in chat}:
        return "user_repeated"
    return "user_only_thanked" if only_thanks(text) else ""


def flips_role(text: str) -> bool:
    """Whether a user's turn speaks as the assistant, or for it too."""
    return bool(_ASSISTANT.search(text))


def only_thanks(text: str) -> bool:
    """Whether a user's turn thanks or says good-bye, and every clause of it is such a kindness."""
    plain = text.replace("\u2019", "'")
    clauses = [found[0] for clause in _CLAUSE_END.split(plain) if (found := _WORDS.search(clause))]
    kind = all(map(_KINDNESS.fullmatch, clauses))
    return kind and bool(_THANKING.search(plain)) and not _WANTS.search(plain)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
