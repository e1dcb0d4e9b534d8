"""The hot call: what an SDK would send, sent by aiohttp.

An SDK knows addresses, authentication and headers, and takes most of a millisecond of CPU to send a request.
So it is asked once for each kind of call, over a transport that sends nothing, what it would send; every call
after that goes to the same address with the same headers and a body of its own, for a tenth of the CPU. That
both send the same, a test compares on a socket.

No redirect is followed, since the next host was not given the key, and nothing here retries.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import SecretStr

from synth.errors import ProviderError, SynthError
from synth.models import refusal
from synth.models.rates import NOTHING, Told, told
from synth.models.wire import is_loopback, malformed, tls

if TYPE_CHECKING:
    import aiohttp
    import httpx2

CONNECT_S = 30.0
KEEP_ALIVE_S = 30.0
LARGEST = 50_000_000  # bytes of an answer
SHORTEST_KEY = 12  # a shorter one, such as the "none" that stands for no key, may be a word

# What a connection says of itself, and not the SDK.
_OF_CONNECTION = frozenset({"host", "connection", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Written:
    """A request as an SDK writes it, but for its body."""

    url: str
    headers: Mapping[str, str]


async def written(create: "Callable[[httpx2.AsyncClient], Awaitable[Any]]") -> Written:
    """What an SDK sends when `create` makes a call with it over the client that it is given."""
    import httpx2

    class Caught(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            self.request = request
            return httpx2.Response(200, json={})

    caught = Caught()
    async with httpx2.AsyncClient(transport=caught) as client:
        await create(client)
    headers = {
        name: value for name, value in caught.request.headers.items() if name.lower() not in _OF_CONNECTION
    }
    return Written(str(caught.request.url), headers)


class Poster:
    """Connections to one host. `close` it.

    Args:
        timeout_s: for a whole answer.
        secret: the key, which no message of an error repeats.
        hear: is told what answers say of limits.
    """

    def __init__(
        self, base_url: str, *, timeout_s: float, secret: SecretStr, hear: Callable[[Told], None]
    ) -> None:
        self._base_url, self._timeout_s, self._secret, self._hear = base_url, timeout_s, secret, hear
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session:
            await self._session.close()
        self._session = None

    def _connected(self) -> "aiohttp.ClientSession":
        """The session, made in the loop that uses it."""
        if self._session is None:
            import aiohttp  # here, since it takes a while and `synth --help` has no use for it

            self._session = aiohttp.ClientSession(
                # No limit of its own: how many calls are in flight is decided elsewhere.
                connector=aiohttp.TCPConnector(limit=0, ssl=tls(), keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, connect=min(CONNECT_S, self._timeout_s)),
                trust_env=not is_loopback(self._base_url),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def post(self, request: Written, body: Mapping[str, Any]) -> bytes:
        """The body of a successful answer to `body`.

        Raises:
            RateLimited, Transient, BadRequest, ProviderError: as `Provider.answer` promises.
        """
        from aiohttp import ClientError

        failure: SynthError
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._connected().post(
                    request.url, data=orjson.dumps(body), headers=request.headers, allow_redirects=False
                ) as response,
            ):
                content = await _content(response)
                if (said := told(response.headers)) is not NOTHING:
                    self._hear(said)
                if 200 <= response.status < 300:
                    self._refuse_own_key(content)
                    return content
                text = content.decode("utf-8", "replace")
                failure = refusal.of_status(response.status, response.headers, text, self._secret)
        except ClientError as error:  # before TimeoutError, which some of these are
            failure = refusal.no_answer(error, self._secret)
        except TimeoutError:
            failure = refusal.too_slow(self._timeout_s)
        except OSError as error:
            failure = refusal.no_answer(error, self._secret)
        # Raised out here, so that the error below is not chained to ours: it may hold the request's headers.
        raise failure

    def _refuse_own_key(self, content: bytes) -> None:
        """An answer is kept as it is, so one that holds the key must not come in."""
        key = self._secret.get_secret_value().encode()
        if len(key) >= SHORTEST_KEY and key in content:
            raise ProviderError(f"{self._base_url} sends the key back in its answers; none is kept")


async def _content(response: "aiohttp.ClientResponse") -> bytes:
    """The body, as far as it may be kept in memory."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > LARGEST:
            raise malformed(f"it is longer than {LARGEST:,} bytes")
        parts.append(part)
    return b"".join(parts)
