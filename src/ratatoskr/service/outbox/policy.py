"""What becomes of a post: when its time is over, and what each answer means for it. Pure decisions.

=========================================================  ==========  ===================================
an attempt ends with                                       and is      the post
=========================================================  ==========  ===================================
an answer, or a failure that says *failed*                             has its outcome
what the retry table repeats, or its own time running out  not         waits; it is sent again
                                                           processed
the same                                                   maybe       is doubtful from now on; sent again
a *maybe* that the peer repeats: it is the stored outcome  maybe       has its outcome
everything else                                                        has its outcome
=========================================================  ==========  ===================================

The retry table is that of :mod:`ratatoskr.service.retry`, for kinds that run at most once.
"""

from __future__ import annotations

from dataclasses import dataclass

from ratatoskr.errors import CallError, Disposition, Failure, LocalProtocolError, Status
from ratatoskr.limits import MAX_REQUEST_TIMEOUT
from ratatoskr.messages import AnyKind, Rule
from ratatoskr.service.once import OUTCOME_UNKNOWN
from ratatoskr.service.outbox.states import Posting, PostingInput
from ratatoskr.service.outbox.store import Parcel
from ratatoskr.service.retry import may_repeat, verdict

EXPIRED = Rule.REQUEST_EXPIRED.failure("the request expired before it could be sent")
TOO_OLD = Failure(
    Status.FAILED_PRECONDITION,
    "STALE",
    "the request could not be sent for as long as outcomes are kept; post it again",
    Disposition.NOT_PROCESSED,
)
NEVER_KNOWN = Failure(
    Status.UNKNOWN,
    "OUTCOME_UNKNOWN",
    "the request was sent, and its outcome did not come for as long as outcomes are kept",
    Disposition.MAYBE,
)
CANCELLED = Failure(
    Status.CANCELLED, "CANCELLED", "the post was cancelled before it was sent", Disposition.NOT_PROCESSED
)
_RANGES: dict[str, tuple[float, float]] = {
    "entries": (1, 10_000_000),
    "bytes": (1, 1 << 40),
    "lanes": (1, 1000),
    "timeout": (0.1, MAX_REQUEST_TIMEOUT),
    "retention": (60.0, 1e9),
    "margin": (0.0, 1e9),
    "first_delay": (0.001, MAX_REQUEST_TIMEOUT),
    "longest_delay": (0.001, MAX_REQUEST_TIMEOUT),
    "check_every": (0.01, MAX_REQUEST_TIMEOUT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPolicy:
    """How much an outbox holds, and how it sends. Times in seconds."""

    entries: int = 10_000
    """Posts and outcomes that it holds at most."""
    bytes: int = 64 << 20
    """Bytes of them."""
    lanes: int = 8
    """Posts that are sent at the same time, each of another lane."""
    timeout: float = 30.0
    """What one attempt may take."""
    retention: float = 7 * 24 * 3600.0
    """For how long the server keeps outcomes, at most. Where it says that it keeps them for less, that counts."""
    margin: float = 900.0
    """So long before that is over the last attempt begins: clocks differ, and attempts take time. No more than half of
    what the server keeps them for."""
    first_delay: float = 0.5
    """The longest delay before the second attempt. It doubles with each."""
    longest_delay: float = 60.0
    """The longest delay that the peer has not asked for."""
    check_every: float = 5.0
    """How often it looks for what other processes did, and for what has expired."""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise LocalProtocolError(f"OutboxPolicy.{name} must be from {least:g} to {most:g}")
        if self.margin > self.retention / 2:
            raise LocalProtocolError("OutboxPolicy.margin must be at most half of OutboxPolicy.retention")

    def issued_until(self, now: float, said: float | None = None) -> float:
        """What was issued then or before is not sent any more at ``now``. Both in seconds since the epoch.

        ``said``: for how many seconds the server says that it keeps outcomes; None where it has said nothing.
        """
        kept = self.retention if said is None else min(said, self.retention)
        return now - kept + min(self.margin, kept / 2)

    def ending(self, parcel: Parcel, now: float, said: float | None = None) -> Failure | None:
        """What the post ends with at ``now`` because its time is over; None while it is not. ``said``: as above.

        A post that may have been executed outlives its expiry: the server tells its outcome also then.
        """
        too_old = parcel.issued_at <= self.issued_until(now, said)
        if parcel.state is Posting.DOUBTFUL:
            return NEVER_KNOWN if too_old else None
        if parcel.state is not Posting.WAITING:
            return None
        if parcel.expires_at is not None and parcel.expires_at <= now:
            return EXPIRED
        return TOO_OLD if too_old else None


def judge(kind: AnyKind, state: Posting, error: CallError) -> tuple[PostingInput, Failure]:
    """What an attempt that failed means for a post that was in that state: its input, and the failure to be told."""
    failure = error.failure
    if _comes_again(kind, error):
        unsure = failure.disposition is Disposition.MAYBE
        return PostingInput.UNSURE if unsure else PostingInput.REFUSED, failure
    if state is Posting.DOUBTFUL:
        failure = verdict(OUTCOME_UNKNOWN, failure)
    return PostingInput.OUTCOME, failure


def _comes_again(kind: AnyKind, error: CallError) -> bool:
    """Whether another attempt may end otherwise."""
    failure = error.failure
    if failure.disposition is Disposition.FAILED:
        return False
    if failure.disposition is Disposition.MAYBE and error.replayed:
        return False
    timed_out = failure.status is Status.DEADLINE_EXCEEDED and failure.reason == "TIMEOUT"
    return timed_out or may_repeat(kind, failure)
