"""OpenAI's own API. Its key goes to its own host and nowhere else; other hosts are `compatible`."""

from collections.abc import Mapping

from pydantic import Field, PrivateAttr

from synth.models import prices
from synth.models.base import Capability, Provider, Reply, Request, Usage
from synth.models.keys import key_problem, read_key
from synth.models.openai_wire import OpenAIWire
from synth.models.wire import refuse_problems, refuse_unable

_HOST = "api.openai.com"


class OpenAI(Provider):
    """A model of OpenAI's, through chat completions."""

    max_concurrency: int = Field(32, ge=1)
    api_key_env: str = Field("OPENAI_API_KEY", repr=False, description="the variable that holds the key")
    timeout_s: float = Field(120, gt=0, description="for one whole answer")
    supports: list[Capability] = Field(
        [
            "logprobs",
            "schema",
            "seed",
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "stop",
        ],
        description="what the model can do; reasoning models take no sampling fields",
    )
    _base_url: str = PrivateAttr(f"https://{_HOST}/v1")
    _wire: OpenAIWire | None = PrivateAttr(None)

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(self.supports) - {"score"}

    @property
    def endpoint(self) -> str:
        return self._base_url

    def problems(self) -> Mapping[str, str]:
        problem = key_problem(self.api_key_env, _HOST)
        return {"api_key_env": problem} if problem else {}

    async def open(self) -> None:
        refuse_problems(self)
        self._wire = OpenAIWire(
            self._base_url,
            read_key(self.api_key_env),
            self.timeout_s,
            "max_completion_tokens",
            seeded="seed" in self.supports,
            is_openai=True,
        )

    async def close(self) -> None:
        if self._wire:
            await self._wire.close()
        self._wire = None

    async def answer(self, request: Request) -> Reply:
        assert self._wire, "open() comes first"
        refuse_unable(request, self.capabilities)
        return await self._wire.answer(request)

    def price_usd(self, usage: Usage) -> float | None:
        return prices.price_usd(usage, self.model, provider="openai")
