"""Any other server that speaks OpenAI's protocol: vLLM, SGLang, Ray Serve, OpenRouter, llama.cpp."""

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr

from synth.models import prices
from synth.models.base import Usage
from synth.models.hosted import Hosted
from synth.models.keys import key_problem, read_key
from synth.models.openai_wire import MaxTokensField, OpenAIWire

# Cloud machines hand out credentials here. Link-local addresses are refused as a whole.
_METADATA = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
    }
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Compatible(Hosted):
    """A model behind `base_url`. Without `api_key_env` the key that is sent is the word "none"."""

    base_url: str = Field(description="http or https, usually ending with /v1")
    api_key_env: str | None = Field(None, repr=False, description="the variable that holds the key")
    max_tokens_field: MaxTokensField = "max_tokens"

    @property
    def endpoint(self) -> str:
        return self.base_url.rstrip("/")

    def problems(self) -> Mapping[str, str]:
        parts, problem = _address(self.base_url)
        found = {"base_url": problem} if problem else {}
        host = parts.hostname or "" if parts else ""
        key = key_problem(self.api_key_env, host) if self.api_key_env is not None else None
        return found | ({"api_key_env": key} if key else {})

    @property
    def lane(self) -> str:
        return f"{super().lane}\n{self.api_key_env}"

    def connected(self) -> OpenAIWire:
        key = SecretStr("none") if self.api_key_env is None else read_key(self.api_key_env)
        seeded = "seed" in self.supports
        return OpenAIWire(
            self.endpoint, key, self.timeout_s, self.max_tokens_field, seeded=seeded, hear=self._hear
        )

    def price_usd(self, usage: Usage) -> float | None:
        return prices.price_usd(usage, self.model, url=self.base_url)


def _address(base_url: str) -> tuple[SplitResult | None, str]:
    """The parts of `base_url`, and why no request may go there. The reason repeats no part of it."""
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname or "", parts.port  # reading the port checks it
        host.encode("idna")
    except ValueError:
        return None, "expected an address such as https://host/v1"
    if parts.scheme not in _DEFAULT_PORTS or not host or any(char.isspace() for char in base_url):
        return parts, "expected an address that starts with http:// or https://"
    if parts.username is not None or parts.query or parts.fragment:
        return (
            parts,
            "expected an address without a user, a question mark or a hash: keys go into api_key_env",
        )
    if _is_metadata(host):
        return parts, "this address hands out a machine's credentials: no request goes there"
    return parts, ""


def _is_metadata(host: str) -> bool:
    address = _ip(host.rstrip("."))
    if address is None:
        return host.rstrip(".").lower() in _METADATA
    return address.is_link_local or str(address) in _METADATA


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that `host` spells, also as one number or in octal, as sockets read it."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _legacy_ip(host)
    return getattr(address, "ipv4_mapped", None) or address


def _legacy_ip(host: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None
