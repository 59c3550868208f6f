"""Streams, where they are asked for: items in order, taken at the reader's pace."""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from google.protobuf.message import Message

from ratatoskr.errors import CallError, LocalProtocolError
from ratatoskr.events import ItemReceived
from ratatoskr.messages import Evidence
from ratatoskr.service.host import Signal

Res = TypeVar("Res", bound=Message)


class Source(Protocol):
    """Where the items of one stream come from."""

    async def make(self, waiter: Stream[Any]) -> None:
        """Ask for them. Raises CallError."""
        ...

    async def remake(self, waiter: Stream[Any], error: CallError, came: int) -> None:
        """Ask once more after a failure, which came behind so many items. Raises CallError where that is not to be."""
        ...

    def grant(self, items: int) -> None:
        """So many were taken: as many may come."""
        ...

    def succeeded(self) -> None:
        """The stream is complete."""
        ...

    def abandon(self) -> None:
        """Nobody wants more of them."""
        ...

    def signal(self) -> Signal:
        """Something to wait for."""
        ...


class Stream(Generic[Res]):
    """The answer to a request for a stream: an async context manager, and inside it an async iterator of messages.

    ::

        async with peer.stream(MARKETPLACE_BROWSE, Browse(query="lamp")) as found:
            async for each in found:
                ...

    Leaving the block early cancels the call. A slow reader slows the other end down: no more than ``credit`` items are
    on their way or wait here. Iterating raises CallError where the stream ends with a failure.
    """

    def __init__(self, source: Source, credit: int) -> None:
        self._source = source
        self._credit = credit
        self._items: deque[ItemReceived] = deque()
        self._came = 0
        self._taken = 0
        self._inside = False
        self._live = False
        self._error: CallError | None = None
        self._signal: Signal | None = None
        self._evidence: Evidence | None = None

    async def __aenter__(self) -> Self:
        await self._source.make(self)
        self._inside = self._live = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._inside = False
        self._items.clear()
        if self._live:
            self._live = False
            self._source.abandon()
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Res:
        while self._inside and not self._items:
            if self._live:
                if self._signal is None:
                    self._signal = self._source.signal()
                await self._signal.wait()
            elif self._error is None:
                raise StopAsyncIteration
            else:
                await self._again(self._error)
        if not self._inside:
            raise LocalProtocolError("a stream is read inside its block: async with peer.stream(…) as stream")
        event = self._items.popleft()
        self._evidence = event.evidence
        self._taken += 1
        if self._taken * 2 >= self._credit and self._live:
            self._source.grant(self._taken)
            self._taken = 0
        return cast("Res", event.message)

    async def _again(self, error: CallError) -> None:
        """Ask once more after a failure. It is told once, and not forgotten by a reader who gives up waiting here."""
        try:
            await self._source.remake(self, error, self._came)
        except CallError:
            self._error = None
            raise
        self._error, self._live = None, True

    @property
    def evidence(self) -> Evidence | None:
        """What the item that was read last becomes provable by; None before the first."""
        return self._evidence

    # From the connection

    def put(self, event: ItemReceived) -> None:
        """An item has come."""
        self._items.append(event)
        self._came += 1
        self._wake()

    def settle(self, error: CallError | None) -> None:
        """The outcome has come: the end, or a failure."""
        self._live = False
        self._error = error
        if error is None:
            self._source.succeeded()
        self._wake()

    def _wake(self) -> None:
        if self._signal is not None:
            self._signal.set()
            self._signal = None
