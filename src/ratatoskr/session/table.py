"""The sessions that a server keeps: found by id, and no more of them without a transport than it has room for.

A session with a transport costs a connection, which others count. One without is kept for a client that may never come
back, so those are bounded: in number, in number for each identity, and in bytes. What is too much ends with the session
that has waited longest, of that identity or of all. A client that loses one session after the other pushes out its own,
and nobody is kept from connecting.
"""

from __future__ import annotations

from ratatoskr.errors import LocalProtocolError
from ratatoskr.session.resumable import ResumableSession


class SessionTable:
    """Sessions by id.

    ``most``, ``most_bytes``: of all sessions without a transport together. ``per_identity``: of one client's.
    """

    def __init__(self, *, most: int = 10_000, per_identity: int = 16, most_bytes: int = 256 << 20) -> None:
        if min(most, per_identity, most_bytes) < 1:
            raise LocalProtocolError("SessionTable: most, per_identity and most_bytes must be at least 1")
        self._most = most
        self._per_identity = per_identity
        self._most_bytes = most_bytes
        self._sessions: dict[bytes, ResumableSession] = {}
        self._waiting: dict[bytes, ResumableSession] = {}
        self._of_identity: dict[tuple[str, str], dict[bytes, None]] = {}
        self._bytes: dict[bytes, int] = {}
        self._all_bytes = 0

    def __len__(self) -> int:
        """Sessions that are known."""
        return len(self._sessions)

    def enter(self, session: ResumableSession) -> None:
        """It is on a connection now: at ``Opened``."""
        self._arrive(session)
        self._sessions[session.session_id] = session

    def find(self, session_id: bytes) -> ResumableSession | None:
        """The session that a client asks for; None where it is not known, or has ended."""
        session = self._sessions.get(session_id)
        return None if session is None or session.ended else session

    def wait(self, session: ResumableSession) -> list[ResumableSession]:
        """It has lost its transport: at ``Closed``; and again where more is held for it since, such as an answer.

        Returns the sessions that were given up to make room; it may be among them. Poll those: they tell what becomes
        of their calls. No-op for a session that is not known.
        """
        id, identity = session.session_id, _identity(session)
        if id not in self._sessions:
            return []
        self._waiting[id] = session
        own = self._of_identity.setdefault(identity, {})
        own[id] = None
        self._all_bytes += session.bytes_held - self._bytes.get(id, 0)
        self._bytes[id] = session.bytes_held
        given_up: list[ResumableSession] = []
        while len(own) > self._per_identity:
            self._make_room(next(iter(own)), given_up)
        while len(self._waiting) > self._most or self._all_bytes > self._most_bytes:
            self._make_room(next(iter(self._waiting)), given_up)
        return given_up

    def leave(self, session: ResumableSession) -> None:
        """It has ended. No-op where it is not known."""
        self._arrive(session)
        self._sessions.pop(session.session_id, None)

    def waiting(self) -> list[ResumableSession]:
        """Sessions without a transport, the one that has waited longest first."""
        return list(self._waiting.values())

    def _arrive(self, session: ResumableSession) -> None:
        """It waits no longer."""
        id = session.session_id
        if self._waiting.pop(id, None) is None:
            return
        self._all_bytes -= self._bytes.pop(id)
        own = self._of_identity[_identity(session)]
        del own[id]
        if not own:
            del self._of_identity[_identity(session)]

    def _make_room(self, session_id: bytes, given_up: list[ResumableSession]) -> None:
        session = self._waiting[session_id]
        if session.transport is not None:  # its client was let in, and ``Opened`` is yet to come
            self._arrive(session)
            return
        self.leave(session)
        session.abandon()
        given_up.append(session)


def _identity(session: ResumableSession) -> tuple[str, str]:
    peer = session.peer
    assert peer is not None
    return peer.tenant, peer.subject
