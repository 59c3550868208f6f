"""Caller: the side of a peer that can be asked. Everything that asks is one: a connected peer, a handler's call."""

from __future__ import annotations

from typing import Any, TypeVar, Unpack

from google.protobuf.message import Message

from ratatoskr.messages import Kind, Receipt
from ratatoskr.service.link import CallOptions, PeerLink
from ratatoskr.service.pending import Exchange
from ratatoskr.service.stream import Stream

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Caller:
    """Asks the peer of one link. :class:`CallOptions` says what may be said of a call."""

    def __init__(self, link: PeerLink) -> None:
        self._link = link

    async def request(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Res:
        """Ask the peer, and wait for its answer.

        While too many requests wait to be sent, the call first waits for a place among them. What fails and is safe to
        repeat is repeated, within ``timeout``, as the connection's :class:`RetryPolicy` says. Whoever gives up waiting
        cancels the call: the peer is asked to end it, which what runs at most once ignores.

        Raises :class:`~ratatoskr.CallRefused` (surely not processed), :class:`~ratatoskr.OutcomeUnknown` (ask again
        with the same key), :class:`~ratatoskr.CallFailed` (that is the answer), or
        :class:`~ratatoskr.LocalProtocolError` for misuse.
        """
        exchange = await self.exchange(kind, message, **options)
        return exchange.message

    async def exchange(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Exchange[Res]:
        """As :meth:`request`; the answer comes with ``replayed``, ``evidence`` and ``receipt()``."""
        return await self._link.exchange(kind, message, **self.within(options))

    def stream(
        self, kind: Kind[Req, Res], message: Req, *, credit: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[Res]:
        """Ask the peer for a stream: ``async with peer.stream(kind, message) as items``, then ``async for``.

        ``credit``: items that may be on their way or wait here, default ``Limits.stream_credit``. ``timeout`` is for
        all of the stream. Raises as :meth:`request` does, in the block's head or where it is read.
        """
        return self._link.stream(kind, message, credit=credit, **self.within(options))

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        """The receipt of an answer that this peer gave. Sealed kinds have theirs at once; others once the seal comes.

        Raises :class:`~ratatoskr.ReceiptRefused` where the connection ends before that.
        """
        return await self._link.receipt(exchange)

    def within(self, options: CallOptions) -> CallOptions:
        """What is to be said of a call, where its asker has less time than that."""
        return options
