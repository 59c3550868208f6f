"""A session beside its transports: who may go on with it, and what becomes of it while it has none.

1. *Who.* The id is no credential. A client shows that it is the same party, with the same two signing keys, and that it
   holds the secret that the session's first handshake left at both ends; the server shows the same. Each proof covers
   the transcript of the new handshake, so none can be used again.
2. *Which of two.* The client counts its attempts, and the server takes only a greater one than ever before. It
   compares, stores, and detaches the older connection in one step, so a transport that comes late never wins.
3. *From where.* Each side says what it has received and what it has sent, as places in the hash chains. What
   contradicts this side's own account means that one of the two was rolled back or copied: nothing is sent again.
4. *Until when.* A session without a transport ends when its time is over, when it is given up, or when its peer no
   longer knows it. Every request gets its outcome then.
"""

from __future__ import annotations

from enum import Enum
from hmac import compare_digest, digest
from typing import Protocol

from ratatoskr.admission import Resume, Resumed
from ratatoskr.errors import Disposition, Failure, Fault, FaultClass, LocalProtocolError, ProtocolFault, Status
from ratatoskr.events import Event, SessionEnded, Wait
from ratatoskr.identity import VerifiedPeer
from ratatoskr.session.session import Session
from ratatoskr.session.surface import CallSurface
from ratatoskr.timers import Now, Timer

CLIENT_PROOF = b"ratatoskr-v1 resume-client"
SERVER_PROOF = b"ratatoskr-v1 resume-server"

STALE = Failure(
    Status.ABORTED,
    "RESUME_STALE",
    "a later attempt to go on with this session was accepted before",
    Disposition.NOT_PROCESSED,
)
_ENDING = frozenset({Fault.CLEAN, Fault.DRAIN_TIMEOUT})
"""Faults of a transport that end its session too: this side wanted the end."""


class Transport(Protocol):
    """The connection that a session is on."""

    def replaced(self) -> None:
        """Another one goes on with the session."""
        ...


class Verdict(Enum):
    """What a server makes of a client that wants to go on with a session."""

    GRANTED = "it goes on"
    UNKNOWN = "as if there were no such session: a new one"


class ResumableSession(CallSurface):
    """A session that outlives its connection. Comes from ``Connection.session``, or from ``new_session``.

    While a connection is on it, that is polled. After ``Closed`` poll this in its place, until a new connection is made
    with it: ``Connection.client(session=…)``, or ``accept(session=…)`` on a server. Ids of requests stay valid. What is
    asked and answered meanwhile, here or by the methods of the old connection, goes out over the next one.
    """

    def __init__(self, session: Session, own_kid: bytes, *, is_client: bool) -> None:
        self._session = session
        self._own_kid = own_kid
        self._is_client = is_client
        self._secret = b""
        self._peer: VerifiedPeer | None = None
        self._timeout = 0.0
        self._attempt = 0
        self._expires_at: float | None = None
        self._transport: Transport | None = None
        self._ended = False

    def __repr__(self) -> str:
        where = "ended" if self._ended else "without a transport" if self._transport is None else "on a connection"
        return f"<ResumableSession with {self._peer.subject if self._peer else 'nobody yet'}, {where}>"

    @property
    def peer(self) -> VerifiedPeer | None:
        """Who is at the other end; None before it has been on a connection."""
        return self._peer

    @property
    def began(self) -> bool:
        """Whether it has been on a connection."""
        return self._peer is not None

    @property
    def queued(self) -> int:
        """Requests that wait to be sent."""
        return self._session.queued

    @property
    def bytes_held(self) -> int:
        """Bytes of all that waits to be sent or acknowledged."""
        return self._session.bytes_held

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._ended

    @property
    def attempt(self) -> int:
        """How often a client has asked to go on with it; at the server, the greatest number that it has accepted."""
        return self._attempt

    # Without a transport

    def poll(self, now: Now) -> Wait | Event:
        """What becomes of calls meanwhile: outcomes that are decided here, calls of the peer's whose time is over, and
        at last ``SessionEnded``. ``Wait`` says until when nothing happens by itself.

        Raises LocalProtocolError while a connection is on it: poll that.
        """
        if self._transport is not None:
            raise LocalProtocolError("the session is on a connection: poll that one")
        session = self._session
        if session.fresh:
            session.start(now)
        while True:
            event = session.take()
            if event is not None:
                return event
            timer = session.timers.due(now.mono)
            if timer is None:
                return Wait(*session.timers.next())
            if timer is Timer.SESSION:
                self.finish(Fault.SESSION_EXPIRED)
            else:
                session.fire(timer, now)

    def abandon(self) -> None:
        """Give it up: :meth:`poll` tells what becomes of its calls. No-op where it has ended.

        Raises LocalProtocolError while a connection is on it: close that, without draining.
        """
        if self._transport is not None:
            raise LocalProtocolError("the session is on a connection: close that one with drain=False first")
        if not self._ended:
            self.finish(Fault.SESSION_ABANDONED)

    def finish(self, fault: Fault) -> None:
        """End it, and let it be told."""
        self.end(fault)
        self._session.tell(SessionEnded(self.session_id, fault))

    # What a connection does with it

    @property
    def session(self) -> Session:
        """What it is made of."""
        return self._session

    @property
    def transport(self) -> Transport | None:
        """The connection that it is on."""
        return self._transport

    def begin(self, transport: Transport, secret: bytes, peer: VerifiedPeer, timeout: float) -> None:
        """A connection has opened it. ``timeout``: seconds that it waits for another one; 0 where it does not."""
        self._transport, self._secret, self._peer, self._timeout = transport, secret, peer, timeout

    def hold(self, transport: Transport, own_kid: bytes) -> Session:
        """A client's connection tries to go on with it. Raises LocalProtocolError where it cannot."""
        if self._ended:
            raise LocalProtocolError("the session has ended: connect without it")
        if self._transport is not None:
            raise LocalProtocolError("the session is on another connection: one at a time")
        if not self._is_client:
            raise LocalProtocolError("the session is a server's: only the client that began it connects again")
        if own_kid != self._own_kid:
            raise LocalProtocolError("the session belongs to another identity: new keys mean a new session")
        self._transport = transport
        self._session.timers.stop(Timer.SESSION)
        return self._session

    def claim(self, peer: VerifiedPeer, h: bytes) -> Resume | None:
        """What a client asks for, by a handshake with that peer; None where it is not the one of the session."""
        if not (self.began and self._is_with(peer)):
            return None
        self._attempt += 1
        received, sent = self._session.positions()
        return Resume(self.session_id, self._attempt, received, sent, self._proof(CLIENT_PROOF, h))

    def confirm(self, answer: Resumed, h: bytes) -> None:
        """The server goes on with it. Raises ProtocolFault where its proof or its account is wrong."""
        if not compare_digest(answer.proof, self._proof(SERVER_PROOF, h)):
            raise ProtocolFault(Fault.REFUSED, "resume.proof", "the server does not prove that it held the session")
        divergence = self._session.divergence(answer.received, answer.sent)
        if divergence is not None:
            raise ProtocolFault(Fault.SESSION_DIVERGED, "resume.positions", f"the server says that {divergence}")
        self._go_on(answer)

    def judge(
        self, request: Resume, peer: VerifiedPeer, own_kid: bytes, h: bytes, transport: Transport
    ) -> Verdict | Failure:
        """A client asks a server to go on with it. Where that is granted it is done, and the older transport detached.

        A failure is a rejection that changes nothing.
        """
        if self._is_client or self._ended or not self.began:
            return Verdict.UNKNOWN
        honest = compare_digest(request.proof, self._proof(CLIENT_PROOF, h))
        known = request.session_id == self.session_id and self._is_with(peer) and own_kid == self._own_kid
        if not (honest and known):
            return Verdict.UNKNOWN
        if request.attempt <= self._attempt:
            return STALE
        divergence = self._session.divergence(request.received, request.sent)
        if divergence is not None:
            return _diverged(f"the client says that {divergence}")
        self._attempt = request.attempt
        if self._transport is not None:
            self._transport.replaced()
        self._transport = transport
        self._go_on(request)
        return Verdict.GRANTED

    def account(self, h: bytes) -> Resumed:
        """What a server tells the client whose wish it has granted."""
        received, sent = self._session.positions()
        return Resumed(received, sent, self._proof(SERVER_PROOF, h))

    def lost(self, fault: Fault, now: Now) -> None:
        """The transport has ended so: the session waits for another one, or ends with it. No-op where it has ended."""
        if self._ended:
            return
        if self.began and self._ends_with(fault):
            self.end(fault)
            return
        if self.began and self._expires_at is None:
            self._expires_at = now.mono + self._timeout
        self._session.detach()

    def _ends_with(self, fault: Fault) -> bool:
        over = fault.cls is FaultClass.SESSION or fault in _ENDING or not self._timeout
        return over or (self._is_client and self._session.said_disconnect)

    def release(self) -> None:
        """The connection has told its end, and leaves. The time that is left runs from when the first one was lost."""
        self._transport = None
        if self._expires_at is not None and not self._ended:
            self._session.timers.set(Timer.SESSION, self._expires_at)

    def end(self, fault: Fault) -> None:
        """It is over: every request without an outcome gets one."""
        self._ended = True
        self._session.end(fault)

    def _go_on(self, account: Resume | Resumed) -> None:
        self._expires_at = None
        self._session.timers.stop(Timer.SESSION)
        self._session.resume(account.received)

    def _is_with(self, peer: VerifiedPeer) -> bool:
        own = self._peer
        assert own is not None
        return (peer.tenant, peer.role, peer.subject, peer.kid) == (own.tenant, own.role, own.subject, own.kid)

    def _check_open(self) -> None:
        if self._ended:
            raise LocalProtocolError("the session has ended: connect again")

    def _proof(self, label: bytes, h: bytes) -> bytes:
        return digest(self._secret, label + b"\0" + h, "sha256")


def _diverged(how: str) -> Failure:
    return Failure(Status.DATA_LOSS, Fault.SESSION_DIVERGED.name, how, Disposition.MAYBE)
