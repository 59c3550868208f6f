"""A server that reads what a device says in a session: the scene of flights.json, and part of that of resume.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ratatoskr import STANDARD_KINDS, Direction, MessageSerializer, v1
from ratatoskr.identity import VerifyKey
from ratatoskr.limits import Limits
from ratatoskr.messages import NonceSource, business_nonce
from ratatoskr.session.session import Session
from ratatoskr.timers import Now
from tests.vectors.cast import DEVICE, NOW, NOW_MS, SERVER, Stream, secret

SESSION_ID = secret("a session")
TIME = Now(1000.0, NOW)
Message = v1.RatatoskrRequest | v1.RatatoskrResponse
Edit = Callable[[v1.Flight], object]


def payment(key: str = "order-17", *, nonce: bytes = b"", **changes: Any) -> v1.RatatoskrRequest:
    """A payment, as a request."""
    values: dict[str, Any] = {
        "end_to_end_id": key,
        "debtor_account": "buyer-1",
        "creditor_account": "shop-7",
        "amount": v1.Money(currency="EUR", units=129),
    }
    payload = v1.AuthorizePayment(**(values | changes)).SerializeToString(deterministic=True)
    return request(11, 1, payload, nonce or business_nonce(11, 1, key.encode()))


def search(query: str = "seeds", **changes: Any) -> v1.RatatoskrRequest:
    """A search, as a request."""
    payload = v1.Search(query=query).SerializeToString(deterministic=True)
    return request(10, 1, payload, secret(f"nonce of {query}", 16), **changes)


def request(type: int, operation: int, payload: bytes, nonce: bytes, **changes: Any) -> v1.RatatoskrRequest:
    return v1.RatatoskrRequest(
        type=type,  # type: ignore[arg-type]
        operation=operation,
        nonce=nonce,
        issued_at_ms=NOW_MS,
        payload=payload,
        **changes,
    )


def control(**which: Any) -> v1.Control:
    return v1.Control(**which)


PING = control(ping=v1.Ping(token=7))


@dataclass
class Scene:
    """A server that reads what a device says. ``limits``: what was negotiated where it is not the default."""

    limits: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        limits = Limits(**self.limits)
        entropy = Stream("a server")
        self.session = Session(Direction.FROM_SERVER, STANDARD_KINDS, limits, NonceSource(entropy))
        self.session.bind(SESSION_ID, SERVER, VerifyKey(DEVICE.keys.public.signing_key), limits)
        self.device = MessageSerializer(DEVICE, SESSION_ID, Direction.FROM_CLIENT, SERVER.kid)
        self.asked: list[tuple[v1.RatatoskrRequest, bytes, bool]] = []
        self.ack = 0
        self.before: list[str] = []

    def flight(
        self,
        *messages: Message | bytes,
        seal: bool = True,
        edit: Edit = lambda _: None,
        hops: tuple[v1.Hop, ...] = (),
        controls: tuple[v1.Control, ...] = (),
    ) -> bytes:
        """The device's next flight. It does not move the device: what is refused was never said."""
        device = self.device.at(self.device.position)
        first = device.number + 1
        envelopes = [each if isinstance(each, bytes) else envelope_of(each) for each in messages]
        for envelope in envelopes:
            device.append(envelope)
        flight = v1.Flight(first_number=first, envelopes=envelopes, hops=hops, ack=self.ack, controls=controls)
        if seal:
            flight.seal.CopyFrom(device.seal(NOW_MS))
        edit(flight)
        return flight.SerializeToString(deterministic=True)

    def say(self, *messages: Message, seal: bool = True, controls: tuple[v1.Control, ...] = ()) -> None:
        """The device says something that is taken."""
        data = self.flight(*messages, seal=seal, controls=controls)
        self.session.receive(data, TIME)
        for each in messages:
            self.device.append(envelope_of(each))
        if seal:
            self.device.seal(NOW_MS)
        while self.session.take() is not None:
            pass
        self.before.append(data.hex())

    def ask(self, *, stream: bool = False, credit: int = 16) -> None:
        """The server asks the device something."""
        kind, message = (BROWSE, v1.Browse()) if stream else (SEARCH, v1.Search(query="stock"))
        self.session.request(kind, message, credit=credit if stream else None)
        self.session.start(TIME)
        data = self.session.build(TIME, [])
        assert data is not None
        flight = v1.Flight.FromString(data)
        for envelope in flight.envelopes:
            number = flight.first_number
            self.asked.append((v1.RatatoskrRequest.FromString(envelope[1:]), leaf_at(number, envelope), stream))
        self.ack = len(self.asked)

    def answer(self, number: int = 1, **changes: Any) -> v1.RatatoskrResponse:
        """What the device answers."""
        asked, leaf, stream = self.asked[number - 1]
        payload = v1.OfferFound(offer=OFFER, found=1, total=9) if stream else v1.SearchResult()
        values: dict[str, Any] = {
            "request_number": number,
            "request_leaf": leaf,
            "type": asked.type,
            "operation": asked.operation,
            "last": True,
            "payload": payload.SerializeToString(deterministic=True),
        }
        values |= changes
        return v1.RatatoskrResponse(**{name: value for name, value in values.items() if value is not None})

    def state(self) -> dict[str, Any]:
        """What the server has asked, for who does not hold its session."""
        return {
            "limits": self.limits,
            "before": list(self.before),
            "sent": len(self.asked),
            "asked": [
                {
                    "number": number,
                    "leaf": leaf.hex(),
                    "type": int(asked.type),
                    "operation": asked.operation,
                    "granted": 16,
                }
                for number, (asked, leaf, _) in enumerate(self.asked, 1)
            ],
        }


SEARCH = STANDARD_KINDS.by_name("MARKETPLACE_SEARCH")
BROWSE = STANDARD_KINDS.by_name("MARKETPLACE_BROWSE")
OFFER = v1.Offer(
    offer_id="lamp-1", provider_id="shop-7", title="Lamp", price=v1.Money(currency="EUR", units=39), stock=10
)


def envelope_of(message: Message) -> bytes:
    form = b"\1" if isinstance(message, v1.RatatoskrRequest) else b"\2"
    return form + message.SerializeToString(deterministic=True)


def leaf_at(number: int, envelope: bytes) -> bytes:
    serializer = MessageSerializer(SERVER, SESSION_ID, Direction.FROM_SERVER, DEVICE.kid)
    for _ in range(number - 1):
        serializer.append(b"")
    return serializer.append(envelope)
