"""Anthropic's Messages API. It takes no sampling fields and returns no log-probabilities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field, PrivateAttr, SecretStr

from synth.errors import BadRequest
from synth.models import prices
from synth.models.base import Capability, Provider, Reply, Request, Usage
from synth.models.keys import key_problem, read_key
from synth.models.post import Poster, Written, written
from synth.models.wire import Wire, malformed, read, refuse_problems, refuse_unable

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

_HOST = "api.anthropic.com"
_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
_TEXTLESS = frozenset({"content_filter", "length"})


class _Block(Wire):
    type: str
    text: str | None = None


class _Usage(Wire):
    """`input_tokens` leaves out what a cache took part in."""

    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Message(Wire):
    id: str
    model: str
    content: tuple[_Block, ...]
    stop_reason: str = Field(min_length=1)
    usage: _Usage


class Anthropic(Provider):
    """A model of Anthropic's."""

    max_concurrency: int = Field(32, ge=1)
    api_key_env: str = Field("ANTHROPIC_API_KEY", repr=False, description="the variable that holds the key")
    timeout_s: float = Field(120, gt=0, description="for one whole answer")
    _base_url: str = PrivateAttr(f"https://{_HOST}")
    _key: SecretStr = PrivateAttr(SecretStr(""))
    _poster: Poster | None = PrivateAttr(None)
    _written: Written = PrivateAttr()

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({"schema", "stop"})

    @property
    def adaptive(self) -> bool:
        return True

    @property
    def lane(self) -> str:
        return f"{super().lane}\n{self.api_key_env}"

    @property
    def endpoint(self) -> str:
        return self._base_url

    def problems(self) -> Mapping[str, str]:
        problem = key_problem(self.api_key_env, _HOST)
        return {"api_key_env": problem} if problem else {}

    async def open(self) -> None:
        refuse_problems(self)
        self._key = read_key(self.api_key_env)
        self._written = await written(self._create)
        self._poster = Poster(self._base_url, timeout_s=self.timeout_s, secret=self._key, hear=self._hear)

    async def close(self) -> None:
        if self._poster:
            await self._poster.close()
        self._poster = None

    def sdk(self, http_client: "httpx2.AsyncClient | None" = None) -> "AsyncAnthropic":
        """The SDK's client. It retries nothing."""
        from anthropic import AsyncAnthropic  # here, since it takes more than a second

        return AsyncAnthropic(
            api_key=self._key.get_secret_value(),
            base_url=self._base_url,
            max_retries=0,
            timeout=self.timeout_s,
            open_telemetry=False,
            http_client=http_client,
        )

    async def _create(self, http_client: "httpx2.AsyncClient") -> None:
        messages = self.sdk(http_client).messages.with_raw_response
        await messages.create(model=self.model, max_tokens=1, messages=[])

    async def answer(self, request: Request) -> Reply:
        assert self._poster, "open() comes first"
        refuse_unable(request, self.capabilities)
        return _reply(read(_Message, await self._poster.post(self._written, _body(request))))

    def price_usd(self, usage: Usage) -> float | None:
        return prices.price_usd(usage, self.model, provider="anthropic")


def _body(request: Request) -> dict[str, Any]:
    system, messages = _split(request)
    body: dict[str, Any] = {"model": request.model, "max_tokens": request.max_tokens, "messages": messages}
    if system:
        body["system"] = system
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.schema:
        shape = {"type": "json_schema", "schema": orjson.loads(request.schema)}
        body["output_config"] = {"format": shape}
    return body


def _split(request: Request) -> tuple[str, list[dict[str, str]]]:
    """The system text, and the turns that follow it."""
    roles = [message.role for message in request.messages]
    turns = request.messages[(count := sum(role == "system" for role in roles)) :]
    if "system" in roles[count:]:
        raise BadRequest(
            "a system message after the first turn",
            hint="this provider takes system messages only at the start",
        )
    system = "\n\n".join(message.content for message in request.messages[:count])
    return system, [{"role": message.role, "content": message.content} for message in turns]


def _reply(message: _Message) -> Reply:
    finish = _FINISH.get(message.stop_reason, message.stop_reason)
    texts = [_text(block) for block in message.content if block.type == "text"]
    if not texts and finish not in _TEXTLESS:
        raise malformed("content: no text")
    return Reply(
        text="".join(texts),
        finish=finish,
        usage=_tokens_billed(message.usage),
        model=message.model,
        response_id=message.id,
    )


def _text(block: _Block) -> str:
    if block.text is None:
        raise malformed("content: a text block without its text")
    return block.text


def _tokens_billed(usage: _Usage) -> Usage:
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    return Usage(usage.input_tokens + cached + written, usage.output_tokens, cached)
