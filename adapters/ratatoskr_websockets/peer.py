"""The peer: who is at the other end, calls to it, and the end of the connection."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import Message

from ratatoskr import Closed, Kind, Receipt, VerifiedPeer
from ratatoskr.service import Exchange
from ratatoskr_websockets.line import Line

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Peer:
    """An open connection, seen from either end. Comes from ``connect``, and from the server that ``serve`` starts."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def __repr__(self) -> str:
        return f"<Peer {self.peer.subject} at {self.address}, {self._line.connection.state.name}>"

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end, as its certificate proves."""
        return self._line.calls.peer

    @property
    def session_id(self) -> bytes:
        """32 bytes, the same at both ends."""
        return self._line.connection.session_id

    @property
    def address(self) -> str:
        """Where the other end is, for people: host and port."""
        return self._line.address

    @property
    def closed(self) -> Closed | None:
        """How the connection ended; None while it has not."""
        return self._line.calls.closed

    async def request(
        self,
        kind: Kind[Req, Res],
        message: Req,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Res:
        """Ask the peer, and wait for its answer.

        ``timeout``: seconds from when the request is queued, default ``Limits.request_timeout``; while the queue is
        full, the call first waits for a place in it. ``key``: the business key of a kind that runs at most once and
        does not find it in its message. ``expires_at``: seconds since the epoch, from when on the peer must not
        execute it. ``metadata``: names and values for the handler.

        Raises :class:`~ratatoskr.CallRefused` (surely not processed), :class:`~ratatoskr.OutcomeUnknown` (ask again
        with the same key), :class:`~ratatoskr.CallFailed` (that is the answer), or
        :class:`~ratatoskr.LocalProtocolError` for misuse. Cancelling it gives up the answer, not the request.
        """
        exchange = await self.exchange(
            kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata
        )
        return exchange.message

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
        """As :meth:`request`; the answer comes with ``replayed``, ``evidence`` and ``receipt()``."""
        return await self._line.calls.exchange(
            kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata
        )

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        """The receipt of an answer that this peer gave. Sealed kinds have theirs at once; others once the seal comes.

        Raises :class:`~ratatoskr.ReceiptRefused` where the connection ends before that.
        """
        return await self._line.calls.receipt(exchange)

    async def close(self, *, drain: bool = True, reason: str = "") -> Closed:
        """End the connection, and wait until it has ended. Returns how. Idempotent.

        With ``drain``, open calls complete first, those of either side, for up to ``Limits.drain_timeout``.
        """
        self._line.close(drain=drain, reason=reason)
        return await self.wait_closed()

    async def wait_closed(self) -> Closed:
        """Wait until the connection has ended, whoever ends it. Returns how."""
        return await self._line.wait_closed()
