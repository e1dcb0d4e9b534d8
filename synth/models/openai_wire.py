"""OpenAI's chat-completions wire, as the official SDK writes it.

Spoken by OpenAI itself, by everything that calls itself compatible (vLLM, SGLang, OpenRouter, ...) and by
llama.cpp's server, whose ``/v1/completions`` returns log-probabilities in the shape of the chat's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Field, SecretStr

from synth.errors import BadRequest
from synth.models.base import Kind, Reply, Request, Token, Usage
from synth.models.post import Poster, Written, written
from synth.models.rates import Told
from synth.models.wire import Wire, malformed, read

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]

_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
# Endings that explain why there is no text. Any other ending without one is a broken answer.
_TEXTLESS = frozenset({"content_filter", "length"})

_Finish = Annotated[str, Field(min_length=1)]


class _Alternative(Wire):
    token: str
    logprob: float


class _Entry(_Alternative):
    top_logprobs: tuple[_Alternative, ...] = ()


class _Logprobs(Wire):
    content: tuple[_Entry, ...] | None


class _TextLogprobs(Wire):
    """The older shape, of ``/v1/completions``."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[str, float] | None, ...] | None = None


class _Message(Wire):
    content: str | None
    refusal: str | None = None


class _Choice(Wire):
    finish_reason: _Finish
    message: _Message
    logprobs: _Logprobs | None = None


class _TextChoice(Wire):
    finish_reason: _Finish
    text: str
    logprobs: _Logprobs | _TextLogprobs | None = None


class _Cached(Wire):
    cached_tokens: int | None = None


class _Usage(Wire):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(0, ge=0)
    prompt_tokens_details: _Cached | None = None


class _Response(Wire):
    id: str | None = None
    model: str | None = None
    usage: _Usage | None = None


class _Chat(_Response):
    choices: tuple[_Choice, ...] = Field(min_length=1)


class _Text(_Response):
    choices: tuple[_TextChoice, ...] = Field(min_length=1)


@dataclass
class OpenAIWire:
    """One address that speaks OpenAI's protocol.

    Attributes:
        base_url: up to and with ``/v1``.
        timeout_s: for one whole answer.
        max_tokens_field: OpenAI's newer models refuse ``max_tokens``; most other servers know nothing else.
        seeded: send a seed with every request.
        is_openai: the environment's OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS are meant
            for this address. They go nowhere else.
        hear: is told what answers say of limits.
    """

    base_url: str
    api_key: InitVar[str | SecretStr]
    timeout_s: float = 120
    max_tokens_field: MaxTokensField = "max_tokens"
    seeded: bool = True
    is_openai: bool = False
    hear: Callable[[Told], None] = lambda told: None
    _secret: SecretStr = field(init=False, repr=False)
    _poster: Poster = field(init=False, repr=False)
    _written: dict[Kind, Written] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self, api_key: str | SecretStr) -> None:
        self._secret = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._poster = Poster(self.base_url, timeout_s=self.timeout_s, secret=self._secret, hear=self.hear)

    def sdk(self, http_client: "httpx2.AsyncClient | None" = None) -> "AsyncOpenAI":
        """The SDK's client for this address. It retries nothing."""
        from openai import AsyncOpenAI  # here, since it takes most of a second

        client = AsyncOpenAI(
            api_key=self._secret.get_secret_value(),
            base_url=self.base_url,
            max_retries=0,
            timeout=self.timeout_s,
            http_client=http_client,
        )
        if not self.is_openai:
            client.organization = client.project = client.admin_api_key = None
            client._custom_headers = {}  # the SDK has no other way to say so; a test watches the headers
        return client

    async def answer(self, request: Request) -> Reply:
        """The reply to a ``chat`` or ``complete`` request; raises as `Provider.answer` promises."""
        if request.kind == "chat":
            body = await self._post("chat", self._chat_body(request))
            return _chat_reply(request, read(_Chat, body))
        if request.kind == "complete":
            body = await self._post("complete", self._text_body(request))
            return _text_reply(request, read(_Text, body))
        raise BadRequest("this wire cannot score a text", hint="likelihoods need a local model")

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    async def _post(self, kind: Kind, body: Mapping[str, Any]) -> bytes:
        if kind not in self._written:
            self._written[kind] = await written(lambda client: self._create(kind, client))
        return await self._poster.post(self._written[kind], body)

    async def _create(self, kind: Kind, http_client: "httpx2.AsyncClient") -> None:
        """Make a call of `kind` with the SDK."""
        sdk = self.sdk(http_client)
        if kind == "chat":
            await sdk.chat.completions.with_raw_response.create(model="any", messages=[])
        else:
            await sdk.completions.with_raw_response.create(model="any", prompt="")

    def _chat_body(self, request: Request) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        body = {"messages": messages, self.max_tokens_field: request.max_tokens, **self._common(request)}
        if request.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
        if request.schema:
            shape = {"name": "answer", "schema": orjson.loads(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        return body

    def _text_body(self, request: Request) -> dict[str, Any]:
        prompt = request.messages[-1].content
        body = {"prompt": prompt, "max_tokens": request.max_tokens, **self._common(request)}
        return body | ({"logprobs": request.top_logprobs} if request.top_logprobs else {})

    def _common(self, request: Request) -> dict[str, Any]:
        values = {name: getattr(request, name) for name in _SAMPLING}
        body = {name: value for name, value in values.items() if value is not None}
        body |= {"stop": list(request.stop)} if request.stop else {}
        body |= {"seed": request.seed} if self.seeded else {}
        return {"model": request.model, **body}


def _chat_reply(request: Request, response: _Chat) -> Reply:
    choice = response.choices[0]
    text, finish = choice.message.content, choice.finish_reason
    if text is None and choice.message.refusal is not None:
        text, finish = choice.message.refusal, "content_filter"
    if text is None and finish not in _TEXTLESS:
        raise malformed("choices.0.message.content: null")
    return _reply(request, response, text or "", finish, _chat_tokens(choice.logprobs))


def _text_reply(request: Request, response: _Text) -> Reply:
    choice = response.choices[0]
    shape = choice.logprobs
    tokens = _text_tokens(shape) if isinstance(shape, _TextLogprobs) else _chat_tokens(shape)
    return _reply(request, response, choice.text, choice.finish_reason, tokens)


def _reply(request: Request, response: _Response, text: str, finish: str, tokens: tuple[Token, ...]) -> Reply:
    if request.top_logprobs and text and not tokens and finish != "content_filter":
        raise BadRequest(
            "the provider answered without the log-probabilities that were asked for",
            hint="take logprobs out of this model's `supports`",
        )
    return Reply(
        text=text,
        finish=finish,
        tokens=tokens if request.top_logprobs else (),
        usage=_tokens_billed(response.usage),
        model=response.model or "",
        response_id=response.id or "",
    )


def _tokens_billed(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage()
    details = usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return Usage(usage.prompt_tokens, usage.completion_tokens, cached or 0)


def _chat_tokens(logprobs: _Logprobs | None) -> tuple[Token, ...]:
    entries = logprobs.content if logprobs else None
    return tuple(Token(entry.token, entry.logprob, _likeliest(entry.top_logprobs)) for entry in entries or ())


def _likeliest(alternatives: Iterable[_Alternative]) -> dict[str, float]:
    """By text. Two tokens that print alike, as broken UTF-8 does, keep the likelier one."""
    ranked = sorted(alternatives, key=lambda one: one.logprob)
    return {one.token: one.logprob for one in ranked}


def _text_tokens(logprobs: _TextLogprobs) -> tuple[Token, ...]:
    count = len(logprobs.tokens)
    tops = logprobs.top_logprobs or (None,) * count
    if not len(logprobs.token_logprobs) == len(tops) == count:
        raise malformed("choices.0.logprobs: lists of different lengths")
    columns = zip(logprobs.tokens, logprobs.token_logprobs, tops, strict=True)
    return tuple(Token(text, logprob, top or {}) for text, logprob, top in columns)
