"""What every provider that speaks HTTP does in the same way: how strictly an answer is read, and what is
refused unsent. How it is sent, `synth.models.post` says.
"""

import ipaddress
from functools import cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from synth.errors import BadRequest, Problem, Transient, UserError
from synth.models.base import Capability, Provider, Request

if TYPE_CHECKING:
    import ssl


class Wire(BaseModel):
    """A part of an answer, read without converting anything: what has the wrong type is no answer."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


_Answer = TypeVar("_Answer", bound=Wire)


@cache
def tls() -> "ssl.SSLContext":
    """The certificates to trust, read once: it takes longer than all else that a client needs."""
    import httpx2  # here, since it takes a while

    return httpx2.create_ssl_context()


def is_loopback(base_url: str) -> bool:
    """Whether `base_url` is on this machine, going by its text alone."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


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
