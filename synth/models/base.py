"""What a provider must do, and the two records that it does it with.

A `Request` holds all that changes the answer and nothing else; its `key` names the outcome in the
ledger. A `Provider` knows one wire format; it does not retry, cache, count, limit or sleep.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from synth.models.rates import Told
from synth.rows import Message

KEY_SCHEME = 2

Kind = Literal["chat", "complete", "score"]

# What a request can ask of a provider beyond a plain chat. A sampling parameter has its own name.
Capability = Literal[
    "complete",
    "score",
    "logprobs",
    "schema",
    "seed",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "stop",
]


@dataclass(frozen=True, slots=True)
class Request:
    """One call, fully specified: equal requests share their outcome.

    Attributes:
        endpoint: who answers. Hosted: the base URL; local: a digest of weights, template and back end.
        model: the model's name there.
        messages: what is said to it. For ``complete``, one user message: the raw text to go on from.
        kind: ``chat`` a reply to a conversation; ``complete`` raw text goes on; ``score`` the
            log-probabilities of `target` as the reply to the conversation, nothing is generated.
        target: the text that ``score`` scores.
        max_tokens: most new tokens; the prompt is not counted.
        temperature: 0 is greedy; None leaves the provider's own default.
        top_logprobs: how many alternatives to return for each token, 0 for none.
        schema: JSON Schema of the answer as canonical JSON, or "".
        sample: tells repeated samples of one prompt apart; a provider's seed comes from it.
        ask: tells a re-ask after an unreadable answer apart.
    """

    endpoint: str
    model: str
    messages: tuple[Message, ...]
    kind: Kind = "chat"
    target: str = ""
    max_tokens: int = 512
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    schema: str = ""
    sample: int = 0
    ask: int = 0

    def as_json(self, **instead: str) -> bytes:
        """Every field in a fixed order: what the key is made from and the ledger keeps.

        Args:
            instead: other values of fields.
        """
        named = {name: getattr(self, name) for name in _FIELDS}
        return orjson.dumps({"scheme": KEY_SCHEME, **named, **instead}, option=orjson.OPT_SORT_KEYS)

    @property
    def key(self) -> str:
        """64 hex digits, the same on every machine."""
        return key_of(self.as_json())

    @property
    def seed(self) -> int:
        """A provider's seed, in [0, 2**31): another for every prompt, every sample and every re-ask.

        From all that is asked, and not of whom: a server that moves to another port draws the same numbers.
        Were it from the sample index alone, the first answers to all prompts would share their draws.
        """
        return int(key_of(self.as_json(endpoint=""))[:8], 16) >> 1


_FIELDS = tuple(field.name for field in fields(Request))


def _unheard(told: Told) -> None:
    """Where nobody listens."""


def key_of(written: bytes) -> str:
    """The key of the request whose `as_json` is `written`."""
    return sha256(written).hexdigest()


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a reply. `logprob` is a natural logarithm; `top` its likeliest alternatives."""

    text: str
    logprob: float
    top: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was billed, in tokens. `cached` is the part of `prompt` that came from a cache."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0


class Budget(BaseModel):
    """The ``budget:`` section of a pipeline, or of one of its models: what may be spent in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    usd: float | None = Field(None, ge=0)
    calls: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0, description="of prompts and replies together")


class Price(BaseModel):
    """A model's ``price:``, in US dollars a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(None, ge=0, description="of a prompt's tokens that came from a cache")

    def usd(self, usage: Usage) -> float:
        """What `usage` costs."""
        cached = self.input if self.cached is None else self.cached
        fresh = usage.prompt - usage.cached
        return (fresh * self.input + usage.cached * cached + usage.completion * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: the model's text, untouched; "" for ``score``.
        finish: ``stop``, ``length``, ``content_filter`` or the provider's own word.
        tokens: the reply's tokens (``score``: the target's), where log-probabilities were asked for.
        usage: tokens billed.
        model: the model as the provider reports it.
        response_id: the provider's name for this response.
        key: the request's key, by which the ledger keeps this reply; set by the client.
    """

    text: str
    finish: str = "stop"
    tokens: tuple[Token, ...] = ()
    usage: Usage = Usage()
    model: str = ""
    response_id: str = ""
    key: str = ""


class Provider(BaseModel, ABC):
    """A place that answers requests. One provider is one file, and the file's name is its name.

    The fields are the YAML keys under ``models:``. `open` is called before the first request and
    `close` after the last; building one must touch neither network nor weights.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    model: str
    max_concurrency: int = Field(16, ge=1, description="calls in flight, at most")
    rpm: float | None = Field(None, gt=0, description="requests a minute; else what the provider says")
    tpm: float | None = Field(None, gt=0, description="tokens a minute; else what the provider says")

    budget: Budget | None = Field(None, description="what this model may spend: usd, calls, tokens")
    price: Price | None = Field(None, description="USD a million tokens: input, output, cached")

    # By a factory: pydantic takes a function that is a default for a descriptor, and never sets it.
    _hear: Callable[[Told], None] = PrivateAttr(default_factory=lambda: _unheard)

    @property
    def adaptive(self) -> bool:
        """Whether it may take fewer calls at once than `max_concurrency`, and says so by refusing."""
        return False

    @property
    def lane(self) -> str:
        """What shares one set of limits: equal lanes are one."""
        return f"{self.endpoint}\n{self.model}"

    def listen(self, hear: Callable[[Told], None]) -> None:
        """Have `hear` called with what answers say of limits. Call it before `open`."""
        self._hear = hear

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What can be asked beyond a plain chat; known without a call."""
        return frozenset()

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Who answers, as in `Request.endpoint`: never a credential, nor a local server's port or path."""

    @property
    def caution(self) -> str:
        """What a reader of its results must know of this model, in plain words; "" if nothing."""
        return ""

    @property
    def name_in_key(self) -> str:
        """What stands for `model` in a request: the name there, never a path."""
        return self.model

    def problems(self) -> Mapping[str, str]:
        """What would stop this provider from answering: a sentence by the key that it belongs to.

        Looks at files and the environment only; makes no call and loads no weights.
        """
        return {}

    async def open(self) -> None:
        """Make ready for requests."""

    async def close(self) -> None:
        """Release what `open` took."""

    @abstractmethod
    async def answer(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            RateLimited, Transient: worth another try.
            BadRequest: this request will never be answered.
            ProviderError: no request will be answered: wrong key, no credit, no such model.
        """

    def cost_usd(self, usage: Usage) -> float | None:
        """What `usage` costs in US dollars, by the pipeline's own prices where it gives some."""
        return self.price.usd(usage) if self.price else self.price_usd(usage)

    def price_usd(self, usage: Usage) -> float | None:
        """What `usage` costs in US dollars; None if the price is not known. Local models cost 0."""
        return None


def schema_text(schema: Mapping[str, Any]) -> str:
    """`schema` as canonical JSON, for `Request.schema`."""
    return orjson.dumps(schema, option=orjson.OPT_SORT_KEYS).decode()
