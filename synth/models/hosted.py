"""What the providers share that reach a server over OpenAI's wire: the keys, and how they open and close."""

from abc import abstractmethod
from typing import get_args

from pydantic import Field, PrivateAttr

from synth.models.base import Capability, Provider, Reply, Request
from synth.models.openai_wire import OpenAIWire
from synth.models.wire import refuse_problems, refuse_unable

EVERYTHING: tuple[Capability, ...] = get_args(Capability)


class Hosted(Provider):
    """A model on a server. Nothing is scored there: the wire returns no probabilities of a given text."""

    max_concurrency: int = Field(32, ge=1)
    timeout_s: float = Field(120, gt=0, description="for one whole answer")
    supports: list[Capability] = Field(
        [capability for capability in EVERYTHING if capability != "score"],
        description="what the server can do; what is not listed is never sent",
    )
    _wire: OpenAIWire | None = PrivateAttr(None)

    @property
    def adaptive(self) -> bool:
        """True: how much it takes is found out."""
        return True

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What `supports` lists."""
        return frozenset(self.supports) - {"score"}

    @abstractmethod
    def connected(self) -> OpenAIWire:
        """The wire to the server, with its key."""

    async def open(self) -> None:
        """Connect.

        Raises:
            UserError: what `problems` says.
        """
        refuse_problems(self)
        self._wire = self.connected()

    async def close(self) -> None:
        """Disconnect."""
        if self._wire:
            await self._wire.close()
        self._wire = None

    async def answer(self, request: Request) -> Reply:
        """Answer over the wire. A request that asks for what is not supported is refused unsent."""
        assert self._wire, "open() comes first"
        refuse_unable(request, self.capabilities)
        return await self._wire.answer(request)
