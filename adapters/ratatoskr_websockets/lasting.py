"""A client that connects again by itself: lines, one after the other, and one peer for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from ratatoskr import Closed, Fault, ResumableSession, new_session
from ratatoskr.service import Attempt, Calls, Reconnecting, Redial
from ratatoskr_websockets.dialing import Dialer
from ratatoskr_websockets.errors import ConnectFailed
from ratatoskr_websockets.line import Line, Milestone
from ratatoskr_websockets.peer import Peer
from ratatoskr_websockets.workshop import Workshop


class LastingPeer(Peer):
    """The server of a client that connects again by itself."""

    def __init__(self, line: Line, calls: Calls, client: LastingClient) -> None:
        super().__init__(line, calls)
        self._client = client

    @property
    def connected(self) -> bool:
        """Whether there is a line now. Calls wait for one while there is none."""
        return self._line.closed is None

    def move(self, line: Line) -> None:
        """There is another line."""
        self._line = line

    async def close(self, *, drain: bool = True, reason: str = "") -> Closed:
        """End it: the line, if there is one, and all trying for another one. Returns how. Idempotent.

        With ``drain``, open calls complete first, for up to ``Limits.drain_timeout``, where there is a line.
        """
        return await self._client.close(drain=drain, reason=reason)

    async def wait_closed(self) -> Closed:
        """Wait until there is no line, and no other is tried for. Returns how that came."""
        return await self._client.wait_closed()


class LastingClient:
    """Lines, one after the other, for the calls of one peer.

    A line that was lost is dialled again where it was, so that its session goes on; otherwise the servers take turns.
    """

    def __init__(self, dialers: Sequence[Dialer], workshop: Workshop, policy: Redial) -> None:
        self._dialers = deque(dialers)
        self._workshop = workshop
        self.calls: Calls = workshop.calls(
            renew=lambda: new_session(dialers[0].config), on_rest=self._on_rest, on_end=self._on_end
        )
        self._reconnecting = Reconnecting(self.calls, workshop.host, policy, self._dial)
        self._running: asyncio.Task[Attempt] | None = None
        self._lines: dict[Line, asyncio.Task[None]] = {}
        self._line: Line | None = None
        self._peer: LastingPeer | None = None
        self._failed: ConnectFailed | None = None
        self._opened = asyncio.Event()
        self._ended = asyncio.Event()

    async def open(self) -> Peer:
        """Connect, however often that takes. Raises ConnectFailed where no more is tried."""
        self.calls.wait()
        self._running = asyncio.create_task(self._reconnecting.run())
        opened = asyncio.create_task(self._opened.wait())
        try:
            await asyncio.wait([self._running, opened], return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._peer is None:
            self._running.result()
            assert self._failed is not None
            raise self._failed
        return self._peer

    async def close(self, *, drain: bool, reason: str = "") -> Closed:
        """Try no more, and end every line."""
        self.calls.give_up(Closed(Fault.ABANDONED, "close", "closed while there was no line"))
        await self._stop()
        for line in self._lines:
            line.close(drain=drain, reason=reason)
        return await self.wait_closed()

    async def wait_closed(self) -> Closed:
        """Wait for the end of it all."""
        await self._ended.wait()
        await asyncio.gather(*self._lines.values())
        closed = self.calls.closed
        assert closed is not None
        return closed

    async def end(self) -> None:
        """Cut what still lives."""
        await self.close(drain=False)

    async def _stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def _dial(self) -> Attempt:
        """One line, until another one is wanted."""
        dialer = self._dialers[0]
        try:
            line = await dialer.dial(self._workshop.host, self._on_milestone, self._session)
        except ConnectFailed as error:
            self._failed = error
            self._dialers.rotate(-1)
            return Attempt(error.fault, str(error))
        self._line = line
        line.carry(self.calls)
        self._lines[line] = driving = asyncio.create_task(line.run())
        driving.add_done_callback(lambda _: self._lines.pop(line))
        await self.calls.vacancy()
        if not line.going_away:
            await line.wait_closed()
        closed = line.closed
        if line.going_away or not line.opened:
            self._dialers.rotate(-1)
        if closed is None:
            return Attempt(Fault.GOING_AWAY, f"{dialer.url} takes no new requests", going_away=True)
        advice = closed.failure.retry_delay if closed.failure is not None else None
        self._failed = ConnectFailed.of(closed)
        return Attempt(closed.fault, f"{dialer.url}: {self._failed}", line.going_away, advice)

    def _session(self) -> ResumableSession | None:
        return self.calls.waiting

    def _on_milestone(self, milestone: Milestone) -> None:
        line = self._line
        if isinstance(milestone, Closed) or line is None:
            return
        if self._peer is None:
            self._peer = LastingPeer(line, self.calls, self)
        self._peer.move(line)
        self._opened.set()

    def _on_rest(self, session: ResumableSession) -> None:
        if session.queued:
            self._reconnecting.asked()

    def _on_end(self) -> None:
        self._ended.set()
