"""OpenAI's own API. Its key goes to its own host and nowhere else; other hosts are `compatible`."""

from collections.abc import Mapping

from pydantic import Field, PrivateAttr

from synth.models import prices
from synth.models.base import Capability, Usage
from synth.models.hosted import EVERYTHING, Hosted
from synth.models.keys import key_problem, read_key
from synth.models.openai_wire import OpenAIWire

_HOST = "api.openai.com"


class OpenAI(Hosted):
    """A model of OpenAI's, through chat completions."""

    api_key_env: str = Field("OPENAI_API_KEY", repr=False, description="the variable that holds the key")
    supports: list[Capability] = Field(
        [capability for capability in EVERYTHING if capability not in ("score", "complete")],
        description="what the model can do; reasoning models take no sampling fields",
    )
    _base_url: str = PrivateAttr(f"https://{_HOST}/v1")

    @property
    def endpoint(self) -> str:
        return self._base_url

    def problems(self) -> Mapping[str, str]:
        problem = key_problem(self.api_key_env, _HOST)
        return {"api_key_env": problem} if problem else {}

    @property
    def lane(self) -> str:
        return f"{super().lane}\n{self.api_key_env}"

    def connected(self) -> OpenAIWire:
        return OpenAIWire(
            self._base_url,
            read_key(self.api_key_env),
            self.timeout_s,
            "max_completion_tokens",
            seeded="seed" in self.supports,
            is_openai=True,
            hear=self._hear,
        )

    def price_usd(self, usage: Usage) -> float | None:
        return prices.price_usd(usage, self.model, provider="openai")
