"""A client that was written from the specification alone, and our server."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import (
    STANDARD_KINDS,
    SUITES,
    Closed,
    Config,
    Connection,
    ConnectionRequested,
    Disconnect,
    Event,
    Limits,
    Opened,
    RequestReceived,
    Transmit,
    Wait,
    v1,
)
from ratatoskr.identity import VerifyKey
from ratatoskr.messages import Receipt
from ratatoskr.testing import Clock
from tests.unit.vectors.files import identity, load
from tests.vectors.cast import SERVER, SERVER_NAME, TRUST, Stream
from tests.vectors.stranger import kinds
from tests.vectors.stranger.client import LIMITS, Client
from tests.vectors.stranger.protobuf import decode, encode

PAYMENT = {
    "end_to_end_id": "order-17",
    "debtor_account": "buyer-1",
    "creditor_account": "shop-7",
    "amount": {"currency": "EUR", "units": 129},
}


class Meeting:
    """The stranger's client, our server, and a line between them."""

    def __init__(self, number: int = 0x12) -> None:
        self.clock = Clock()
        self.number = number
        self.config = Config(
            identity=SERVER, trust=TRUST, entropy=Stream("a meeting"), suites=(SUITES[number],), session_timeout=60.0
        )
        self.server = Connection.server(self.config)
        self.events: list[Event] = []
        self.kept: Any = None
        self.ended = False
        self.client = Client(
            identity("device"),
            identity("root")["chain"][0],
            SERVER_NAME,
            suite=number,
            draw=Stream("the stranger's client"),
            now_ms=load("identities.json")["now_ms"],
        )
        self.run()

    def run(self, seconds: float = 0.0) -> None:
        """Let both say all that they have to say, for so long."""
        until = self.clock.now.mono + seconds
        while True:
            moved = self._turn()
            if moved:
                continue
            if self._waits > until:
                return
            self.clock.advance(self._waits - self.clock.now.mono)

    def _turn(self) -> bool:
        if self.client.out and not self.ended:
            self.server.receive(self.client.out)
        moved, self.client.out = bool(self.client.out), b""
        while not isinstance(output := self.server.poll(self.clock.now), Wait):
            moved = True
            match output:
                case Transmit(data):
                    self.client.feed(data)
                    self.server.sent()
                case Disconnect():
                    self.ended = True
                    self.server.receive_eof()
                case ConnectionRequested():
                    self.server.accept(session=self.kept if output.resume else None)
                case Opened():
                    self.kept = self.server.session
                    self.events.append(output)
                case _:
                    self.events.append(output)
        self._waits = output.until
        return moved

    def cut(self) -> None:
        """The line is lost; both connect again."""
        self.server.receive_eof("the line was cut")
        self.client.out = b""
        self.run()
        self.server, self.ended = Connection.server(self.config), False
        self.client.connect()
        self.run()

    def take(self, cls: type) -> Any:
        for at, event in enumerate(self.events):
            if isinstance(event, cls):
                return self.events.pop(at)
        raise AssertionError(f"no {cls.__name__} in {self.events}")


def nonce(kind: str, key: str) -> bytes:
    known = STANDARD_KINDS.by_name(kind)
    return kinds.nonce(known.type, known.operation, key.encode())


def authorized(meeting: Meeting) -> None:
    asked = meeting.take(RequestReceived)
    assert asked.message.amount.units == 129
    meeting.server.respond(
        asked.id,
        v1.PaymentAuthorized(
            payment_id="payment-1",
            end_to_end_id=asked.message.end_to_end_id,
            status=v1.PAYMENT_STATUS_AUTHORIZED,
            amount=asked.message.amount,
            authorized_until_ms=1,
        ),
    )


@pytest.mark.parametrize("number", SUITES)
def test_a_payment_is_made_proved_and_the_line_ends_clean(number: int) -> None:
    meeting = Meeting(number)
    opened = meeting.take(Opened)
    assert (opened.peer.subject, opened.session_id) == ("device-1", meeting.client.session_id)
    asked = meeting.client.ask(
        (11, 1), encode("AuthorizePayment", PAYMENT), nonce=nonce("PAYMENT_AUTHORIZE", "order-17")
    )
    meeting.run()
    received = meeting.events[-1]
    assert isinstance(received, RequestReceived)
    authorized(meeting)
    meeting.run()
    (answer,) = meeting.client.answers[asked]
    assert decode("PaymentAuthorized", answer["payload"])["payment_id"] == "payment-1"

    receipt = received.evidence.receipt()
    assert isinstance(receipt, Receipt)
    receipt.verify(VerifyKey(identity("device")["signing_public"]))

    meeting.run(20.0)  # a Ping, and its Pong
    meeting.client.close()
    meeting.run(1.0)
    assert meeting.client.state == "DONE"
    assert meeting.take(Closed).clean
    assert meeting.ended


def test_an_unknown_kind_and_a_wrong_nonce_are_told_under_their_rules() -> None:
    meeting = Meeting()
    unknown = meeting.client.ask((999, 1), b"")
    wrong = meeting.client.ask((11, 1), encode("AuthorizePayment", PAYMENT))
    meeting.run()
    for number, reason in ((unknown, "KIND_UNKNOWN"), (wrong, "NONCE_KEY")):
        (answer,) = meeting.client.answers[number]
        assert (answer["error"]["reason"], answer["error"]["disposition"]) == (reason, 1)


def test_a_stream_is_read_with_credit() -> None:
    meeting = Meeting()
    browsing = meeting.client.ask((10, 5), encode("Browse", {"query": "lamp"}), credit=1)
    meeting.run()
    stream = meeting.take(RequestReceived).id
    price = v1.Money(currency="EUR", units=1)

    def item(found: int) -> v1.OfferFound:
        offer = v1.Offer(offer_id=f"lamp-{found}", provider_id="shop-7", title="Lamp", price=price)
        return v1.OfferFound(offer=offer, found=found, total=2)

    meeting.server.respond(stream, item(1), last=False)
    meeting.run()
    meeting.client.grant(browsing, 2)
    meeting.run()
    meeting.server.respond(stream, item(2), last=False)
    meeting.server.respond(stream)
    meeting.run()
    answers = meeting.client.answers[browsing]
    assert [(each.get("index", 0), each.get("last", False)) for each in answers] == [(0, False), (1, False), (2, True)]


def test_a_session_goes_on_over_another_line() -> None:
    meeting = Meeting()
    meeting.take(Opened)
    payload = encode("AuthorizePayment", PAYMENT)
    asked = meeting.client.ask((11, 1), payload, nonce=nonce("PAYMENT_AUTHORIZE", "order-17"))
    meeting.run()
    meeting.server.receive_eof("lost")
    authorized(meeting)  # the answer finds no line
    lost = meeting.client.ask((10, 1), encode("Search", {"query": "seeds"}))  # nor does this
    meeting.cut()
    assert meeting.take(Opened).resumed
    meeting.run()
    (answer,) = meeting.client.answers[asked]
    assert answer["last"]
    meeting.server.respond(meeting.take(RequestReceived).id, v1.SearchResult())
    meeting.run()
    assert len(meeting.client.answers[lost]) == 1
    meeting.client.close()
    meeting.run(1.0)
    assert meeting.client.state == "DONE"


def test_limits_of_the_stranger_are_ours() -> None:
    assert {name: getattr(Limits(), name) for name in LIMITS} == LIMITS
