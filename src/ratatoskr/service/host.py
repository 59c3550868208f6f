"""What an adapter supplies: a clock, entropy, threads, a log, and the way back to the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from ratatoskr.errors import Failure
from ratatoskr.events import RequestId
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import Kind
from ratatoskr.service.pending import Exchange
from ratatoskr.timers import Now

T = TypeVar("T")
Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Level(Enum):
    """How much a note matters."""

    INFO = "a peer was refused; nothing to do here"
    WARNING = "worth a look"
    ERROR = "a fault in a handler or a store"


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log. It holds no payload, no key and no token.

    ``event`` is a stable word for programs, ``text`` a sentence for people. ``reference`` is what the peer was told in
    place of ``error``, which is an exception of a handler or a store, for its traceback.
    """

    level: Level
    event: str
    text: str
    reference: str = ""
    error: BaseException | None = None


class Host(Protocol):
    """The world, as far as the service needs it. One for a process."""

    def now(self) -> Now:
        """Both clocks."""
        ...

    def entropy(self, size: int, /) -> bytes:
        """Unpredictable bytes."""
        ...

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Run a blocking function elsewhere. Its exceptions come out."""
        ...

    def log(self, note: Note, /) -> None:
        """Take a note. Must not raise."""
        ...


class PeerLink(Protocol):
    """One connection, as far as a handler needs it."""

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end."""
        ...

    def respond(self, id: RequestId, message: Message, *, replayed: bool = False) -> None:
        """``Connection.respond``; then the driver polls."""
        ...

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """``Connection.fail``; then the driver polls."""
        ...

    async def exchange(
        self,
        kind: Kind[Req, Res],
        message: Req,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Exchange[Res]:
        """Ask the peer and wait. Raises CallError."""
        ...
