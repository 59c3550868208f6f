"""What ``Connection.poll`` returns: outputs for the driver, events for the application.

One at a time, and the state of the connection always matches the event that was just returned. All of them are
small classes made for ``match``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Failure, Fault
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import AnyKind, Evidence, Received
from ratatoskr.timers import Timer


class RequestId:
    """An opaque handle of one request. Never a number of the wire, never used again, compared by identity."""

    __slots__ = ()


# Outputs: the driver acts.


@dataclass(slots=True, eq=False)
class Transmit:
    """Write ``data`` to the transport, then call ``sent()``. Until then no other Transmit comes."""

    data: bytes


@dataclass(slots=True, eq=False)
class Disconnect:
    """Close the transport, then call ``receive_eof()``. With ``abort``, do not wait for what is unwritten."""

    code: int
    reason: str
    abort: bool


@dataclass(slots=True, eq=False)
class Wait:
    """Nothing to do until bytes come, a method is called, or the monotonic clock shows ``until`` (seconds, or inf)."""

    until: float
    timer: Timer | None


# Events: the application acts, or takes note.


@dataclass(slots=True, eq=False)
class ConnectionRequested:
    """A client proved who it is and asks to be let in. Answer with ``accept()`` or ``reject()``; lookups may take
    time, up to ``Limits.accept_timeout``.

    ``resume``: the id of the session that it wants to go on with; empty for a new one. Where that session is kept here,
    ``accept(session=…)`` goes on with it.
    """

    peer: VerifiedPeer
    token: bytes
    resume: bytes = b""

    def __repr__(self) -> str:
        return f"ConnectionRequested(peer={self.peer!r}, token=<{len(self.token)} bytes>)"


@dataclass(slots=True, eq=False)
class Opened:
    """The handshake is done, both ends are known, calls may go either way.

    ``resumed``: a session goes on that had lost its transport, with all its calls. Otherwise this is a new session;
    what became of an old one's calls was told before, and ``SessionEnded`` with it.
    """

    peer: VerifiedPeer
    session_id: bytes
    resumed: bool = False


class RequestReceived:
    """The peer asks. Answer with ``respond(id, …)`` or ``fail(id, …)``, exactly once."""

    __slots__ = ("deadline", "id", "kind", "message", "received")

    def __init__(self, id: RequestId, kind: AnyKind, message: Message, received: Received, deadline: float) -> None:
        self.id: RequestId = id
        self.kind: AnyKind = kind
        self.message: Message = message
        """The payload: an instance of ``kind.request``."""
        self.received: Received = received
        self.deadline: float = deadline
        """When the caller stops waiting, in seconds of the monotonic clock."""

    def __repr__(self) -> str:
        return f"RequestReceived({self.kind})"

    @property
    def request(self) -> v1.RatatoskrRequest:
        """The request around the payload: nonce, issue time, expiry, metadata."""
        message = self.received.message
        assert isinstance(message, v1.RatatoskrRequest)
        return message

    @property
    def metadata(self) -> dict[str, str]:
        """The caller's metadata."""
        return {entry.name: entry.value for entry in self.request.metadata}

    @property
    def attempt(self) -> int:
        """How often the caller says that it has sent this nonce before."""
        return self.received.hop.attempt if self.received.hop is not None else 0

    @property
    def evidence(self) -> Evidence:
        """What the request becomes provable by."""
        return self.received.evidence


class ItemReceived:
    """The next item of a stream that we asked for. It is no outcome. ``grant(id, …)`` lets more of them come."""

    __slots__ = ("id", "message", "received")

    def __init__(self, id: RequestId, message: Message, received: Received) -> None:
        self.id: RequestId = id
        self.message: Message = message
        """The payload: an instance of the kind's ``response``."""
        self.received: Received = received

    def __repr__(self) -> str:
        return f"ItemReceived({self.received.kind})"

    @property
    def evidence(self) -> Evidence:
        """What the item becomes provable by."""
        return self.received.evidence


@dataclass(slots=True, eq=False)
class StreamEnded:
    """A stream that we asked for is complete; the only outcome of its request."""

    id: RequestId
    received: Received

    @property
    def evidence(self) -> Evidence:
        """What the end becomes provable by."""
        return self.received.evidence


class ResponseReceived:
    """The answer to a request of ours; its only outcome."""

    __slots__ = ("id", "message", "received")

    def __init__(self, id: RequestId, message: Message, received: Received) -> None:
        self.id: RequestId = id
        self.message: Message = message
        """The payload: an instance of the kind's ``response``."""
        self.received: Received = received

    def __repr__(self) -> str:
        return f"ResponseReceived({self.received.kind})"

    @property
    def replayed(self) -> bool:
        """Whether the peer repeats the stored outcome of an earlier request with the same nonce."""
        message = self.received.message
        return isinstance(message, v1.RatatoskrResponse) and message.replayed

    @property
    def evidence(self) -> Evidence:
        """What the answer becomes provable by."""
        return self.received.evidence


@dataclass(slots=True, eq=False)
class RequestFailed:
    """A request of ours has no answer; its only outcome. ``received`` is the peer's error, None if it failed here."""

    id: RequestId
    failure: Failure
    received: Received | None = None

    @property
    def replayed(self) -> bool:
        """Whether the peer repeats the stored outcome of an earlier request with the same nonce."""
        message = self.received.message if self.received else None
        return isinstance(message, v1.RatatoskrResponse) and message.replayed

    @property
    def evidence(self) -> Evidence | None:
        """What the peer's error becomes provable by."""
        return self.received.evidence if self.received else None


@dataclass(slots=True, eq=False)
class RequestExpired:
    """The time of a request that we were asked has run out, and its caller has given it up. Stop the handler, unless
    its work must happen once, and then end the call: it keeps its slot until ``respond`` or ``fail``.
    """

    id: RequestId


@dataclass(slots=True, eq=False)
class RequestCancelled:
    """Who asked no longer wants an answer. Stop the handler, unless its work must happen once, and then end the call:
    it keeps its slot until ``respond`` or ``fail``.
    """

    id: RequestId


@dataclass(slots=True, eq=False)
class SpanSealed:
    """The seal over ``messages`` that were delivered before it has come: their evidence gives receipts now."""

    messages: int


@dataclass(slots=True, eq=False)
class Writable:
    """There is room again after ``WouldBlock``: for items of the stream ``id``, or for requests where it is None."""

    id: RequestId | None = None


@dataclass(slots=True, eq=False)
class Stalled:
    """This process did not poll for so many seconds after it was due: it was stopped, asleep, or its loop was blocked.
    The peer gets time to be heard before it counts as silent.
    """

    seconds: float


@dataclass(slots=True, eq=False)
class GoingAway:
    """The peer takes no new requests and asks for none. What is open completes."""

    reason: str


@dataclass(slots=True, eq=False)
class SessionEnded:
    """A session that had lost its transport has ended. Every request of it has had its outcome before; requests that
    had not been sent go on where a new session follows.
    """

    session_id: bytes
    fault: Fault


@dataclass(slots=True, eq=False)
class Closed:
    """The last event of a connection, exactly once. Every request has had its outcome before, unless the session goes
    on: ``Connection.session``.

    ``fault`` is the row of the table of faults; ``rule`` and ``detail`` are for the local log and are never sent;
    ``reference`` is the number under which the server logged a refusal, 0 for none.
    """

    fault: Fault
    rule: str
    detail: str
    reference: int = 0
    failure: Failure | None = None
    """Why the server's application rejected the connection request; None for any other end."""

    @property
    def clean(self) -> bool:
        """Whether both sides said all that they had to say."""
        return self.fault is Fault.CLEAN

    @property
    def code(self) -> int:
        """The close code."""
        return self.fault.code

    @property
    def may_reconnect(self) -> bool:
        """Whether a client may connect again by itself."""
        return self.fault.may_reconnect


Event: TypeAlias = (
    ConnectionRequested
    | Opened
    | RequestReceived
    | ResponseReceived
    | ItemReceived
    | StreamEnded
    | RequestFailed
    | RequestExpired
    | RequestCancelled
    | SpanSealed
    | Writable
    | Stalled
    | GoingAway
    | SessionEnded
    | Closed
)
Output: TypeAlias = Transmit | Disconnect | Wait | Event
