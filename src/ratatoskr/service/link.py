"""Links: what a handler, and whoever asks, needs of one connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypedDict, TypeVar, Unpack

from google.protobuf.message import Message

from ratatoskr.errors import Failure
from ratatoskr.events import RequestId
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import Kind, Receipt
from ratatoskr.service.pending import Exchange
from ratatoskr.service.stream import Stream

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class CallOptions(TypedDict, total=False):
    """What may be said of a call beside its message. Each may be left out, or None."""

    timeout: float | None
    """Seconds that the call may take, its retries included; default ``Limits.request_timeout``."""
    key: str | bytes | None
    """The business key of a kind that runs at most once and does not find it in its message."""
    expires_at: float | None
    """Seconds since the epoch, from when on the peer must not execute it."""
    metadata: dict[str, str] | None
    """Names and values for the handler."""
    issued_at: float | None
    """Seconds since the epoch at which an earlier process made this same request; default now."""


class CourierLink(Protocol):
    """The connections to a peer, one after the other, as far as a courier needs them."""

    on_open: Callable[[], None] | None
    """Called whenever a connection has been opened."""

    @property
    def connected(self) -> bool:
        """Whether there is an open connection on which requests are made."""
        ...

    @property
    def retention(self) -> float | None:
        """For how many seconds the peer keeps outcomes, as it said last; None where it has said nothing."""
        ...

    async def exchange(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Exchange[Res]:
        """Ask the peer and wait. Raises CallError."""
        ...


class PeerLink(Protocol):
    """One connection."""

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end."""
        ...

    def respond(self, id: RequestId, message: Message | None = None, *, replayed: bool = False) -> None:
        """``Connection.respond`` with the last answer; then the driver polls."""
        ...

    async def send(self, id: RequestId, item: Message) -> None:
        """``Connection.respond`` with an item of a stream; waits while there is no room for it."""
        ...

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """``Connection.fail``; then the driver polls."""
        ...

    async def exchange(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Exchange[Res]:
        """Ask the peer and wait. Raises CallError."""
        ...

    def stream(
        self, kind: Kind[Req, Res], message: Req, *, credit: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[Res]:
        """Ask the peer for a stream."""
        ...

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        """The receipt of an answer, once its seal has come. Raises ReceiptRefused."""
        ...
