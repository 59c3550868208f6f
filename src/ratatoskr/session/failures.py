"""The failures that a session itself decides on, and whether each may have had an effect."""

from __future__ import annotations

from ratatoskr.errors import Disposition, Failure, Fault, FaultClass, Status
from ratatoskr.session.outgoing import OutgoingCall

GOING_AWAY = Failure(
    Status.UNAVAILABLE, "GOING_AWAY", "the connection takes no new requests", Disposition.NOT_PROCESSED
)
TOO_LONG = Failure(
    Status.OUT_OF_RANGE, "REQUEST_TOO_LONG", "the request is longer than the peer reads", Disposition.NOT_PROCESSED
)
CANCELLED_HERE = Failure(
    Status.CANCELLED, "CANCELLED", "the request was cancelled before it was sent", Disposition.NOT_PROCESSED
)
CANCELLED_UNSEEN = Failure(
    Status.CANCELLED, "CANCELLED", "the request was cancelled before it was begun", Disposition.NOT_PROCESSED
)


def timed_out(call: OutgoingCall) -> Failure:
    """The time of a request of ours has run out: before it had a number it was surely not sent."""
    disposition = Disposition.MAYBE if call.number else Disposition.NOT_PROCESSED
    return Failure(Status.DEADLINE_EXCEEDED, "TIMEOUT", f"{call.kind.name}: no answer in {call.timeout} s", disposition)


def ended(fault: Fault, *, sent: bool) -> Failure:
    """The session ended before the request had an outcome."""
    disposition = Disposition.MAYBE if sent else Disposition.NOT_PROCESSED
    what = "session" if fault.cls is FaultClass.SESSION else "connection"
    return Failure(Status.UNAVAILABLE, fault.name, f"the {what} ended: {fault.meaning}", disposition)
