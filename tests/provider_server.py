"""A provider on this machine, so that tests use the real SDKs, sockets and time-outs.

It speaks OpenAI's chat completions, completions and models, and Anthropic's messages. What it answers
is a pure function of the request's body, unless a test says otherwise; what it was asked is in its
log, which is the referee of what was bought.

In a test, in a thread of its own::

    with ProviderServer(key="secret", latency=0.05) as server:
        ...  # server.url, server.log

or as a process that outlives the tool that it serves, with its address on the first line it prints::

    python -m tests.provider_server --port 0 --log requests.jsonl --latency 0.05
"""

import argparse
import asyncio
import math
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import orjson

from synth.models import invented
from synth.models.base import Token
from synth.rows import digest

Body = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An answer that is not what was asked for.

    Attributes:
        status: with 200 the answer is the usual one, for `drop_after` and `headers` to spoil.
        headers: added to the answer, such as Retry-After.
        body: sent as it is; None for an error in the provider's own form, made of `code` and `message`.
        drop_after: so many bytes of the answer, and then the connection is dropped.
        hang: no answer at all, until the client gives up or the server ends.
    """

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | Body | None = None
    code: str = "server_error"
    message: str = "made to fail"
    drop_after: int | None = None
    hang: bool = False


@dataclass
class Entry:
    """One request, in the order of arrival.

    Attributes:
        headers: with names in lower case.
        time: when it had arrived whole, in seconds since 1970.
        status: of the answer; None as long as there is none.
        sent: True once the whole answer was handed to the socket. The client may be dead by then.
        ended: when that was.
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: Body
    time: float
    status: int | None = None
    sent: bool = False
    ended: float | None = None


@dataclass
class ProviderServer:
    """The server. A context manager, `with` or `async with`; it runs in a thread of its own.

    Attributes:
        answer: what to answer: a text, a whole body, or a fault. None, or what it returns as None, for the
            usual made answer.
        script: faults for the first requests, one each, in the order of arrival; None for none.
        fault: a fault for a body, or None; asked once `script` is used up.
        latency: seconds before every answer, or a function of the body that returns them, or returns what
            must become true first.
        cap: so many requests at one time; the others are refused with 429 at once. None for any number.
        rpm: so many requests in any sixty seconds, told in OpenAI's headers; the others are refused.
        key: the only key that is accepted; None accepts all, and none.
        models: the names that are known; None knows all.
        text_logprobs_like_chat: ``/v1/completions`` as llama.cpp answers it.
        log_file: also append every request there, and once more when its answer was sent; see `read_log`.
    """

    answer: Callable[[Body], "str | Fault | Body | None"] | None = None
    script: Iterable[Fault | None] = ()
    fault: Callable[[Body], Fault | None] | None = None
    latency: float | Callable[[Body], float | Callable[[], bool]] = 0.0
    cap: int | None = None
    rpm: int | None = None
    key: str | None = None
    models: tuple[str, ...] | None = None
    text_logprobs_like_chat: bool = False
    log_file: Path | None = None
    port: int = 0
    log: list[Entry] = field(default_factory=list)
    _inside: int = field(default=0, repr=False)
    _came: deque[float] = field(default_factory=deque, repr=False)
    _thread: threading.Thread | None = field(default=None, repr=False)
    _ready: threading.Event = field(default_factory=threading.Event, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def url(self) -> str:
        """Anthropic's base URL. OpenAI's ends with ``/v1``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[Body]:
        """The bodies of all posts, in the order of arrival."""
        return [entry.body for entry in self.log if entry.method == "POST"]

    @property
    def peak(self) -> int:
        """The most requests that were in the server at one time."""
        ended = [(entry.ended, -1) for entry in self.log if entry.ended is not None]
        level = peak = 0
        for _, change in sorted([*((entry.time, 1) for entry in self.log), *ended]):
            level += change
            peak = max(peak, level)
        return peak

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.run, name="provider-server", daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop
        assert self._thread
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Serve until stopped, in this thread."""
        asyncio.run(self._run(started))

    async def _run(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._faults = deque(self.script)
        server = await asyncio.start_server(self._converse, "127.0.0.1", self.port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        started()
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All the requests of one connection."""
        try:
            while entry := await self._receive(reader):
                if not await self._respond(entry, writer):
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client or the server is going away; the log says how far things got
        finally:
            writer.close()

    async def _receive(self, reader: asyncio.StreamReader) -> Entry | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            content = await reader.readexactly(int(headers.get("content-length", 0)))
        except asyncio.IncompleteReadError:
            return None
        method, path, _ = first.split(" ")
        body = orjson.loads(content) if content else {}
        entry = Entry(len(self.log), method, path, headers, body, time.time())
        self.log.append(entry)
        self._note(asdict(entry))
        return entry

    async def _respond(self, entry: Entry, writer: asyncio.StreamWriter) -> bool:
        """Answer `entry`. False if the connection is no longer usable."""
        if (too_much := self._too_much(entry)) is not None:
            return await self._send(entry, too_much, writer)
        self._inside += 1
        try:
            return await self._answer(entry, writer)
        finally:
            self._inside -= 1

    def _too_much(self, entry: Entry) -> Fault | None:
        """The refusal of a request that comes too often."""
        if self.cap is not None and self._inside >= self.cap:
            return Fault(status=429, code="rate_limit_exceeded", message="too many at once")
        if self.rpm is None:
            return None
        while self._came and self._came[0] <= entry.time - 60:
            self._came.popleft()
        if len(self._came) >= self.rpm:
            wait = str(max(0.0, self._came[0] + 60 - entry.time))
            return Fault(status=429, headers={"Retry-After": wait}, code="rate_limit_exceeded")
        self._came.append(entry.time)
        return None

    async def _answer(self, entry: Entry, writer: asyncio.StreamWriter) -> bool:
        reply = self._reply(entry)
        fault = reply if isinstance(reply, Fault) else Fault(status=200, body=reply)
        wait = self.latency(entry.body) if callable(self.latency) else self.latency
        while callable(wait) and not wait():  # noqa: ASYNC110 - what it waits for knows nothing of events
            await asyncio.sleep(0.02)
        await asyncio.sleep(0 if callable(wait) else wait)
        if fault.hang:
            await asyncio.Event().wait()
        if self.rpm is not None:
            left = {"limit": self.rpm, "remaining": self.rpm - len(self._came)}
            told = {f"x-ratelimit-{name}-requests": str(value) for name, value in left.items()}
            fault = replace(fault, headers={**told, **fault.headers})
        return await self._send(entry, fault, writer)

    async def _send(self, entry: Entry, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        whole = self._encoded(entry, fault)
        writer.write(whole if fault.drop_after is None else whole[: fault.drop_after])
        await writer.drain()
        entry.status, entry.sent, entry.ended = fault.status, fault.drop_after is None, time.time()
        self._note({"number": entry.number, "status": entry.status, "sent": entry.sent, "ended": entry.ended})
        return fault.drop_after is None

    def _reply(self, entry: Entry) -> "Fault | Body":
        planned = self._faults.popleft() if self._faults else self._fault(entry.body)
        refused = planned or self._refused(entry)
        if refused:
            return refused
        said = self.answer(entry.body) if self.answer and entry.method == "POST" else None
        return said if isinstance(said, Fault | dict) else self._usual(entry, said)

    def _fault(self, body: Body) -> Fault | None:
        return self.fault(body) if self.fault else None

    def _refused(self, entry: Entry) -> Fault | None:
        given = entry.headers.get("x-api-key", entry.headers.get("authorization", "").removeprefix("Bearer "))
        if self.key is not None and given != self.key:
            return Fault(status=401, code="invalid_api_key", message=f"Incorrect API key provided: {given}")
        model = entry.body.get("model")
        if model and self.models is not None and model not in self.models:
            return Fault(status=404, code="model_not_found", message=f"The model `{model}` does not exist")
        return None

    def _usual(self, entry: Entry, text: str | None) -> "Fault | Body":
        match entry.method, entry.path.partition("?")[0]:
            case "GET", "/v1/models":
                names = self.models or ("made",)
                return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
            case "POST", "/v1/chat/completions":
                return _chat(entry.body, text)
            case "POST", "/v1/completions":
                return _completion(entry.body, text, like_chat=self.text_logprobs_like_chat)
            case "POST", "/v1/messages":
                return _messages(entry.body, text)
        return Fault(status=404, body="Not Found")

    def _encoded(self, entry: Entry, fault: Fault) -> bytes:
        content = (
            fault.body.encode() if isinstance(fault.body, str) else orjson.dumps(self._body(entry, fault))
        )
        headers = {"Content-Type": "application/json", "Content-Length": len(content), **fault.headers}
        lines = [f"HTTP/1.1 {fault.status} Made", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + content

    def _body(self, entry: Entry, fault: Fault) -> object:
        if fault.body is not None:
            return fault.body
        return _error(entry, fault) if fault.status != 200 else self._usual(entry, None)

    def _note(self, record: Mapping[str, Any]) -> None:
        if self.log_file:
            with self.log_file.open("ab") as file:
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def read_log(path: Path) -> list[Entry]:
    """The log that a server wrote to `path`, in the order of arrival."""
    entries: dict[int, Entry] = {}
    for line in path.read_bytes().splitlines():
        record = orjson.loads(line)
        if "path" in record:
            entries[record["number"]] = Entry(**record)
            continue
        for name, value in record.items():
            setattr(entries[record["number"]], name, value)
    return list(entries.values())


def _chat(body: Body, text: str | None) -> Body:
    shape = body.get("response_format", {}).get("json_schema", {}).get("schema")
    top = body.get("top_logprobs", 0) if body.get("logprobs") else 0
    said, finish, tokens = _said(body, text, shape, top)
    logprobs = {"content": [_entry(token) for token in tokens]} if body.get("logprobs") else None
    message = {"role": "assistant", "content": said, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish}
    return _openai(body, "chat.completion", choice, said)


def _completion(body: Body, text: str | None, *, like_chat: bool) -> Body:
    top = body.get("logprobs") or 0
    said, finish, tokens = _said(body, text, None, top)
    logprobs: Body = {"content": [_entry(token) for token in tokens]}
    if not like_chat:
        logprobs = {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [token.top for token in tokens],
        }
    choice = {"index": 0, "text": said, "logprobs": logprobs if top else None, "finish_reason": finish}
    return _openai(body, "text_completion", choice, said)


def _openai(body: Body, kind: str, choice: Body, said: str) -> Body:
    prompt, completion = _billed(body, said)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    name = f"{kind.partition('.')[0]}-{_seed(body)}"
    return {
        "id": name,
        "object": kind,
        "created": 0,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }


def _messages(body: Body, text: str | None) -> Body:
    shape = body.get("output_config", {}).get("format", {}).get("schema")
    said, finish, _ = _said(body, text, shape, 0)
    prompt, completion = _billed(body, said)
    return {
        "id": f"msg_{_seed(body)}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": said}],
        "stop_reason": {"stop": "end_turn", "length": "max_tokens"}[finish],
        "stop_sequence": None,
        "usage": {
            "input_tokens": prompt,
            "output_tokens": completion,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        },
    }


def _said(body: Body, text: str | None, shape: Body | None, top: int) -> tuple[str, str, tuple[Token, ...]]:
    """Text, finish and tokens of an answer: `text` if a test gave one, or else made of the body."""
    seed = _seed(body)
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or 512
    if text is None and top and limit == 1:
        token = invented.verdict(seed, top)
        return token.text, "stop", (token,)
    finish = "stop"
    if text is None:
        text, finish = _made(body, seed, limit, shape)
    return text, finish, invented.tokens(seed, text, top) if top else ()


def _made(body: Body, seed: str, limit: int, shape: Body | None) -> tuple[str, str]:
    if shape is not None:
        return invented.json_text(seed, shape), "stop"
    first = invented.list_start(_prompt(body))
    whole = invented.text(seed) if first is None else invented.numbered(seed, first)
    stop = body.get("stop") or body.get("stop_sequences") or []
    return invented.cut(whole, limit, [stop] if isinstance(stop, str) else stop)


def _prompt(body: Body) -> str:
    said = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
    return said if isinstance(said, str) else "".join(part.get("text", "") for part in said)


def _billed(body: Body, said: str) -> tuple[int, int]:
    texts = [body.get("prompt", ""), body.get("system", "")]
    texts += [str(message["content"]) for message in body.get("messages", ())]
    return sum(len(str(text).split()) for text in texts), len(invented.pieces(said))


def _entry(token: Token) -> Body:
    top = [{"token": text, "logprob": logprob, "bytes": None} for text, logprob in token.top.items()]
    return {"token": token.text, "logprob": token.logprob, "bytes": None, "top_logprobs": top}


def _error(entry: Entry, fault: Fault) -> Body:
    if entry.path.startswith("/v1/messages"):
        return {"type": "error", "error": {"type": fault.code, "message": fault.message}}
    return {"error": {"message": fault.message, "type": fault.code, "param": None, "code": fault.code}}


def _seed(body: Body) -> str:
    return digest("made", body)


def log_normal(median_s: float, sigma: float) -> Callable[[Body], float]:
    """A latency that the body decides, log-normal over bodies."""

    def latency(body: Body) -> float:
        uniform = (int(_seed(body)[:12], 16) + 0.5) / 16**12
        return median_s * math.exp(sigma * statistics.NormalDist().inv_cdf(uniform))

    return latency


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="a provider on this machine, for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, help="append every request to this file")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before every answer")
    parser.add_argument(
        "--sigma", type=float, default=0.0, help="with it, latency is the median of a log-normal"
    )
    parser.add_argument("--forget", action="store_true", help="keep no log in memory")
    parser.add_argument("--key", help="the only key to accept")
    given = parser.parse_args()
    latency = log_normal(given.latency, given.sigma) if given.sigma else given.latency
    server = ProviderServer(port=given.port, log_file=given.log, latency=latency, key=given.key)
    if given.forget:
        server.log = deque(maxlen=1)  # type: ignore[assignment]
    server.run(started=lambda: _say(server.url))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
