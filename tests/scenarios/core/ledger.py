"""The ledger: what two applications know of one request, and whether its outcome is true.

Both ends write into it: what was asked, what the other application saw and said, what came back. An outcome is judged
when it comes, against what both have done by then.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Fault, Status
from ratatoskr.events import (
    ItemReceived,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
)
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.timers import Now
from tests.scenarios.core.support import EUR_78, GLANCE, KINDS, NOTE

FEED = Kind(1000, 3, "FEED", v1.GoAway, v1.GoAway, stream=True)
"""A sealed stream."""
TICKER = Kind(1000, 4, "TICKER", v1.GoAway, v1.GoAway, sealed=False, stream=True)
"""A deferred one."""
VOUCHER = Kind(1000, 5, "VOUCHER", v1.GoAway, v1.GoAway, once=True)
"""What runs at most once and does not overtake, as payments do."""
ALL_KINDS = KINDS | [FEED, TICKER, VOUCHER]
SPOKEN: dict[str, AnyKind] = {kind.name: kind for kind in (NOTE, GLANCE, FEED, TICKER, VOUCHER, PAYMENT_AUTHORIZE)}

DECLINED = Failure(Status.FAILED_PRECONDITION, "DECLINED", "no")
LATER = Failure(Status.UNAVAILABLE, "LATER", "not now", Disposition.NOT_PROCESSED)
"""What an application may say of a request that it has seen, and knows that it did not run."""

LONG = 1000
"""More words than these may be too many for a peer."""

Outcome: TypeAlias = ResponseReceived | StreamEnded | RequestFailed


def question(kind: AnyKind, words: str) -> Message:
    """A request that says so."""
    if kind == PAYMENT_AUTHORIZE:
        return v1.AuthorizePayment(
            end_to_end_id=words, debtor_account="buyer-1", creditor_account="shop-7", amount=EUR_78
        )
    return v1.GoAway(reason=words)


def answer(kind: AnyKind, words: str) -> Message:
    """An answer, or an item, that says so."""
    if kind == PAYMENT_AUTHORIZE:
        return v1.PaymentAuthorized(
            payment_id="P-1",
            end_to_end_id=words,
            status=v1.PAYMENT_STATUS_AUTHORIZED,
            amount=EUR_78,
            authorized_until_ms=1,
        )
    return v1.GoAway(reason=words)


def words_of(message: Any) -> str:
    """What a question or an answer says."""
    return str(message.reason if isinstance(message, v1.GoAway) else message.end_to_end_id)


@dataclass(eq=False)
class Call:
    """One request. ``None`` is what has not happened."""

    asker: str
    id: RequestId
    kind: AnyKind
    words: str
    timeout: float
    expires_at: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    credit: int = 0
    """Items that it asked for at first; 0 where it is no stream."""
    attempt: int = 0
    started: float | None = None
    """When its asker polled next."""
    cancelled: bool = False
    items: list[str] = field(default_factory=list)
    """What the asker was given."""
    outcome: Outcome | None = None
    granted: int = field(init=False)

    # At the other end
    asked: RequestReceived | None = None
    said: list[str] = field(default_factory=list)
    """Items that were taken, with the one in the terminal answer."""
    ended: Failure | str | None = None
    """The terminal answer: why not, or its words; no words end a stream."""
    expired: bool = False
    unwanted: bool = False
    """The handler was told that nobody wants an answer."""

    def __post_init__(self) -> None:
        self.granted = self.credit

    @property
    def number(self) -> int:
        """Its number; 0 before it has one."""
        return int(self.id.number)  # type: ignore[attr-defined]

    @property
    def owed(self) -> bool:
        """Whether the handler has yet to end it: until then it holds a slot."""
        return self.asked is not None and self.ended is None

    @property
    def wanted(self) -> bool:
        """Whether the handler may still say something that its caller may hear."""
        return self.owed and not (self.expired or self.unwanted)

    @property
    def charged(self) -> int:
        """Items that took a credit: the one in the terminal answer needs none."""
        return len(self.items) - (bool(self.items) and self.items[-1] == self.ended)

    # What the other end is told

    def hear(self, event: RequestReceived, now: Now, came: Now) -> None:
        """The request reached an application, and the connection not before ``came``."""
        assert self.asked is None, f"{self}: asked twice"
        self.asked = event
        assert event.kind == self.kind
        assert event.message == question(self.kind, self.words)
        assert event.metadata == self.metadata
        assert event.attempt == self.attempt
        assert event.deadline <= now.mono + self.timeout + 0.001
        assert event.evidence.sealed or not self.kind.sealed
        if self.expires_at is not None and not self.kind.once:
            assert came.wall_ms < int(self.expires_at * 1000), "expired, and handled"
        assert not (isinstance(self.outcome, RequestFailed) and self.surely_not(self.outcome)), "it was surely not seen"

    # What the asker is told

    def take_item(self, event: ItemReceived) -> None:
        """An item came: the next one that was said, and no more than were granted."""
        assert self.kind.stream
        assert self.outcome is None, f"{self}: an item after the outcome"
        assert event.evidence.sealed or not self.kind.sealed
        self.items.append(words_of(event.message))
        assert self.items == self.said[: len(self.items)], "items in order, without gaps"
        assert self.charged <= self.granted, "more items than were granted"

    def take_outcome(self, event: Outcome, now: Now, closers: set[str]) -> None:
        """The outcome came. ``closers`` are the ends that said that they take no more requests."""
        assert self.outcome is None, f"{self}: {self.outcome} and then {event}"
        self.outcome = event
        match event:
            case ResponseReceived():
                assert not self.kind.stream
                assert words_of(event.message) == self.ended
                assert event.evidence.sealed or not self.kind.sealed
            case StreamEnded():
                assert self.kind.stream
                assert isinstance(self.ended, str)
                assert self.cancelled or self.items == self.said, "the end of a stream, and items are missing"
            case RequestFailed(received=None):
                self._judge_own(event.failure, now, closers)
            case RequestFailed():
                self._judge_failure(event.failure, now, closers)
        if isinstance(event, RequestFailed) and self.surely_not(event):
            assert self.asked is None, f"{self}: {event.failure}, and a handler saw it"

    def surely_not(self, event: RequestFailed) -> bool:
        """Whether the protocol says that nobody saw it; an application may say so of what it has seen."""
        return event.failure.disposition is Disposition.NOT_PROCESSED and event.failure != LATER

    def _judge_failure(self, failure: Failure, now: Now, closers: set[str]) -> None:
        """The other end said so: its application, or its session for a reason."""
        if isinstance(self.ended, Failure) and failure == self.ended:
            assert self.cancelled or self.expired or self.items == self.said, "a stream failed, and items are missing"
            return
        match failure.reason:
            case "CANCELLED":
                assert self.cancelled
                assert failure.disposition is Disposition.NOT_PROCESSED
            case "GOING_AWAY":
                assert closers
            case "REQUEST_EXPIRED":
                assert self.expires_at is not None
                assert int(self.expires_at * 1000) <= now.wall_ms
            case _:
                raise AssertionError(f"{self}: nobody said {failure}; its handler said {self.ended}")

    def _judge_own(self, failure: Failure, now: Now, closers: set[str]) -> None:
        """Its own end decided so."""
        unsent = failure.disposition is Disposition.NOT_PROCESSED
        assert unsent is (self.number == 0), f"{self} with number {self.number}: {failure}"
        match failure.reason:
            case "TIMEOUT":
                assert self.started is not None
                assert self.started + self.timeout <= now.mono, "too early"
            case "CANCELLED":
                assert self.cancelled
                assert unsent
            case "GOING_AWAY":
                assert closers
                assert unsent
            case "REQUEST_TOO_LONG":
                assert len(self.words) > LONG or self.metadata
                assert unsent
            case reason:
                assert reason in Fault.__members__, f"{self}: {failure}"

    def __str__(self) -> str:
        return f"{self.asker}'s {self.kind.name} {self.words[:12]!r}"
