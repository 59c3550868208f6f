"""Two sessions back to back, driven as a Connection drives them, and a peer that keeps no rule."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.events import (
    Event,
    ItemReceived,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
)
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Direction, KindRegistry, NonceSource
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from ratatoskr.session import Session
from ratatoskr.timers import Now
from tests.unit.messages.support import (
    CLIENT,
    EUR,
    FEED,
    KINDS,
    NOW_MS,
    SERVER,
    SESSION_ID,
    Forger,
    leaf_by_hand,
    verify_key,
)

E = TypeVar("E")

Outcome = ResponseReceived | StreamEnded | RequestFailed

SEARCH, PAY = MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
LAMP = v1.Search(query="lamp")
FOUND = v1.SearchResult(next_page_token=b"next")


def pay(end_to_end_id: str = "ORDER 1/2026") -> v1.AuthorizePayment:
    return v1.AuthorizePayment(
        end_to_end_id=end_to_end_id,
        debtor_account="DE89370400440532013000",
        creditor_account="FR7630006000011234567890189",
        amount=EUR,
    )


def paid(end_to_end_id: str = "ORDER 1/2026") -> v1.PaymentAuthorized:
    return v1.PaymentAuthorized(
        payment_id="p-1",
        end_to_end_id=end_to_end_id,
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=EUR,
        authorized_until_ms=NOW_MS,
    )


def note(words: object = "") -> v1.GoAway:
    """What FEED, VAULT and PLAIN ask and answer."""
    return v1.GoAway(reason=str(words))


def send(session: Session, id: RequestId, count: int, words: str = "") -> None:
    """So many items of a stream, numbered unless they say something else."""
    for at in range(count):
        session.respond(id, note(words or at), last=False)


def counting_nonces() -> NonceSource:
    count = 0

    def entropy(size: int) -> bytes:
        nonlocal count
        count += 1
        return b"".join((1000 * count + at).to_bytes(16, "big") for at in range(1, size // 16 + 1))

    return NonceSource(entropy)


class Side:
    """One session, and what it told the application."""

    def __init__(self, own: Direction, limits: Limits, kinds: KindRegistry = KINDS) -> None:
        self.own = own
        self.session = Session(own, kinds, limits, counting_nonces())
        self.events: list[Event] = []
        self.controls: list[v1.Control] = []
        """Controls that the session left to the connection."""
        self.flights: list[v1.Flight] = []
        """All that it sent."""
        self.ended: ProtocolFault | None = None

    def bind(self, limits: Limits) -> None:
        own, peer = (CLIENT, SERVER) if self.own is Direction.FROM_CLIENT else (SERVER, CLIENT)
        self.session.bind(SESSION_ID, own, verify_key(peer), limits)

    def request(self, kind: AnyKind = SEARCH, message: Any = LAMP, **options: Any) -> RequestId:
        return self.session.request(kind, message, **options)

    def take(self, cls: type[E]) -> E:
        """Remove and return the first event of that class."""
        for at, event in enumerate(self.events):
            if isinstance(event, cls):
                del self.events[at]
                return event
        raise AssertionError(f"no {cls.__name__} among {self.events}")

    def take_all(self, cls: type[E]) -> list[E]:
        found: list[E] = [event for event in self.events if isinstance(event, cls)]
        self.events = [event for event in self.events if not isinstance(event, cls)]
        return found

    def words(self) -> list[str]:
        """Remove the items that came, and return what they say."""
        return [each.message.reason for each in self.take_all(ItemReceived) if isinstance(each.message, v1.GoAway)]

    def outcomes(self, id: RequestId) -> list[Outcome]:
        return [each for each in self.events if isinstance(each, Outcome) and each.id is id]

    def failed(self, id: RequestId) -> RequestFailed:
        """The outcome, which is a failure."""
        (outcome,) = self.outcomes(id)
        assert isinstance(outcome, RequestFailed)
        return outcome

    @property
    def cancelled(self) -> list[int]:
        """The numbers of the requests that it cancelled."""
        controls = [each for flight in self.flights for each in flight.controls]
        return [each.cancel.request_number for each in controls if each.HasField("cancel")]

    def collect(self) -> None:
        """Give all events to the application."""
        while (event := self.session.take()) is not None:
            self.events.append(event)

    def output(self, now: Now, controls: tuple[v1.Control, ...] = ()) -> bytes | None:
        """Events, due timers, then the next flight, as a Connection's poll does it."""
        if self.session.fresh:
            self.session.start(now)
        self.collect()
        while (timer := self.session.timers.due(now.mono)) is not None:
            self.session.fire(timer, now)
            self.collect()
        flight = self.session.build(now, list(controls))
        if flight is None:
            self.session.schedule_ack(now)
        else:
            self.flights.append(v1.Flight.FromString(flight))
        return flight

    def input(self, flight: bytes, now: Now) -> None:
        self.controls.extend(self.session.receive(flight, now))
        self.collect()


class Both:
    """A client and a server, bound to each other, and their clock."""

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        server_limits: Limits | None = None,
        kinds: KindRegistry = KINDS,
        bind: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        server_limits = server_limits or self.limits
        self.client = Side(Direction.FROM_CLIENT, self.limits, kinds)
        self.server = Side(Direction.FROM_SERVER, server_limits, kinds)
        self.mono = 100.0
        self.wall = NOW_MS / 1000
        if bind:
            self.bind()

    def bind(self) -> None:
        for side in (self.client, self.server):
            side.bind(self.limits)

    @property
    def now(self) -> Now:
        return Now(self.mono, self.wall)

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += seconds

    def settle(self) -> None:
        """Let everything be said that is said now."""
        for _ in range(1000):
            moved = False
            for one, other in ((self.client, self.server), (self.server, self.client)):
                while (flight := one.output(self.now)) is not None:
                    moved = True
                    other.input(flight, self.now)
            if not moved:
                return
        raise AssertionError("the sessions do not come to rest")

    def run(self, seconds: float) -> None:
        """Let everything happen that happens within so many seconds."""
        end = self.mono + seconds
        while True:
            self.settle()
            ahead = min(side.session.timers.earliest for side in (self.client, self.server))
            if ahead > end:
                break
            self.advance(max(0.0, ahead - self.mono))
        self.advance(end - self.mono)

    def stream(self, kind: AnyKind = FEED, **options: Any) -> tuple[RequestId, RequestReceived]:
        """The client asks for a stream, and the server's application is told."""
        id = self.client.request(kind, note(), **options)
        self.settle()
        return id, self.server.take(RequestReceived)

    def serve(self, answer: Any = FOUND) -> RequestReceived:
        """The server takes its first request and answers it."""
        asked = self.server.take(RequestReceived)
        self.server.session.respond(asked.id, answer)
        return asked


class Hostile:
    """One honest session, and a peer that keeps no rule."""

    def __init__(self, own: Direction = Direction.FROM_SERVER, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.side = Side(own, self.limits)
        self.side.bind(self.limits)
        self.forger = Forger(own.other)
        self.mono = 100.0

    @property
    def now(self) -> Now:
        return Now(self.mono, NOW_MS / 1000 + self.mono - 100.0)

    def send(self, *envelopes: bytes, **changes: Any) -> None:
        self.side.input(self.forger.flight(*envelopes, **changes), self.now)

    def refused(self, *envelopes: bytes, **changes: Any) -> tuple[Fault, str]:
        """The fault and the rule by which the session refuses a flight."""
        before = len(self.side.events)
        with pytest.raises(ProtocolFault) as caught:
            self.send(*envelopes, **changes)
        self.side.collect()
        assert len(self.side.events) == before, "a flight that breaks a rule brings no event"
        return caught.value.fault, caught.value.rule

    def output(self) -> v1.Flight | None:
        return self.side.flights[-1] if self.side.output(self.now) is not None else None

    def leaf(self, number: int) -> bytes:
        """The leaf of a message that the honest session sent."""
        envelopes = [each for flight in self.side.flights for each in flight.envelopes]
        return leaf_by_hand(number, envelopes[number - 1], direction=self.side.own)
