"""The peer: who is at the other end, calls to it, and the end of the connection."""

from __future__ import annotations

from ratatoskr.events import Closed
from ratatoskr.identity import VerifiedPeer
from ratatoskr.lines.line import Line
from ratatoskr.service import Caller, Calls


class Peer(Caller):
    """An open connection, seen from either end. Comes from ``connect``, and from the server that ``serve`` starts."""

    def __init__(self, line: Line, calls: Calls) -> None:
        super().__init__(calls)
        self._line = line
        self._calls = calls

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.peer.subject} at {self.address}, {self._line.connection.state.name}>"

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end, as its certificate proves."""
        return self._calls.peer

    @property
    def session_id(self) -> bytes:
        """32 bytes, the same at both ends."""
        return self._line.connection.session_id

    @property
    def address(self) -> str:
        """Where the other end is, for people."""
        return self._line.address

    @property
    def round_trip(self) -> float | None:
        """Seconds to the other end and back, when it was last measured; None before that."""
        return self._line.connection.round_trip

    @property
    def connected(self) -> bool:
        """Whether there is a line to the other end now."""
        return self._line.closed is None

    @property
    def takes_requests(self) -> bool:
        """Whether a call that is made now may still be sent. On a peer that takes none, every call fails at once."""
        return self._calls.takes_requests

    @property
    def going_away(self) -> bool:
        """Whether the other end has said that it takes no new requests. What is open completes."""
        return self._calls.going_away

    async def wait_going_away(self) -> None:
        """Wait until the other end takes no new requests, or the connection has ended: time to connect elsewhere."""
        await self._calls.departure()

    @property
    def closed(self) -> Closed | None:
        """How the connection ended; None while it has not."""
        return self._calls.closed

    def move(self, line: Line) -> None:
        """There is another line to the other end."""
        self._line = line

    def carried_by(self, line: Line) -> bool:
        """Whether that line is the one to the other end."""
        return self._line is line

    async def close(self, *, drain: bool = True, reason: str = "") -> Closed:
        """End the connection, and wait until it has ended. Returns how. Idempotent.

        With ``drain``, open calls complete first, those of either side, for up to ``Limits.drain_timeout``.
        """
        self._line.close(drain=drain, reason=reason)
        return await self.wait_closed()

    async def wait_closed(self) -> Closed:
        """Wait until the connection has ended, whoever ends it. Returns how."""
        return await self._line.wait_closed()
