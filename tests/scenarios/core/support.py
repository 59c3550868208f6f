"""Two ends that do business over a Pair: what each answers, what became of each call, and what can be proved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.config import Config
from ratatoskr.errors import Failure
from ratatoskr.events import Event, RequestFailed, RequestId, RequestReceived, ResponseReceived
from ratatoskr.identity import VerifyKey
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Kind, Receipt
from ratatoskr.messages.standard import MARKETPLACE_ORDER, MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, STANDARD_KINDS
from ratatoskr.testing import Authority, End, Pair

NOTE = Kind(1000, 1, "NOTE", v1.GoAway, v1.GoAway)
"""Sealed; its messages may be of any length."""
GLANCE = Kind(1000, 2, "GLANCE", v1.GoAway, v1.GoAway, sealed=False)
"""The same, deferred."""
KINDS = STANDARD_KINDS | [NOTE, GLANCE]

AUTHORITY = Authority("scenarios")
DEVICE = AUTHORITY.device()
SERVER = AUTHORITY.server("yggdrasil.test")

Handler = Callable[["Business", RequestReceived], Message | Failure | None]
EUR_78 = v1.Money(currency="EUR", units=78)


def client_config(**changes: Any) -> Config:
    return AUTHORITY.client_config(DEVICE, kinds=KINDS, **changes)


def server_config(**changes: Any) -> Config:
    return AUTHORITY.server_config(identity=SERVER, kinds=KINDS, **changes)


def make_pair(
    *, client: Limits | None = None, server: Limits | None = None, latency: float = 0.0, chunk: int | None = None
) -> Pair:
    """A pair that is not open yet."""
    return Pair(client=client_config(limits=client), server=server_config(limits=server), latency=latency, chunk=chunk)


class Business:
    """One end at work: answers by its handlers, and keeps the outcome of each of its own calls.

    A handler returns the answer, a Failure, or None where it answers later.
    """

    def __init__(self, end: End, handlers: dict[AnyKind, Handler] | None = None) -> None:
        self.end = end
        self.handlers = handlers or {}
        self.outcomes: dict[RequestId, ResponseReceived | RequestFailed] = {}
        self.asked: list[RequestReceived] = []
        self.others: list[Event] = []
        self._then: dict[RequestId, Callable[[ResponseReceived | RequestFailed], None]] = {}
        accept = end.on_event
        end.on_event = lambda event: self._take(event) or (accept is not None and accept(event))

    def ask(
        self,
        kind: AnyKind,
        message: Message,
        then: Callable[[ResponseReceived | RequestFailed], None] | None = None,
        **options: Any,
    ) -> RequestId:
        id = self.end.connection.request(kind, message, **options)
        if then is not None:
            self._then[id] = then
        return id

    def answer(self, id: RequestId) -> Any:
        """The answer to a call of ours."""
        outcome = self.outcomes[id]
        assert isinstance(outcome, ResponseReceived), outcome
        return outcome.message

    def failure(self, id: RequestId) -> Failure:
        """Why a call of ours has no answer."""
        outcome = self.outcomes[id]
        assert isinstance(outcome, RequestFailed), outcome
        return outcome.failure

    def respond(self, event: RequestReceived, answer: Message | Failure) -> None:
        if isinstance(answer, Failure):
            self.end.connection.fail(event.id, answer)
        else:
            self.end.connection.respond(event.id, answer)

    def _take(self, event: Event) -> bool:
        if isinstance(event, RequestReceived):
            self.asked.append(event)
            handler = self.handlers.get(event.kind)
            answer = None if handler is None else handler(self, event)
            if answer is not None:
                self.respond(event, answer)
            return True
        if isinstance(event, ResponseReceived | RequestFailed):
            assert event.id not in self.outcomes, "a call has one outcome"
            self.outcomes[event.id] = event
            if event.id in self._then:
                self._then.pop(event.id)(event)
            return True
        return False


def echo(_: Business, event: RequestReceived) -> Message:
    return event.message


ECHO: dict[AnyKind, Handler] = {NOTE: echo, GLANCE: echo}


def note(text: str = "") -> v1.GoAway:
    return v1.GoAway(reason=text)


def proved(receipt: Receipt | None, key: VerifyKey) -> Receipt:
    """The receipt, out of its bytes again, as anyone verifies it who has nothing but these and the key."""
    assert receipt is not None
    again = Receipt.from_bytes(receipt.to_bytes())
    again.verify(key)
    return again


# A platform that sells lamps


def search(_: Business, event: RequestReceived) -> Message:
    price = v1.Money(currency="EUR", units=39)
    return v1.SearchResult(offers=[v1.Offer(offer_id="o-1", provider_id="p-1", title="Lamp", price=price, stock=10)])


def order(_: Business, event: RequestReceived) -> Message:
    assert isinstance(event.message, v1.PlaceOrder)
    return v1.OrderPlaced(
        order_id=event.message.order_id,
        order_number="O-000001",
        status=v1.ORDER_STATUS_PLACED,
        creditor_account="shop-7",
        total=EUR_78,
        placed_at_ms=1,
    )


def authorize(_: Business, event: RequestReceived) -> Message:
    assert isinstance(event.message, v1.AuthorizePayment)
    return v1.PaymentAuthorized(
        payment_id="P-000001",
        end_to_end_id=event.message.end_to_end_id,
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=event.message.amount,
        authorized_until_ms=1,
    )


PLATFORM: dict[AnyKind, Handler] = {
    MARKETPLACE_SEARCH: search,
    MARKETPLACE_ORDER: order,
    PAYMENT_AUTHORIZE: authorize,
}


def purchase() -> v1.PlaceOrder:
    price = v1.Money(currency="EUR", units=39)
    return v1.PlaceOrder(
        order_id="order-1",
        provider_id="p-1",
        lines=[v1.OrderLine(offer_id="o-1", quantity=2, unit_price=price)],
    )


def payment() -> v1.AuthorizePayment:
    return v1.AuthorizePayment(
        end_to_end_id="order-1", debtor_account="buyer-1", creditor_account="shop-7", amount=EUR_78
    )
