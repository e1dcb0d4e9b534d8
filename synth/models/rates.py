"""What the headers of an answer say of a provider's limits.

OpenAI and those who copy it send ``x-ratelimit-limit-requests``, ``-remaining-requests`` and
``-reset-requests`` (a duration such as ``6m0s`` or ``20ms``), and the same of tokens; Anthropic
``anthropic-ratelimit-requests-limit``, ``-remaining`` and ``-reset`` (a time). The limits are taken to be
those of a minute, as both document them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Told:
    """Limits of a minute, None where nothing is said. `wait_s`: until anything is left again, 0 if it is."""

    rpm: float | None = None
    tpm: float | None = None
    wait_s: float = 0.0


NOTHING = Told()


def told(headers: Mapping[str, str], now: datetime | None = None) -> Told:
    """What `headers`, whose names may be in any case, say of limits."""
    if "x-ratelimit-limit-requests" in headers or "x-ratelimit-limit-tokens" in headers:
        read = {what: _openai(headers, what) for what in ("requests", "tokens")}
    elif "anthropic-ratelimit-requests-limit" in headers or "anthropic-ratelimit-tokens-limit" in headers:
        read = {what: _anthropic(headers, what, now) for what in ("requests", "tokens")}
    else:
        return NOTHING
    waits = [reset for _, left, reset in read.values() if left == 0 and reset]
    return Told(read["requests"][0], read["tokens"][0], max(waits, default=0.0))


def _openai(headers: Mapping[str, str], what: str) -> tuple[float | None, float | None, float | None]:
    names = (f"x-ratelimit-{part}-{what}" for part in ("limit", "remaining", "reset"))
    limit, left, reset = (headers.get(name, "") for name in names)
    return _number(limit), _number(left), _duration(reset)


def _anthropic(
    headers: Mapping[str, str], what: str, now: datetime | None
) -> tuple[float | None, float | None, float | None]:
    names = (f"anthropic-ratelimit-{what}-{part}" for part in ("limit", "remaining", "reset"))
    limit, left, reset = (headers.get(name, "") for name in names)
    return _number(limit), _number(left), _until(reset, now or datetime.now(UTC))


def _number(written: str) -> float | None:
    return float(written) if written.isascii() and written.isdecimal() else None


def _duration(written: str) -> float | None:
    parts = _DURATION.findall(written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _until(written: str, now: datetime) -> float | None:
    try:
        then = datetime.fromisoformat(written)
    except ValueError:
        return None
    return max(0.0, (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp())
