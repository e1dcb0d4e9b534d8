"""What every provider that speaks HTTP through an SDK does in the same way.

The SDK owns authentication, hosts and paths; here are the connection under it, what its failures
mean to us, and how strictly an answer is read. Nothing here retries.
"""

import asyncio
import ipaddress
from collections.abc import Awaitable
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from synth.errors import BadRequest, Problem, SynthError, Transient, UserError
from synth.models import refusal
from synth.models.base import Capability, Provider, Request

if TYPE_CHECKING:
    import ssl

    import httpx2


class Wire(BaseModel):
    """A part of an answer, read without converting anything: what has the wrong type is no answer."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


_Answer = TypeVar("_Answer", bound=Wire)


class Raw(Protocol):
    """An SDK's raw response."""

    @property
    def http_response(self) -> "httpx2.Response":
        """The response as it came."""


def http_client(base_url: str, timeout_s: float) -> "httpx2.AsyncClient":
    """A connection pool for one host.

    It follows no redirect, since the next host was not given the key. It has no limit of its own,
    since calls that wait for a free connection would time out. A loopback address is reached
    directly, whatever proxy the environment names.
    """
    import httpx2  # here, since it takes a while and `synth --help` has no use for it

    return httpx2.AsyncClient(
        timeout=timeout_s,
        verify=_tls(),
        follow_redirects=False,
        trust_env=not is_loopback(base_url),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30),
    )


@cache
def _tls() -> "ssl.SSLContext":
    """The certificates to trust, read once: it takes longer than all else that a client needs."""
    import httpx2

    return httpx2.create_ssl_context()


def is_loopback(base_url: str) -> bool:
    """Whether `base_url` is on this machine, going by its text alone."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def send(
    call: Awaitable[Raw], sdk_errors: type[Exception], *, timeout_s: float, secret: SecretStr
) -> bytes:
    """The body of a successful answer.

    Args:
        sdk_errors: the base class of the SDK's errors.
        timeout_s: for the whole answer. An SDK's own time-out starts anew with every byte.

    Raises:
        RateLimited, Transient, BadRequest, ProviderError: as `Provider.answer` promises.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return (await call).http_response.content
    except TimeoutError:
        failure: SynthError = refusal.too_slow(timeout_s)
    except sdk_errors as error:
        failure = refusal.of_sdk(error, secret)
    # Raised out here, so that the SDK's error is not chained to ours: it holds the request's headers.
    raise failure


def read(shape: type[_Answer], body: bytes) -> _Answer:
    """`body` as a `shape`.

    Raises:
        Transient: it is something else.
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "body"
    raise malformed(f"{place}: {first['msg']}")


def malformed(why: str) -> Transient:
    """The error for an answer that cannot be read."""
    return Transient(
        f"the provider's answer cannot be read: {why}",
        hint="if every call fails so, the address may not speak this provider's protocol",
    )


def refuse_unable(request: Request, capabilities: frozenset[Capability]) -> None:
    """Refuse a request whose settings would be ignored: the ledger would say that they were used.

    Raises:
        BadRequest: it asks for something that is not in `capabilities`.
    """
    missing = sorted(_needs(request) - capabilities)
    if missing:
        raise BadRequest(
            f"{request.model} cannot do what is asked: {', '.join(missing)}",
            hint="leave it out of the step, or give the step another model",
        )


def refuse_problems(provider: Provider) -> None:
    """Refuse to open a provider that could not answer.

    Raises:
        UserError: with all of `provider.problems()`.
    """
    problems = [Problem(f"{key}: {why}") for key, why in provider.problems().items()]
    if problems:
        raise UserError(problems)


def _needs(request: Request) -> frozenset[Capability]:
    asked: dict[Capability, bool] = {
        "complete": request.kind == "complete",
        "score": request.kind == "score",
        "logprobs": request.top_logprobs > 0,
        "schema": bool(request.schema),
        "temperature": request.temperature is not None,
        "top_p": request.top_p is not None,
        "presence_penalty": request.presence_penalty is not None,
        "frequency_penalty": request.frequency_penalty is not None,
        "stop": bool(request.stop),
    }
    return frozenset(name for name, wanted in asked.items() if wanted)
