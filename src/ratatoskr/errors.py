"""The words for what can go wrong: status, disposition, faults, and the exceptions that carry them.

Three kinds of trouble never mix:

- *Misuse* by the driving program raises :class:`LocalProtocolError`, says what to do, and changes nothing.
- A *fault* of the peer or of the transport is never an exception to the driver. It is a row of :class:`Fault`,
  reported once, by the ``Closed`` event (or, for a fault of one call, by that call's outcome).
- A *failure* of a call is a value, :class:`Failure`. Handlers raise it as :class:`Fail`; callers catch one of the
  three classes of :class:`CallError`, chosen by disposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Status(IntEnum):
    """The code numbers of google.rpc."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Disposition(IntEnum):
    """Whether a failed request may have had an effect."""

    NOT_PROCESSED = 1
    """Surely no effect: the request may be sent again."""
    MAYBE = 2
    """Nobody knows: ask again with the same nonce."""
    FAILED = 3
    """Processed, and this is the answer."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field of a payload that broke one rule."""

    field: str
    rule: str
    description: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no answer. ``retry_delay`` is in seconds, None for no advice."""

    status: Status
    reason: str
    message: str
    disposition: Disposition = Disposition.FAILED
    retry_delay: float | None = None
    violations: tuple[FieldViolation, ...] = ()

    def __str__(self) -> str:
        details = "".join(f"; {v.field}: {v.description} [{v.rule}]" for v in self.violations)
        return f"{self.status.name}/{self.reason}: {self.message}{details}"


class FaultClass(Enum):
    """What a fault ends."""

    NONE = "nothing: a clean end"
    TRANSPORT = "the connection"
    SESSION = "the connection and its session"


class Fault(Enum):
    """Every way in which a connection or its session ends: (class, close code, may the client connect again by itself,
    meaning).
    """

    CLEAN = (FaultClass.NONE, 1000, False, "both sides said DISCONNECT")
    ABANDONED = (FaultClass.TRANSPORT, 1001, True, "this side closed without draining")
    REFUSED = (FaultClass.TRANSPORT, 4401, False, "the handshake was refused")
    REJECTED = (FaultClass.TRANSPORT, 4403, False, "the server's application rejected the connection request")
    RECORD_MALFORMED = (FaultClass.TRANSPORT, 4400, True, "a record that this state does not allow")
    RECORD_TOO_LONG = (FaultClass.TRANSPORT, 4413, True, "a record longer than this state allows")
    RECORD_FORGED = (FaultClass.TRANSPORT, 4402, True, "a record that does not authenticate")
    KEY_EXHAUSTED = (FaultClass.TRANSPORT, 4426, True, "a traffic key was used past its limit")
    TRANSPORT_LOST = (FaultClass.TRANSPORT, 4499, True, "the transport ended before DISCONNECT")
    HANDSHAKE_TIMEOUT = (FaultClass.TRANSPORT, 4408, True, "the handshake took too long")
    ACCEPT_TIMEOUT = (FaultClass.TRANSPORT, 4418, True, "the decision about the connection request took too long")
    RECORD_STALLED = (FaultClass.TRANSPORT, 4416, True, "a record began and did not end in time")
    WRITE_STALLED = (FaultClass.TRANSPORT, 4415, True, "output was not taken in time")
    PEER_SILENT = (FaultClass.TRANSPORT, 4417, True, "no byte came in time")
    DRAIN_TIMEOUT = (FaultClass.TRANSPORT, 4419, True, "open calls did not end in time after the close")
    FLIGHT_INVALID = (FaultClass.SESSION, 4440, False, "a flight that breaks the rules of numbers, counts or form")
    ENVELOPE_INVALID = (FaultClass.SESSION, 4441, False, "an envelope that breaks the rules of form")
    SEAL_MISSING = (FaultClass.SESSION, 4442, False, "a message that needs a seal came without one")
    SEAL_INVALID = (FaultClass.SESSION, 4443, False, "a seal that does not verify")
    SEAL_OVERDUE = (FaultClass.SESSION, 4444, False, "a span stayed unsealed too long")
    LIMIT_EXCEEDED = (FaultClass.SESSION, 4429, False, "the peer exceeded a negotiated limit")
    ACK_INVALID = (FaultClass.SESSION, 4445, False, "an acknowledgement of what was never sent, or less than before")
    ANSWER_INVALID = (FaultClass.SESSION, 4446, False, "an answer to no open request, or to other bytes")
    DISCONNECTED = (FaultClass.SESSION, 4447, False, "the peer ended the session with a fault")
    SESSION_REPLACED = (FaultClass.TRANSPORT, 4409, False, "another connection of the client goes on with the session")
    SESSION_DIVERGED = (FaultClass.SESSION, 4448, False, "the two ends do not agree about what was said")
    SESSION_EXPIRED = (FaultClass.SESSION, 4410, True, "no other transport came in time")
    SESSION_UNKNOWN = (FaultClass.SESSION, 4404, True, "the server does not know the session any more")
    SESSION_ABANDONED = (FaultClass.SESSION, 4411, True, "this side gave the session up")
    GOING_AWAY = (FaultClass.TRANSPORT, 4503, True, "the server is overloaded or going away")

    def __init__(self, cls: FaultClass, code: int, may_reconnect: bool, meaning: str) -> None:
        self.cls = cls
        self.code = code
        self.may_reconnect = may_reconnect
        self.meaning = meaning

    def __repr__(self) -> str:
        return f"Fault.{self.name}"


class RatatoskrError(Exception):
    """The root of everything that this package raises."""


class LocalProtocolError(RatatoskrError):
    """The program misused the library. The message says what to do; nothing changed."""


class WouldBlock(LocalProtocolError):
    """The queue of requests is full. Wait for the event ``Writable`` and try again; nothing changed."""


class ProtocolFault(RatatoskrError):
    """A rule of the protocol was broken by the other side.

    Raised by the parts that can be used alone (:class:`~ratatoskr.messages.MessageValidator`, handshakes, receipts).
    A ``Connection`` never lets it out: it becomes the ``Closed`` event.

    ``fault`` is the row of the table, ``rule`` the stable id of the rule, ``detail`` a sentence for the local log.
    """

    def __init__(self, fault: Fault, rule: str, detail: str) -> None:
        super().__init__(f"{fault.name} [{rule}]: {detail}")
        self.fault = fault
        self.rule = rule
        self.detail = detail


class Fail(RatatoskrError):
    """Raised by a handler: the call ends with this failure, as its answer."""

    def __init__(
        self,
        status: Status,
        reason: str,
        message: str = "",
        *,
        disposition: Disposition = Disposition.FAILED,
        retry_delay: float | None = None,
        violations: tuple[FieldViolation, ...] = (),
    ) -> None:
        self.failure: Failure = Failure(status, reason, message or reason, disposition, retry_delay, violations)
        super().__init__(str(self.failure))


class CallError(RatatoskrError):
    """A call has no answer. Catch one of the three subclasses; ``failure`` holds the details.

    ``replayed``: the peer repeats the stored outcome of an earlier request with the same nonce.
    """

    def __init__(self, failure: Failure, *, replayed: bool = False) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.replayed = replayed

    @staticmethod
    def of(failure: Failure, *, replayed: bool = False) -> CallError:
        """The exception class that the failure's disposition asks for."""
        return _BY_DISPOSITION[failure.disposition](failure, replayed=replayed)


class CallRefused(CallError):
    """Surely not processed. The same request may be made again."""


class OutcomeUnknown(CallError):
    """It may or may not have had an effect. Ask again with the same key: it executes at most once."""


class CallFailed(CallError):
    """It was processed, and this is the answer."""


_BY_DISPOSITION: dict[Disposition, type[CallError]] = {
    Disposition.NOT_PROCESSED: CallRefused,
    Disposition.MAYBE: OutcomeUnknown,
    Disposition.FAILED: CallFailed,
}
