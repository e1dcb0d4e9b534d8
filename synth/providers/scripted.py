"""Answers without a network, for tests, documentation and dry runs.

They come from a function, or from a file of JSON Lines::

    {"when": "text that the last message contains", "reply": "what to answer"}

where the first line that fits wins, or else from a hash of the request.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, get_args

import orjson
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from synth.errors import BadRequest
from synth.models import invented
from synth.models.base import Capability, Provider, Reply, Request, Usage
from synth.models.wire import refuse_problems
from synth.rows import digest

Answers = Callable[[Request], str | Reply | Exception]


class _Script(NamedTuple):
    lines: tuple[tuple[str, str], ...] = ()
    digest: str = ""
    problem: str = ""


class Scripted(Provider):
    """A provider whose every answer is known beforehand. It can do all that a provider can."""

    model: str = "scripted"
    answers: SkipJsonSchema[Answers | None] = Field(None, exclude=True, repr=False)
    script: str | None = Field(None, description="JSON Lines of `when` and `reply`")
    latency_s: float = Field(0.0, ge=0, description="seconds before every answer")

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(get_args(Capability))

    @property
    def endpoint(self) -> str:
        return f"scripted:{self._script.digest}" if self.script else "scripted"

    def problems(self) -> Mapping[str, str]:
        return {"script": self._script.problem} if self._script.problem else {}

    async def open(self) -> None:
        refuse_problems(self)

    async def answer(self, request: Request) -> Reply:
        await asyncio.sleep(self.latency_s)
        said = self._said(request)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Reply) else _spoken(request, said, "stop")

    def price_usd(self, usage: Usage) -> float | None:
        return 0.0

    @cached_property
    def _script(self) -> _Script:
        return _read(self.script) if self.script else _Script()

    def _said(self, request: Request) -> str | Reply | Exception:
        if self.answers:
            return self.answers(request)
        if request.kind == "score":
            return _scored(request)
        return self._scripted(request) if self.script else _made(request)

    def _scripted(self, request: Request) -> str:
        asked = request.messages[-1].content
        for when, reply in self._script.lines:
            if when in asked:
                return reply
        raise BadRequest(
            f"no line of {self.script} fits this request",
            hint='a last line {"when": "", "reply": "..."} fits every request',
        )


def _read(path: str) -> _Script:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return _Script(problem=f"{path}: {error.strerror}")
    lines = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    parsed = [_line(line) for _, line in lines]
    wrong = [
        f"{path}:{number}: {found}"
        for (number, _), found in zip(lines, parsed, strict=True)
        if isinstance(found, str)
    ]
    pairs = tuple(found for found in parsed if isinstance(found, tuple))
    return _Script(pairs, digest("script", pairs), "; ".join(wrong))


def _line(line: bytes) -> tuple[str, str] | str:
    """What a line of a script says, or what is wrong with it."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"no JSON: {error}"
    match said:
        case {"when": str(when), "reply": str(reply), **rest} if not rest:
            return when, reply
    return 'expected {"when": "<text>", "reply": "<text>"} and nothing else'


def _made(request: Request) -> Reply:
    seed = request.key
    if request.schema:
        return _spoken(request, invented.json_text(seed, orjson.loads(request.schema)), "stop")
    if request.top_logprobs:
        token = invented.verdict(seed, request.top_logprobs)
        return _reply(request, token.text, "stop", tokens=(token,))
    first = invented.list_start(request.messages[-1].content)
    whole = invented.text(seed) if first is None else invented.numbered(seed, first)
    return _spoken(request, *invented.cut(whole, request.max_tokens, request.stop))


def _scored(request: Request) -> Reply:
    return _reply(request, "", "stop", tokens=invented.tokens(request.key, request.target))


def _spoken(request: Request, text: str, finish: str) -> Reply:
    top = request.top_logprobs
    return _reply(request, text, finish, tokens=invented.tokens(request.key, text, top) if top else ())


def _reply(request: Request, text: str, finish: str, **fields: Any) -> Reply:
    prompt = sum(len(message.content.split()) for message in request.messages)
    usage = Usage(prompt=prompt, completion=len(invented.pieces(text)))
    return Reply(
        text, finish, usage=usage, model=request.model, response_id=f"scripted-{request.key[:12]}", **fields
    )
