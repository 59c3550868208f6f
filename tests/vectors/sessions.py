"""session-0001.json and session-0012.json: a whole conversation over two transports, every record of both ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ratatoskr import (
    MARKETPLACE_BROWSE,
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    Closed,
    Config,
    GoingAway,
    ItemReceived,
    RequestId,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    v1,
)
from ratatoskr.testing import Pair
from tests.vectors.cast import DEVICE, NOW_MS, SERVER, SERVER_NAME, TRUST, Stream
from tests.vectors.kem import KEM, suite
from tests.vectors.scene import OFFER
from tests.vectors.stranger import noise, records

SUITES = (0x0001, 0x0012)


class Draws:
    """Entropy that remembers what it gave out."""

    def __init__(self, label: str) -> None:
        self._stream = Stream(label)
        self.drawn: list[bytes] = []

    def __call__(self, length: int) -> bytes:
        self.drawn.append(self._stream(length))
        return self.drawn[-1]

    def last(self, length: int) -> bytes:
        """The last of that length; nothing where there is none."""
        return next((each for each in reversed(self.drawn) if len(each) == length), b"")


@dataclass
class Transport:
    """What went over one transport, and what its ends drew for it."""

    written: list[dict[str, Any]] = field(default_factory=list)
    client_ephemeral: bytes = b""
    server_ephemeral: bytes = b""
    kem_seed: bytes = b""


class Conversation:
    """A device and a server, and what they write."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.draws = {name: Draws(f"session {number} {name}") for name in ("client", "server")}
        shared: dict[str, Any] = {"trust": TRUST, "suites": (suite(number),), "session_timeout": 120.0}
        self.pair = Pair(
            client=Config(identity=DEVICE, entropy=self.draws["client"], token=b"a token", **shared),
            server=Config(identity=SERVER, entropy=self.draws["server"], **shared),
            server_name=SERVER_NAME,
            latency=0.02,
        )
        self.transports: list[Transport] = []
        self._note = ""

    def note(self, text: str) -> None:
        """What happens now; it stands beside the next record."""
        self._note = text

    def _tap(self, transport: Transport, name: str, data: bytes) -> bytes:
        end = self.pair.client if name == "client" else self.pair.server
        entry = {"from": name, "at_ms": round(self.pair.clock.now.mono * 1000), "note": self._note, "data": data}
        transport.written.append(entry | {"lost": end.link.stalled})
        self._note = ""
        return data

    def open(self) -> None:
        """Over a new transport."""
        transport = Transport()
        self.transports.append(transport)
        for end in (self.pair.client, self.pair.server):
            end.link.tamper = partial(self._tap, transport, end.name)
        self.pair.open()
        transport.client_ephemeral = self.draws["client"].last(32)
        transport.server_ephemeral = self.draws["server"].last(32)
        transport.kem_seed = self.draws["client"].last(64)

    # What the two applications do

    def pay(self, key: str) -> RequestId:
        return self.pair.client.connection.request(
            PAYMENT_AUTHORIZE,
            v1.AuthorizePayment(
                end_to_end_id=key,
                debtor_account="buyer-1",
                creditor_account="shop-7",
                amount=v1.Money(currency="EUR", units=129),
            ),
        )

    def authorize(self) -> None:
        asked = self.pair.server.take(RequestReceived)
        assert isinstance(asked.message, v1.AuthorizePayment)
        self.pair.server.connection.respond(
            asked.id,
            v1.PaymentAuthorized(
                payment_id=f"payment-for-{asked.message.end_to_end_id}",
                end_to_end_id=asked.message.end_to_end_id,
                status=v1.PAYMENT_STATUS_AUTHORIZED,
                amount=asked.message.amount,
                authorized_until_ms=NOW_MS + 3_600_000,
            ),
        )

    def item(self, id: RequestId, found: int) -> None:
        offer = v1.Offer(offer_id=f"lamp-{found}")
        offer.MergeFrom(v1.Offer.FromString(OFFER.SerializeToString()))
        offer.offer_id = f"lamp-{found}"
        self.pair.server.connection.respond(id, v1.OfferFound(offer=offer, found=found, total=4), last=False)


def story(talk: Conversation) -> None:
    """Everything that the vector is to show."""
    pair = talk.pair
    client, server = pair.client, pair.server

    talk.note("The device connects.")
    talk.open()

    talk.note("The device pays: a sealed request.")
    talk.pay("order-17")
    pair.run(0.1)
    talk.note("The server answers, sealed.")
    talk.authorize()
    pair.run(0.1)
    client.take(ResponseReceived)
    talk.note("The server asks the device; a search is deferred, its seal comes later.")
    server.connection.request(MARKETPLACE_SEARCH, v1.Search(query="stock"))
    pair.run(0.1)
    talk.note("The device answers, deferred.")
    client.connection.respond(client.take(RequestReceived).id, v1.SearchResult())
    pair.run(0.5)
    server.take(ResponseReceived)
    talk.note("Nobody has said anything for 15 seconds: Pings.")
    pair.run(16.0)

    talk.note("The device browses, with a credit of two.")
    browsing = client.connection.request(MARKETPLACE_BROWSE, v1.Browse(query="lamp"), credit=2)
    pair.run(0.1)
    stream = server.take(RequestReceived).id
    talk.note("The server sends the first two of four.")
    talk.item(stream, 1)
    talk.item(stream, 2)
    pair.run(0.03)
    client.take(ItemReceived)
    client.take(ItemReceived)
    talk.note("The device has read both, and grants two more.")
    client.connection.grant(browsing, 2)
    pair.run(0.1)
    talk.note("The server sends the third.")
    talk.item(stream, 3)
    pair.run(0.03)
    client.take(ItemReceived)

    talk.note("The device pays again.")
    talk.pay("order-18")
    pair.run(0.04)
    talk.note("From here on nothing of the server's arrives. It answers all the same.")
    server.link.stalled = True
    talk.authorize()
    talk.item(stream, 4)
    pair.run(0.01)
    talk.note("The device searches; that does not arrive either. Then the line is cut.")
    client.link.stalled = True
    client.connection.request(MARKETPLACE_SEARCH, v1.Search(query="lamp"))
    pair.run(0.01)
    pair.cut()
    server.link.stalled = client.link.stalled = False
    pair.run(1.0)
    for end in (client, server):
        end.take(Closed)
    talk.note("The device connects again, and asks to go on.")
    pair.reconnect()
    talk.open()
    pair.run(0.5)
    client.take(ResponseReceived)
    client.take(ItemReceived)
    talk.note("The server answers the search that came again.")
    server.connection.respond(server.take(RequestReceived).id, v1.SearchResult())
    pair.run(0.5)
    client.take(ResponseReceived)
    talk.note("The server ends the stream.")
    server.connection.respond(stream)
    pair.run(0.5)
    client.take(StreamEnded)

    talk.note("The device has no more to say.")
    client.connection.close()
    pair.run(1.0)
    server.take(GoingAway)
    assert client.take(Closed).clean
    assert server.take(Closed).clean


def opened(talk: Conversation) -> list[dict[str, Any]]:
    """Both transports, their records opened."""
    found = []
    for transport in talk.transports:
        keys, handshake = _keys(talk.number, transport)
        directions = {
            name: records.Direction(talk.number, key) for name, key in zip(("client", "server"), keys, strict=True)
        }
        entries = []
        for written in transport.written:
            for kind, header, body in records.cut(written["data"], dict.fromkeys(range(256), 1 << 24)):
                entry = {
                    "from": written["from"],
                    "at_ms": written["at_ms"],
                    "type": kind,
                    "record": (header + body).hex(),
                }
                if kind >= 0x04:
                    direction = directions[written["from"]]
                    entry |= {"counter": direction.counter, "plaintext": direction.open(kind, header, body).hex()}
                entry |= {"lost": True} if written["lost"] else {}
                entries.append(entry | ({"note": written["note"]} if written["note"] else {}))
        found.append(handshake | {"records": entries})
    return found


def _keys(number: int, transport: Transport) -> tuple[tuple[bytes, bytes], dict[str, Any]]:
    """The traffic keys, and the secrets that they follow from."""
    m2, m1 = (next(each["data"][4:] for each in transport.written if each["data"][0] == kind) for kind in (0x02, 0x01))
    client = noise.Handshake(
        number,
        noise.h1(number, SERVER_NAME.encode()),
        True,
        noise.Secrets(DEVICE.keys.to_bytes()[:32], transport.client_ephemeral, transport.kem_seed),
    )
    assert client.h1 + client.write(1) == m1
    client.read(2, m2)
    m3 = next(each["data"][4:] for each in transport.written if each["data"][0] == 0x03)
    server = noise.Handshake(
        number,
        client.h1,
        False,
        noise.Secrets(SERVER.keys.to_bytes()[:32], transport.server_ephemeral, b"", _encapsulated(number, m1)),
    )
    server.read(1, m1[len(client.h1) :])
    server.write(2, lambda _: client.payloads[2][0])
    server.read(3, m3)
    shown: dict[str, Any] = {
        "client_ephemeral": transport.client_ephemeral.hex(),
        "server_ephemeral": transport.server_ephemeral.hex(),
    }
    if transport.kem_seed:
        ciphertext, shared = _encapsulated(number, m1)
        shown |= {"kem_seed": transport.kem_seed.hex(), "kem_ciphertext": ciphertext.hex(), "kem_shared": shared.hex()}
    exported = {"session_id": server.export(b"session-id").hex(), "resume_secret": server.export(b"resume").hex()}
    keys = server.split()
    return keys, shown | {"h": server.h.hex()} | exported | {"client_key": keys[0].hex(), "server_key": keys[1].hex()}


def _encapsulated(number: int, m1: bytes) -> tuple[bytes, bytes]:
    if suite(number).kem is None:
        return b"", b""
    ciphertext, shared = KEM.encapsulate(m1[-KEM.public_bytes :], Stream("none"))
    return ciphertext, shared


def make(number: int) -> dict[str, Any]:
    """One of the files."""
    talk = Conversation(number)
    story(talk)
    return {
        "about": "A conversation over two transports: every record in the order in which it was written.",
        "suite": number,
        "name": noise.NAMES[number],
        "server_name": SERVER_NAME,
        "client": "device",
        "server": "server",
        "latency_ms": 20,
        "transports": opened(talk),
    }


FILES: dict[str, Callable[[], dict[str, Any]]] = {
    f"session-{number:04x}.json": partial(make, number) for number in SUITES
}
