"""The providers against a server over real sockets. What the server logged is what was sent."""

import asyncio
import math
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import validate
from provider_server import Body, Entry, Fault, ProviderServer, read_log
from pydantic import SecretStr

from synth.errors import BadRequest, ProviderError, RateLimited, RowError, SynthError, Transient, UserError
from synth.models.base import Kind, Provider, Reply, Request, Usage, schema_text
from synth.models.openai_wire import OpenAIWire
from synth.models.post import written
from synth.models.refusal import of_status, retry_after_s
from synth.providers.anthropic import Anthropic
from synth.providers.anthropic import _body as anthropic_body
from synth.providers.compatible import Compatible
from synth.providers.openai import OpenAI
from synth.providers.scripted import Scripted
from synth.rows import Message

KEY = "key-of-the-tests-4711"
SCHEMA: Body = {
    "type": "object",
    "properties": {"better": {"enum": ["A", "B"]}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["better", "score"],
    "additionalProperties": False,
}
HOSTED = ["openai", "compatible", "anthropic"]
LIKE_OPENAI = ["openai", "compatible"]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MY_KEY"):
        monkeypatch.setenv(variable, KEY)


def build(name: str, url: str, **fields: Any) -> Provider:
    if name == "compatible":
        return Compatible(model="m", base_url=f"{url}/v1", api_key_env="MY_KEY", **fields)
    if name == "openai":
        provider = OpenAI(model="m", **fields)
        provider._base_url = f"{url}/v1"
        return provider
    anthropic = Anthropic(model="m", **fields)
    anthropic._base_url = url
    return anthropic


@asynccontextmanager
async def opened(provider: Provider) -> AsyncIterator[Provider]:
    await provider.open()
    try:
        yield provider
    finally:
        await provider.close()


def asking(text: str = "Say something.", **fields: Any) -> Request:
    return Request("somewhere", "m", (Message("system", "Be brief."), Message("user", text)), **fields)


async def ask(name: str, server: ProviderServer, request: Request, **fields: Any) -> Reply:
    async with opened(build(name, server.url, **fields)) as provider:
        return await provider.answer(request)


async def fail(name: str, *script: Fault, **fields: Any) -> SynthError:
    """The error that a fault becomes, after exactly one request."""
    with ProviderServer(script=script, key=KEY) as server:
        with pytest.raises(SynthError) as caught:
            await ask(name, server, asking(), **fields)
        assert len(server.log) == 1
    return caught.value


# What is sent

RICH: Body = {"temperature": 0.5, "stop": ("x",), "max_tokens": 9, "sample": 3}


@pytest.mark.parametrize("kind", ["chat", "complete"])
@pytest.mark.parametrize("is_openai", [True, False])
async def test_openais_sdk_sends_the_same_headers_and_body(kind: Kind, is_openai: bool) -> None:
    request = Request("e", "m", (Message("user", "Grüße"),), kind, **RICH)
    with ProviderServer() as server:
        wire = OpenAIWire(f"{server.url}/v1", KEY, is_openai=is_openai)
        await wire.answer(request)
        await wire.close()
        async with wire.sdk() as sdk:
            if kind == "chat":
                await sdk.chat.completions.with_raw_response.create(**wire._chat_body(request))
            else:
                await sdk.completions.with_raw_response.create(**wire._text_body(request))
        ours, theirs = server.log
    assert said(ours) == said(theirs)


async def test_anthropics_sdk_sends_the_same_headers_and_body() -> None:
    request = Request("e", "m", (Message("system", "Kurz."), Message("user", "Grüße")), max_tokens=9)
    with ProviderServer() as server:
        async with opened(build("anthropic", server.url)) as provider:
            assert isinstance(provider, Anthropic)
            await provider.answer(request)
            async with provider.sdk() as sdk:
                await sdk.messages.with_raw_response.create(**anthropic_body(request))
        ours, theirs = server.log
    assert said(ours) == said(theirs)


def said(entry: Entry) -> tuple[str, dict[str, str], Body]:
    """All of a request but what belongs to its connection."""
    of_connection = ("connection", "content-length")
    headers = {name: value for name, value in entry.headers.items() if name not in of_connection}
    return entry.path, headers, entry.body


async def test_the_body_of_a_chat_carries_what_the_request_says_and_nothing_else() -> None:
    request = asking(
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        presence_penalty=2.0,
        frequency_penalty=0.1,
        stop=("\n",),
        sample=3,
    )
    with ProviderServer(key=KEY) as server:
        await ask("compatible", server, request)
        assert server.bodies == [
            {
                "model": "m",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Say something."},
                ],
                "max_tokens": 7,
                "temperature": 0.5,
                "top_p": 0.9,
                "presence_penalty": 2.0,
                "frequency_penalty": 0.1,
                "stop": ["\n"],
                "seed": request.seed,
            }
        ]


@pytest.mark.parametrize("name", LIKE_OPENAI)
async def test_a_field_that_the_request_leaves_open_is_not_sent(name: str) -> None:
    with ProviderServer(key=KEY) as server:
        await ask(name, server, asking())
        limit = {"openai": "max_completion_tokens", "compatible": "max_tokens"}[name]
        assert set(server.bodies[0]) == {"model", "messages", limit, "seed"}


async def test_a_server_without_seeds_is_sent_none() -> None:
    with ProviderServer(key=KEY) as server:
        await ask("compatible", server, asking(), supports=[])
        assert "seed" not in server.bodies[0]


async def test_a_completion_is_the_raw_text_and_nothing_around_it() -> None:
    request = Request("e", "m", (Message("user", "Tasks:\n1. Sing\n2."),), kind="complete", max_tokens=300)
    with ProviderServer(key=KEY) as server:
        reply = await ask("compatible", server, request)
        assert server.log[0].path == "/v1/completions"
        assert server.bodies[0]["prompt"] == "Tasks:\n1. Sing\n2."
    assert [line.split(".")[0] for line in reply.text.split("\n")[1:]] == [str(n) for n in range(3, 10)]
    assert len(set(reply.text.split("\n"))) == 8


async def test_anthropic_gets_the_system_text_apart_and_no_sampling_fields() -> None:
    with ProviderServer(key=KEY) as server:
        await ask("anthropic", server, asking(max_tokens=9, stop=("END",)))
        assert server.bodies == [
            {
                "model": "m",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Say something."}],
                "system": "Be brief.",
                "stop_sequences": ["END"],
            }
        ]
        assert server.log[0].path == "/v1/messages"


@pytest.mark.parametrize(
    "fields",
    [{"temperature": 0.0}, {"top_p": 0.5}, {"top_logprobs": 2}, {"kind": "complete"}, {"kind": "score"}],
)
async def test_what_anthropic_cannot_do_is_refused_before_it_is_paid_for(fields: Mapping[str, Any]) -> None:
    with ProviderServer() as server:
        with pytest.raises(BadRequest, match="cannot do"):
            await ask("anthropic", server, asking(**fields))
        assert server.log == []


async def test_a_system_message_between_turns_is_not_moved() -> None:
    turns = (Message("user", "a"), Message("system", "b"))
    with ProviderServer() as server, pytest.raises(BadRequest, match="system"):
        await ask("anthropic", server, Request("e", "m", turns))


async def test_what_the_environment_says_of_openai_goes_to_no_other_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer other\nX-Mine: yes")
    with ProviderServer() as server:
        await ask("compatible", server, asking())
        headers = server.log[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert not {"x-mine", "openai-organization", "openai-project"} & set(headers)


async def test_the_environment_cannot_send_a_key_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    openai, anthropic = OpenAI(model="m"), Anthropic(model="m")
    async with opened(openai), opened(anthropic):
        assert openai._wire is not None
        wire = openai._wire
        chat = await written(lambda client: wire._create("chat", client))
        assert (openai.endpoint, chat.url) == (
            "https://api.openai.com/v1",
            "https://api.openai.com/v1/chat/completions",
        )
        assert (anthropic.endpoint, anthropic._written.url) == (
            "https://api.anthropic.com",
            "https://api.anthropic.com/v1/messages",
        )


async def test_a_proxy_does_not_see_what_is_said_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with ProviderServer(key=KEY) as server:
        for name in HOSTED:
            await ask(name, server, asking())
        assert [entry.status for entry in server.log] == [200] * len(HOSTED)


async def test_without_a_key_the_word_none_is_sent() -> None:
    with ProviderServer() as server:
        async with opened(Compatible(model="m", base_url=f"{server.url}/v1")) as provider:
            await provider.answer(asking())
        assert server.log[0].headers["authorization"] == "Bearer none"


# What comes back


@pytest.mark.parametrize("name", HOSTED)
async def test_every_provider_gives_the_same_shape_of_reply(name: str) -> None:
    with ProviderServer(answer=lambda _: "Two words.", key=KEY) as server:
        reply = await ask(name, server, asking())
    assert (reply.text, reply.finish, reply.tokens, reply.model) == ("Two words.", "stop", (), "m")
    assert reply.usage == Usage(prompt=4, completion=2)
    assert reply.response_id


@pytest.mark.parametrize("name", HOSTED)
async def test_an_answer_cut_at_the_limit_says_so(name: str) -> None:
    with ProviderServer() as server:
        reply = await ask(name, server, asking(max_tokens=2))
    assert (len(reply.text.split()), reply.finish) == (2, "length")


@pytest.mark.parametrize("name", HOSTED)
async def test_a_schema_shapes_the_answer(name: str) -> None:
    with ProviderServer() as server:
        reply = await ask(name, server, asking(schema=schema_text(SCHEMA)))
        body = server.bodies[0]
    validate(orjson.loads(reply.text), SCHEMA)
    sent = {
        "openai": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
        "anthropic": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    field = "output_config" if name == "anthropic" else "response_format"
    assert body[field] == sent["anthropic" if name == "anthropic" else "openai"]


@pytest.mark.parametrize("name", LIKE_OPENAI)
async def test_both_verdicts_come_back_with_their_log_probabilities(name: str) -> None:
    with ProviderServer() as server:
        reply = await ask(name, server, asking(max_tokens=1, top_logprobs=5))
        assert (server.bodies[0]["logprobs"], server.bodies[0]["top_logprobs"]) == (True, 5)
    (token,) = reply.tokens
    assert reply.text == token.text == max(token.top, key=token.top.__getitem__)
    assert token.logprob == token.top[token.text]
    assert math.exp(token.top["A"]) + math.exp(token.top["B"]) == pytest.approx(0.97)


@pytest.mark.parametrize("like_chat", [False, True])
async def test_log_probabilities_of_a_completion_are_read_in_either_shape(like_chat: bool) -> None:
    request = Request("e", "m", (Message("user", "Once"),), kind="complete", top_logprobs=2)
    with ProviderServer(text_logprobs_like_chat=like_chat) as server:
        reply = await ask("compatible", server, request)
    assert "".join(token.text for token in reply.tokens) == reply.text
    assert all(token.logprob <= 0 and len(token.top) == 2 for token in reply.tokens)


async def test_tokens_read_from_a_cache_are_counted_once() -> None:
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 4,
    }
    with ProviderServer(answer=lambda _: said_by_anthropic(usage=usage)) as server:
        reply = await ask("anthropic", server, asking())
    assert reply.usage == Usage(prompt=35, completion=2, cached=30)


async def test_a_refusal_is_an_answer_that_a_filter_ended() -> None:
    refusal = {"message": {"content": None, "refusal": "I would rather not."}}
    with ProviderServer(answer=lambda _: said_by_openai(**refusal)) as server:
        reply = await ask("openai", server, asking(top_logprobs=2))
    assert (reply.text, reply.finish) == ("I would rather not.", "content_filter")
    with ProviderServer(answer=lambda _: said_by_anthropic(stop_reason="refusal", content=[])) as server:
        reply = await ask("anthropic", server, asking())
    assert (reply.text, reply.finish) == ("", "content_filter")


# What is no answer


def said_by_openai(**choice: Any) -> Body:
    usual = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    return {"id": "1", "model": "m", "choices": [usual | choice], "usage": {"prompt_tokens": 1}}


def said_by_anthropic(**message: Any) -> Body:
    usage = {"input_tokens": 1, "output_tokens": 1}
    usual = {
        "id": "1",
        "model": "m",
        "content": [{"type": "text", "text": "Yes."}],
        "stop_reason": "end_turn",
    }
    return usual | {"usage": usage} | message


@pytest.mark.parametrize(
    "broken",
    [
        said_by_openai(finish_reason=None),
        said_by_openai(finish_reason=""),
        said_by_openai(message={"content": None}),
        said_by_openai(message={"content": 5}),
        said_by_openai(message={"content": ["Yes."]}),
        said_by_openai(message=None),
        said_by_openai(logprobs={"content": [{"token": "Yes", "logprob": "-1"}]}),
        said_by_openai() | {"choices": []},
        said_by_openai() | {"choices": None},
        said_by_openai() | {"usage": {"prompt_tokens": "5"}},
        {"error": {"message": "overloaded"}},
        {},
    ],
)
async def test_an_incomplete_answer_of_openais_is_transient(broken: Body) -> None:
    with ProviderServer(answer=lambda _: broken) as server:
        with pytest.raises(Transient, match="cannot be read"):
            await ask("openai", server, asking(top_logprobs=2))
        assert len(server.log) == 1


@pytest.mark.parametrize(
    ("name", "kind", "body"),
    [
        ("openai", "chat", {"choices": [{"message": {"content": "Yes."}}]}),
        ("compatible", "complete", {"choices": [{"text": "Yes."}]}),
        ("anthropic", "chat", said_by_anthropic(stop_reason=None)),
    ],
)
async def test_a_missing_finish_reason_is_transient(name: str, kind: Kind, body: Body) -> None:
    with ProviderServer(answer=lambda _: body) as server, pytest.raises(Transient, match="reason"):
        await ask(name, server, asking(kind=kind))


@pytest.mark.parametrize(
    "broken",
    [
        said_by_anthropic(stop_reason=""),
        said_by_anthropic(content=[]),
        said_by_anthropic(content=None),
        said_by_anthropic(content=[{"type": "text"}]),
        said_by_anthropic(usage=None),
    ],
)
async def test_an_incomplete_answer_of_anthropics_is_transient(broken: Body) -> None:
    with ProviderServer(answer=lambda _: broken) as server, pytest.raises(Transient, match="cannot be read"):
        await ask("anthropic", server, asking())


async def test_an_answer_without_the_log_probabilities_is_not_bought_again() -> None:
    with (
        ProviderServer(answer=lambda _: said_by_openai()) as server,
        pytest.raises(BadRequest, match="log-prob"),
    ):
        await ask("openai", server, asking(top_logprobs=2))


@pytest.mark.parametrize("name", HOSTED)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=200, body='{"choices": ['),
        Fault(status=200, drop_after=0),
        Fault(status=200, drop_after=150),
    ],
)
async def test_a_broken_answer_and_a_dropped_connection_are_transient(name: str, fault: Fault) -> None:
    error = await fail(name, fault)
    assert isinstance(error, Transient)
    assert error.hint


@pytest.mark.parametrize("name", HOSTED)
async def test_an_answer_that_never_comes_is_transient(name: str) -> None:
    assert isinstance(await fail(name, Fault(hang=True), timeout_s=0.2), Transient)


async def test_an_answer_that_trickles_cannot_outlast_the_time_out() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.05)

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with opened(build("compatible", f"http://127.0.0.1:{port}", timeout_s=0.3)) as provider:
        with pytest.raises(Transient, match=r"within 0\.3 s"):
            await provider.answer(asking())
    server.close()


async def test_a_server_that_is_not_there_is_transient() -> None:
    for name in HOSTED:
        async with opened(build(name, "http://127.0.0.1:9")) as provider:
            with pytest.raises(Transient, match="Cannot connect"):
                await provider.answer(asking())


# What a failure means

STATUSES = [
    (400, BadRequest),
    (401, ProviderError),
    (402, ProviderError),
    (403, ProviderError),
    (404, BadRequest),
    (408, Transient),
    (409, Transient),
    (413, BadRequest),
    (422, BadRequest),
    (429, RateLimited),
    (500, Transient),
    (502, Transient),
    (503, Transient),
    (504, Transient),
    (529, Transient),
]


@pytest.mark.parametrize("name", HOSTED)
@pytest.mark.parametrize(("status", "wanted"), STATUSES)
async def test_a_status_is_one_class_of_error_and_one_request(name: str, status: int, wanted: type) -> None:
    error = await fail(name, Fault(status=status, message="made to fail"))
    assert type(error) is wanted
    assert f"HTTP {status}: made to fail" in str(error)
    assert error.hint if isinstance(error, RowError) else "(" in str(error)


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (Fault(status=429, code="insufficient_quota"), ProviderError),
        (Fault(status=400, code="billing_hard_limit_reached"), ProviderError),
        (Fault(status=400, message="Your credit balance is too low to access the API."), ProviderError),
        (Fault(status=400, code="model_not_found"), ProviderError),
        (Fault(status=404, code="not_found_error", message="model: m"), ProviderError),
        (Fault(status=404, body="<h1>Not Found</h1>"), ProviderError),
        (Fault(status=403, message="Your input was flagged"), BadRequest),
        (Fault(status=503, headers={"Retry-After": "2"}), RateLimited),
        (Fault(status=500, body=""), Transient),
        (Fault(status=502, body="<html>\x1b[31mBad gateway</html>"), Transient),
        (Fault(status=400, body='["odd"]'), BadRequest),
    ],
)
@pytest.mark.parametrize("name", HOSTED)
async def test_the_body_of_a_failure_says_whose_it_is(name: str, fault: Fault, wanted: type) -> None:
    error = await fail(name, fault)
    assert type(error) is wanted
    assert "\x1b" not in str(error)


@pytest.mark.parametrize("name", HOSTED)
async def test_a_redirect_is_not_followed(name: str) -> None:
    with ProviderServer() as other:
        error = await fail(
            name, Fault(status=307, headers={"Location": f"{other.url}/v1/chat/completions"}, body="")
        )
        assert other.log == []
    assert isinstance(error, ProviderError)


@pytest.mark.parametrize("name", HOSTED)
async def test_retry_after_reaches_the_one_who_retries(name: str) -> None:
    error = await fail(name, Fault(status=429, headers={"Retry-After": "7"}))
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == 7


def test_retry_after_is_seconds_or_a_date_or_nothing() -> None:
    now = datetime.now(UTC)
    date = format_datetime(now + timedelta(seconds=60), usegmt=True)
    assert retry_after_s({"retry-after": "1.5"}) == 1.5
    assert retry_after_s({"retry-after": date}) == pytest.approx(60, abs=5)
    assert retry_after_s({"retry-after": date, "date": format_datetime(now - timedelta(hours=1))}) == 3660
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "1"}) == 0.25
    assert [retry_after_s({"retry-after": odd}) for odd in ("", "soon", "nan", "inf")] == [None] * 4
    assert retry_after_s({}) is None


# Keys


@pytest.mark.parametrize("name", HOSTED)
async def test_a_key_is_in_no_error_and_no_repr(name: str) -> None:
    with ProviderServer(key="another") as server:
        async with opened(build(name, server.url)) as provider:
            with pytest.raises(ProviderError) as caught:
                await provider.answer(asking())
            assert KEY not in repr(provider) + str(provider) + provider.model_dump_json()
    written = "".join(traceback.format_exception(caught.value))
    assert KEY not in written
    assert "***" in written
    assert caught.value.__context__ is None


async def test_a_wire_does_not_show_its_key() -> None:
    assert KEY not in repr(OpenAIWire("http://127.0.0.1:9/v1", KEY))


def test_a_long_message_is_cut_after_the_key_is_gone() -> None:
    for start in range(260, 300):
        error = of_status(400, {}, "x" * start + KEY, SecretStr(KEY))
        assert KEY[:4] not in str(error)


@pytest.mark.parametrize("name", HOSTED)
async def test_a_missing_key_is_a_problem_before_any_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = build(name, "http://127.0.0.1:9")
    assert provider.problems() == {}
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MY_KEY"):
        monkeypatch.delenv(variable)
    assert "is not set" in provider.problems()["api_key_env"]
    with pytest.raises(UserError, match="api_key_env"):
        await provider.open()


@pytest.mark.parametrize(
    "pasted", ["sk-ant-abc123", "sk_live_0123456789abcdef0", "hf_AbCdEfGhIjKlMnOpQr", ""]
)
def test_a_key_pasted_for_the_name_of_a_variable_is_refused_and_not_repeated(pasted: str) -> None:
    for provider in (
        OpenAI(model="m", api_key_env=pasted),
        Anthropic(model="m", api_key_env=pasted),
        Compatible(model="m", base_url="http://127.0.0.1:9/v1", api_key_env=pasted),
    ):
        problem = provider.problems()["api_key_env"]
        assert "may be a key" in problem
        assert not pasted or pasted not in problem + repr(provider)


@pytest.mark.parametrize(
    "variable", ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"]
)
def test_a_well_known_key_goes_to_no_strange_host(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, KEY)
    strange = Compatible(model="m", base_url="https://openai.com.example.org/v1", api_key_env=variable)
    assert "does not go to" in strange.problems()["api_key_env"]


def test_a_well_known_key_goes_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", KEY)
    home = Compatible(model="m", base_url="https://router.huggingface.co/v1", api_key_env="HF_TOKEN")
    assert home.problems() == {}


async def test_the_line_end_of_a_key_file_is_not_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    with ProviderServer(key=KEY) as server:
        await ask("compatible", server, asking())
    monkeypatch.setenv("MY_KEY", "two words")
    assert "spaces" in build("compatible", server.url).problems()["api_key_env"]


# Addresses and prices


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/v1",
        "host:8000/v1",
        "http://",
        "http://user:secret@host/v1",
        "http://host/v1?key=secret",
        "http://host:port/v1",
        "http://host..example/v1",
        "http://169.254.169.254/v1",
        "http://2852039166/v1",
        "http://0xa9.0xfe.0xa9.0xfe/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fe80::1%25eth0]/v1",
        "http://metadata.google.internal./v1",
        "http://100.100.100.200/v1",
    ],
)
async def test_an_address_where_no_request_may_go_is_a_problem(address: str) -> None:
    provider = Compatible(model="m", base_url=address)
    assert provider.problems().keys() == {"base_url"}
    assert "secret" not in provider.problems()["base_url"]
    with pytest.raises(UserError):
        await provider.open()


def test_openai_has_no_address_to_set() -> None:
    with pytest.raises(ValueError, match="base_url"):
        OpenAI(model="m", base_url="https://example.org/v1")  # type: ignore[call-arg]


def test_a_price_is_known_or_none() -> None:
    usage = Usage(prompt=1_000_000, completion=100_000)
    known = OpenAI(model="gpt-4o-mini").price_usd(usage)
    assert known == pytest.approx(0.15 + 0.06)
    assert Anthropic(model="claude-sonnet-4-5").price_usd(Usage(1000, 100, 200)) == pytest.approx(0.00396)
    assert OpenAI(model="nobody-knows").price_usd(usage) is None
    assert OpenAI(model="gpt-4o-mini").price_usd(Usage(prompt=1, completion=1, cached=2)) is None
    assert Compatible(model="m", base_url="http://127.0.0.1:9/v1").price_usd(usage) is None
    assert Scripted().price_usd(usage) == 0


# Scripted


async def test_a_scripted_answer_is_a_pure_function_of_the_request() -> None:
    one, same, other = [await Scripted().answer(asking(sample=sample)) for sample in (1, 1, 2)]
    assert one == same
    assert one.text != other.text


async def test_a_scripted_provider_can_do_everything() -> None:
    provider = Scripted()
    verdict = await provider.answer(asking(top_logprobs=2))
    assert verdict.tokens[0].top.keys() == {"A", "B"}
    tasks = await provider.answer(asking("1. Sing\n2."))
    assert tasks.text.count("\n") == 7
    shaped = await provider.answer(asking(schema=schema_text(SCHEMA)))
    validate(orjson.loads(shaped.text), SCHEMA)
    scored = await provider.answer(asking(kind="score", target="Yes, of course."))
    assert ("".join(token.text for token in scored.tokens), scored.text) == ("Yes, of course.", "")


async def test_a_function_answers_with_a_text_a_reply_or_an_error() -> None:
    answers: dict[str, str | Reply | Exception] = {"a": "b", "c": Reply("d"), "e": Transient("no")}
    provider = Scripted(answers=lambda request: answers[request.messages[-1].content])
    assert (await provider.answer(asking("a"))).text == "b"
    assert (await provider.answer(asking("c"))).text == "d"
    with pytest.raises(Transient, match="no"):
        await provider.answer(asking("e"))


async def test_the_first_line_of_a_script_that_fits_wins(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"when": "cat", "reply": "Meow."}\n\n{"when": "", "reply": "Hm."}\n')
    provider = Scripted(script=str(script))
    assert provider.problems() == {}
    assert (await provider.answer(asking("a cat"))).text == "Meow."
    assert (await provider.answer(asking("a dog"))).text == "Hm."
    script.write_text('{"when": "cat", "reply": "Purr."}\n')
    edited = Scripted(script=str(script))
    assert edited.endpoint != provider.endpoint
    with pytest.raises(BadRequest, match="no line"):
        await edited.answer(asking("a dog"))


def test_the_mistakes_of_a_script_are_all_told_with_their_lines(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"when": "a", "reply": "b"}\n{"when": "a"}\nnonsense\n{"when": 1, "reply": "b"}\n')
    problem = Scripted(script=str(script)).problems()["script"]
    assert all(f"{script}:{line}:" in problem for line in (2, 3, 4))
    assert f"{script}:1:" not in problem
    assert "No such file" in Scripted(script=str(tmp_path / "none")).problems()["script"]


@pytest.mark.parametrize("kind", [OpenAI, Compatible, Anthropic, Scripted])
def test_the_yaml_keys_of_a_provider_have_a_schema(kind: type[Provider]) -> None:
    keys = kind.model_json_schema()["properties"].keys()
    assert {"model", "max_concurrency"} <= keys
    assert not {"answers", "_base_url"} & keys


# The server itself


async def test_the_server_logs_what_was_fully_sent_and_what_was_not(tmp_path: Path) -> None:
    script = [None, Fault(status=200, drop_after=10)]
    with ProviderServer(script=script, log_file=tmp_path / "log") as server:
        async with opened(build("compatible", server.url)) as provider:
            await provider.answer(asking("first"))
            with pytest.raises(Transient):
                await provider.answer(asking("second"))
    assert [entry.sent for entry in server.log] == [True, False]
    assert read_log(tmp_path / "log") == server.log


async def test_the_server_answers_alike_in_any_order() -> None:
    texts = [str(number) for number in range(20)]

    async def gather(asked: list[str]) -> dict[str, str]:
        with ProviderServer(latency=lambda body: len(body["messages"][-1]["content"]) / 100) as server:
            async with opened(build("compatible", server.url)) as provider:
                replies = await asyncio.gather(*(provider.answer(asking(text)) for text in asked))
            assert server.peak > 1
        return dict(zip(asked, (reply.text for reply in replies), strict=True))

    assert await gather(texts) == await gather(texts[::-1])
