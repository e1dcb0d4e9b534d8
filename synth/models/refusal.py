"""What a provider's failure means: the one place where statuses and broken connections become ours.

====================================  =============
429; 503 that names a time            RateLimited
408, 409, 425, 499, 5xx; no answer    Transient
400, 413, 422 and the like            BadRequest
3xx, 401, 402, 403, 405; no credit,   ProviderError
no such model, no such address
====================================  =============

No message holds a key: what a provider says is cleaned, and the key in it replaced, before it is cut.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson
from pydantic import SecretStr

from synth.errors import BadRequest, ProviderError, RateLimited, SynthError, Transient

_LONGEST_MESSAGE = 300
_RATE_LIMITED, _UNAVAILABLE = 429, 503
_TRANSIENT = frozenset({408, 409, 425, 499})
_NOT_FOUND, _FORBIDDEN = 404, 403

# Statuses that every other request would meet as well, and what a person can do about them.
_WHOLE_RUN = {
    401: "check the key that api_key_env names",
    402: "check the account's credit",
    403: "check what this key may do, and for which models",
    405: "check base_url: it is usually the part that ends with /v1",
}
# The same, said in the body: providers send these with 400, 404 or 429.
_WHOLE_RUN_CODES = {
    "insufficient_quota": "check the account's credit",
    "billing_hard_limit_reached": "raise the account's spending limit",
    "billing_not_active": "check the account's billing",
    "account_deactivated": "check the account",
    "invalid_api_key": _WHOLE_RUN[401],
    "model_not_found": "check the model's name, and whether this key may use it",
}
_NO_CREDIT = "credit balance is too low"  # Anthropic says so under a plain 400


class _Said(NamedTuple):
    """What the body of a failure says; `code` is "" if it has no form that we know."""

    code: str
    message: str


def no_answer(error: Exception, secret: SecretStr) -> Transient:
    """The error for a connection that broke, or never was."""
    return Transient(
        _clean(f"no answer: {type(error).__name__}: {error}", secret),
        hint="check the network, and that the address is right and its server runs",
    )


def of_status(status: int, headers: Mapping[str, str], body: str, secret: SecretStr) -> SynthError:
    """Our error for an answer that is no success."""
    said = _said(body)
    what = _clean(f"HTTP {status}: {said.message}", secret)
    fix = _fix(status, said)
    if fix:
        return ProviderError(f"{what} ({fix})")
    wait_s = retry_after_s(headers)
    if status == _RATE_LIMITED or (status == _UNAVAILABLE and wait_s is not None):
        hint = "lower max_concurrency if this happens often"
        return RateLimited(what, wait_s, hint=hint, may_cost=False)
    if status >= 500 or status in _TRANSIENT:
        hint = "the provider has trouble; `synth retry` asks again later"
        return Transient(what, wait_s, hint=hint, may_cost=False)
    return BadRequest(what, hint="the provider refuses this request as it is: see its message")


def too_slow(timeout_s: float) -> Transient:
    """The error for an answer that did not end in time."""
    return Transient(f"no whole answer within {timeout_s:g} s", hint="raise timeout_s, or lower max_tokens")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the provider asks us to wait. A date counts from the provider's own clock, if it sent one."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    after = headers.get("retry-after", "")
    seconds = _seconds(after)
    if seconds is not None:
        return seconds
    until = _date(after)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds()) if until else None


def _fix(status: int, said: _Said) -> str:
    """What would mend the whole run; "" if the failure is not the whole run's."""
    if said.code in _WHOLE_RUN_CODES:
        return _WHOLE_RUN_CODES[said.code]
    message = said.message.lower()
    if _NO_CREDIT in message:
        return _WHOLE_RUN[402]
    if status < 400:
        return "it redirects elsewhere, where the key would not follow: give the final address"
    if status == _FORBIDDEN and ("moderation" in message or "flagged" in message):
        return ""
    if status == _NOT_FOUND:
        return _fix_not_found(said)
    return _WHOLE_RUN.get(status, "")


def _fix_not_found(said: _Said) -> str:
    if not said.code:
        return _WHOLE_RUN[405]
    return _WHOLE_RUN_CODES["model_not_found"] if "model" in said.message.lower() else ""


def _said(body: str) -> _Said:
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _Said("", body)
    error = found.get("error", found) if isinstance(found, dict) else found
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return _Said("", body)
    code = error.get("code") or error.get("type") or "error"
    return _Said(str(code), error["message"])


def _clean(message: str, secret: SecretStr) -> str:
    """One printable line without the key. Cut last, so that no half of a key slips through."""
    line = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    key = secret.get_secret_value()
    line = line.replace(key, "***") if key else line
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _seconds(written: str) -> float | None:
    try:
        seconds = float(written)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(written: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(written)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
