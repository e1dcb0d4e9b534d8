"""The embedded model itself: real weights, real processes.

Fetch the weights with `synth model fetch smollm2-135m`. Without them these tests are skipped, unless
SYNTH_REQUIRE_MODEL=1 says that they have to be there.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import pytest_asyncio

from synth.errors import BadRequest, ProviderError, Transient, UserError
from synth.models.base import Reply, Request, schema_text
from synth.models.embedded.weights import Weights, locate
from synth.providers.local import Local
from synth.rows import Message

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[1]
MODEL = "smollm2-135m"


@pytest.fixture(scope="module")
def weights() -> Weights:
    try:
        found = locate(MODEL)
    except UserError as error:
        if os.environ.get("SYNTH_REQUIRE_MODEL") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    if not found.checkpoint and os.environ.get("SYNTH_REQUIRE_MODEL") != "1":
        pytest.skip("there is no checkpoint beside the GGUF file: install the extra 'local' and fetch again")
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local(weights: Weights) -> AsyncIterator[Local]:
    provider = Local()
    await provider.open()
    yield provider
    await provider.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def checkpoint_only(weights: Weights) -> AsyncIterator[Local]:
    provider = Local(model=str(weights.checkpoint), context=256)
    yield provider
    await provider.close()


def ask(provider: Local, *said: str, **fields: Any) -> Request:
    roles = ("user", "assistant") * len(said)
    messages = tuple(Message(role, text) for role, text in zip(roles, said, strict=False))  # type: ignore[arg-type]
    return Request(provider.endpoint, provider.model, messages, **{"max_tokens": 16} | fields)


def mean_logprob(reply: Reply) -> float:
    return fmean(token.logprob for token in reply.tokens)


async def until_gone(*pids: int) -> bool:
    """Whether all of `pids` end within a few seconds."""

    def runs(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        # One that ended waits for the machine's first process to take note of it.
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"

    for _ in range(100):
        if not any(map(runs, pids)):
            return True
        await asyncio.sleep(0.1)
    return False


# What both back ends can be asked


async def test_nothing_starts_before_the_first_request(weights: Weights) -> None:
    provider = Local()
    assert provider.problems() == {}
    assert {"score", "schema", "complete", "logprobs"} <= provider.capabilities
    assert provider._llama is None
    assert provider._scorer is None


async def test_a_chat_is_answered_and_costs_nothing(local: Local) -> None:
    reply = await local.answer(ask(local, "Name a colour.", temperature=0))
    assert reply.text.strip()
    assert reply.finish in {"stop", "length"}
    assert reply.usage.prompt > 20
    assert 0 < reply.usage.completion <= 16
    assert reply.tokens == ()
    assert str(Path.home()) not in repr(reply)
    assert local.price_usd(reply.usage) == 0


async def test_sixteen_chats_at_once_are_all_answered(local: Local) -> None:
    asked = [ask(local, f"Tell me about the number {n}.", max_tokens=8, sample=n) for n in range(16)]
    replies = await asyncio.gather(*map(local.answer, asked))
    assert all(reply.usage.completion for reply in replies)
    assert len({reply.response_id for reply in replies}) == 16


@pytest.mark.parametrize("kind", ["chat", "complete"])
async def test_the_logprobs_are_those_of_the_tokens(local: Local, kind: str) -> None:
    reply = await local.answer(
        ask(local, "One, two,", kind=kind, temperature=0, top_logprobs=5, max_tokens=5)
    )
    assert "".join(token.text for token in reply.tokens) == reply.text
    for token in reply.tokens:
        assert len(token.top) == 5
        assert token.logprob == max(token.top.values()) <= 0


async def test_an_answer_with_a_schema_fits_it(local: Local) -> None:
    shape = {
        "type": "object",
        "properties": {"verdict": {"enum": ["A", "B"]}, "why": {"type": "string", "maxLength": 40}},
        "required": ["verdict", "why"],
        "additionalProperties": False,
    }
    question = "Which is larger? A: a mouse. B: a horse. Answer in JSON."
    reply = await local.answer(ask(local, question, schema=schema_text(shape), max_tokens=80))
    answer = json.loads(reply.text)
    assert answer.keys() == {"verdict", "why"}
    assert answer["verdict"] in {"A", "B"}


async def test_raw_text_goes_on_and_ends_before_a_stop_string(local: Local) -> None:
    request = ask(local, "1. one\n2. two\n3.", kind="complete", temperature=0, stop=("\n",), max_tokens=30)
    reply = await local.answer(request)
    assert reply.text
    assert "\n" not in reply.text
    assert reply.finish == "stop"


async def test_an_overlong_prompt_is_refused_with_both_lengths(local: Local) -> None:
    for kind in ("chat", "complete", "score"):
        with pytest.raises(BadRequest, match=r"\b[23]\d{3} tokens.*\b2048\b"):
            await local.answer(ask(local, "word " * 2500, kind=kind, target="A word."))


async def test_the_same_seed_gives_the_same_text_on_one_slot(weights: Weights) -> None:
    alone = Local(slots=1, context=256)
    try:
        first, second, other = [
            (await alone.answer(ask(alone, "Write a poem.", temperature=1.0, sample=sample))).text
            for sample in (0, 0, 1)
        ]
    finally:
        await alone.close()
    assert first == second != other


# Scores


async def test_a_score_is_what_transformers_says_it_is(local: Local, weights: Weights) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    question, target = "What is the capital of France?", "The capital of France is Paris."
    reply = await local.answer(ask(local, question, kind="score", target=target))

    tokenizer = AutoTokenizer.from_pretrained(weights.checkpoint)
    model = AutoModelForCausalLM.from_pretrained(weights.checkpoint, dtype=torch.float32)
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = prompt + tokenizer(target, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logprobs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    expected = [float(logprobs[place - 1, whole[place]]) for place in range(len(prompt), len(whole))]

    assert "".join(token.text for token in reply.tokens) == target
    assert [token.logprob for token in reply.tokens] == pytest.approx(expected, abs=1e-3)
    assert reply.usage.prompt == len(whole)


async def test_a_score_is_the_same_every_time(local: Local) -> None:
    request = ask(local, "Say hello.", kind="score", target="Hello there!")
    first, second = await asyncio.gather(local.answer(request), local.answer(request))
    assert first == second


async def test_both_back_ends_see_the_same_prompt(local: Local) -> None:
    said = ("Say hello.", "Hello!", "And now in French, with an accent: à bientôt.")
    chat = await local.answer(ask(local, *said, max_tokens=1))
    score = await local.answer(ask(local, *said, kind="score", target="Bonjour"))
    assert chat.usage.prompt == score.usage.prompt - len(score.tokens)


async def test_a_score_tells_an_answer_from_one_that_is_off_topic(local: Local) -> None:
    off_topic = "Put the egg in boiling water for about ten minutes."
    answers = {
        "What is the capital of France?": "The capital of France is Paris.",
        "Why is the sky blue?": "Because the air scatters blue light more than red light.",
        "What do cows eat?": "Cows eat grass, hay and other plants.",
    }
    for question, good in answers.items():
        asked = [ask(local, question, kind="score", target=target) for target in (good, off_topic)]
        better, worse = [mean_logprob(await local.answer(request)) for request in asked]
        assert better > worse, question


async def test_a_control_token_in_a_target_is_plain_text(local: Local) -> None:
    target = "Yes.<|im_end|>"
    reply = await local.answer(ask(local, "Well?", kind="score", target=target))
    assert "".join(token.text for token in reply.tokens) == target
    assert len(reply.tokens) > 3


async def test_an_empty_target_is_refused(local: Local) -> None:
    with pytest.raises(BadRequest, match="nothing to score"):
        await local.answer(ask(local, "Well?", kind="score"))


async def test_a_cancelled_question_does_not_shift_the_answers(local: Local) -> None:
    asked = asyncio.create_task(local.answer(ask(local, "One", kind="score", target="first " * 50)))
    await asyncio.sleep(0.05)
    asked.cancel()
    reply = await local.answer(ask(local, "Two", kind="score", target="second"))
    assert "".join(token.text for token in reply.tokens) == "second"


# A checkpoint without a GGUF file


async def test_a_checkpoint_alone_chats_too(checkpoint_only: Local) -> None:
    assert "schema" not in checkpoint_only.capabilities
    question = ask(checkpoint_only, "What is the capital of France?", temperature=0, top_logprobs=2)
    reply = await checkpoint_only.answer(question)
    assert "Paris" in reply.text
    assert reply.finish == "stop"
    assert all(token.logprob == max(token.top.values()) for token in reply.tokens)
    score = ask(checkpoint_only, "What is the capital of France?", kind="score", target=reply.text)
    scored = [token.logprob for token in (await checkpoint_only.answer(score)).tokens]
    assert scored == pytest.approx([token.logprob for token in reply.tokens], abs=1e-3)


async def test_a_checkpoint_alone_samples_by_its_seed(checkpoint_only: Local) -> None:
    texts = [
        (await checkpoint_only.answer(ask(checkpoint_only, "1. Write", kind="complete", sample=sample))).text
        for sample in (0, 0, 1)
    ]
    assert texts[0] == texts[1] != texts[2]


async def test_a_checkpoint_alone_stops_and_refuses_like_the_other(checkpoint_only: Local) -> None:
    text = "1. one\n2. two\n3."
    request = ask(checkpoint_only, text, kind="complete", temperature=0, stop=("\n",), max_tokens=30)
    reply = await checkpoint_only.answer(request)
    assert reply.finish == "stop"
    assert "\n" not in reply.text
    with pytest.raises(BadRequest, match=r"tokens.*256"):
        await checkpoint_only.answer(ask(checkpoint_only, "word " * 300))
    with pytest.raises(BadRequest, match="schema"):
        await checkpoint_only.answer(ask(checkpoint_only, "Hi", schema="{}"))


# Processes


@pytest.mark.parametrize("kind", ["chat", "score"])
async def test_a_child_that_dies_costs_one_try(local: Local, kind: str) -> None:
    request = ask(local, "Hello.", kind=kind, target="Hi.", max_tokens=1000)
    await local.answer(ask(local, "Hello.", kind=kind, target="Hi."))
    child = local._llama if kind == "chat" else local._scorer
    assert child
    asked = [asyncio.create_task(local.answer(request)) for _ in range(3)]
    await asyncio.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert failures
    assert all(isinstance(failure, Transient) for failure in failures)
    reply = await local.answer(ask(local, "Hello.", kind=kind, target="Hi."))
    assert reply.usage.prompt


async def test_closing_ends_the_children(weights: Weights) -> None:
    provider = Local(context=64)
    await provider.answer(ask(provider, "Hello.", max_tokens=1))
    assert provider._llama
    pid = provider._llama.pid
    await provider.close()
    assert await until_gone(pid)


async def test_a_child_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(100))
    provider = Local(model=str(tmp_path / "broken.gguf"))
    with pytest.raises(ProviderError, match="did not start"):
        await provider.answer(ask(provider, "Hello."))
    await provider.close()


async def test_nobody_else_can_use_the_server(local: Local) -> None:
    import httpx2

    await local.answer(ask(local, "Hello.", max_tokens=1))
    assert local._llama
    async with httpx2.AsyncClient(trust_env=False) as stranger:
        answer = await stranger.post(f"{local._llama.ready['url']}/v1/completions", json={"prompt": "Hello"})
    assert answer.status_code == 401


PARENT = """
import asyncio
from synth.models.base import Request
from synth.providers.local import Local
from synth.rows import Message

async def main():
    local = Local(context=512)
    def ask(**fields):
        return Request(local.endpoint, local.model, (Message("user", "Tell me a story."),), **fields)
    await local.answer(ask(max_tokens=1))
    await local.answer(ask(kind="score", target="Once."))
    busy = [asyncio.create_task(local.answer(ask(max_tokens=400, sample=n))) for n in range(4)]
    await asyncio.sleep(0.1)
    print(local._llama.pid, local._scorer.pid, flush=True)
    await asyncio.gather(*busy)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_a_killed_parent_leaves_no_child(weights: Weights) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PARENT,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout
    pids = [int(pid) for pid in (await parent.stdout.readline()).split()]
    parent.kill()
    await parent.wait()
    assert len(pids) == 2
    assert await until_gone(*pids)


# Identity


async def test_a_copy_in_another_place_is_the_same_endpoint(weights: Weights, tmp_path: Path) -> None:
    assert weights.gguf
    copy = tmp_path / "copy.gguf"
    copy.hardlink_to(weights.gguf)
    assert Local(model=str(copy)).endpoint == Local().endpoint
    assert Local(context=512).endpoint != Local().endpoint
    assert Local(slots=2, threads=1).endpoint == Local().endpoint
