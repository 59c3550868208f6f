"""What a call costs in process, both ends together, beside what its unavoidable parts cost in the same run.

    python benchmarks/core.py [--seconds 1.0] [--rounds 5] [--json]

The *floor* does, straight down and with nothing around it, what no implementation of the protocol can leave out: it
builds, serializes, parses and compares the Protobuf messages, hashes the chain, protects and opens the records, makes
and verifies the signatures, in flights of the same size. The ratio of the two is what the state machine costs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from hashlib import sha256
from typing import TypeAlias, TypeVar

from google.protobuf.message import Message

from ratatoskr import (
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    AnyKind,
    Connection,
    Now,
    RatatoskrRequest,
    RatatoskrResponse,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    Transmit,
    VerifyKey,
    Wait,
    v1,
)
from ratatoskr.channel import XXHFS_AESGCM, RecordCipher, RecordType
from ratatoskr.messages.schema import CHECKS
from ratatoskr.messages.seals import SealContext
from ratatoskr.testing import Authority, Pair

IN_FLIGHT = (1, 16, 64)
Outer = TypeVar("Outer", RatatoskrRequest, RatatoskrResponse)


def authorize(number: int) -> v1.AuthorizePayment:
    """A typical payment."""
    return v1.AuthorizePayment(
        end_to_end_id=f"E2E-2024-{number:08}",
        debtor_account="acct:buyer-0001",
        creditor_account="acct:shop-0007",
        amount=v1.Money(currency="EUR", units=129, nanos=990_000_000),
        order_number="ORD-000123",
    )


def authorized() -> v1.PaymentAuthorized:
    """A typical answer to it."""
    return v1.PaymentAuthorized(
        payment_id="PAY-000123",
        end_to_end_id="E2E-2024-00000001",
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=v1.Money(currency="EUR", units=129, nanos=990_000_000),
        authorized_until_ms=1_800_000_000_000,
    )


def search(number: int) -> v1.Search:
    """A typical search."""
    return v1.Search(query=f"tomato seeds {number}", page_size=10)


def found() -> v1.SearchResult:
    """A short answer to it."""
    return v1.SearchResult(next_page_token=b"p2")


Answer: TypeAlias = Callable[[], Message]

CASES: dict[str, tuple[AnyKind, Callable[[int], Message], Answer]] = {
    "sealed": (PAYMENT_AUTHORIZE, authorize, authorized),
    "deferred": (MARKETPLACE_SEARCH, search, found),
}


class Ends:
    """Two open connections and the shortest driver that there can be."""

    def __init__(self) -> None:
        pair = Pair(Authority())
        pair.open()
        pair.run(1)
        self.client, self.server = pair.client.connection, pair.server.connection
        self.start = pair.clock.now
        self.began = time.perf_counter()

    def now(self) -> Now:
        """Real time, beginning where the handshake ended."""
        passed = time.perf_counter() - self.began
        return Now(self.start.mono + passed, self.start.wall + passed)

    def calls(self, kind: AnyKind, requests: list[Message], answer: Answer) -> None:
        """Make all these requests at once, and see all their answers."""
        client, server = self.client, self.server
        for request in requests:
            client.request(kind, request)
        open_calls = len(requests)
        while open_calls:
            self.pump(client, server, answer)
            self.pump(server, client, answer)
            open_calls -= self.pump(client, server, answer)

    def pump(self, one: Connection, other: Connection, answer: Answer) -> int:
        """Drive one end until it waits. Returns the answers that it got."""
        answers = 0
        now = self.now()
        while True:
            output = one.poll(now)
            if isinstance(output, Transmit):
                other.receive(output.data)
                one.sent()
            elif isinstance(output, RequestReceived):
                one.respond(output.id, answer())
            elif isinstance(output, ResponseReceived):
                answers += 1
            elif isinstance(output, Wait):
                return answers
            elif isinstance(output, RequestFailed):
                raise SystemExit(f"a call failed: {output.failure}")


class Floor:
    """The unavoidable parts, with the same keys of the same kinds, in the same order."""

    def __init__(self) -> None:
        authority = Authority()
        self.keys = {0: authority.device().keys, 1: authority.server("floor.test").keys}
        self.verify = {way: VerifyKey(keys.public.signing_key) for way, keys in self.keys.items()}
        key = os.urandom(32)
        self.ciphers = {way: (RecordCipher(XXHFS_AESGCM, key), RecordCipher(XXHFS_AESGCM, key)) for way in (0, 1)}
        self.session = os.urandom(32)
        self.chain = os.urandom(32)
        self.number = 0

    def calls(self, kind: AnyKind, requests: list[Message], answer: Answer) -> None:
        """The same calls."""
        number = v1.MessageType.ValueType(kind.type)
        sent = []
        for request in requests:
            nonce = self.nonce(request) if kind.once else bytes(16)
            payload = request.SerializeToString(deterministic=True)
            asked = RatatoskrRequest(
                type=number, operation=kind.operation, nonce=nonce, issued_at_ms=1, payload=payload
            )
            sent.append(b"\1" + asked.SerializeToString(deterministic=True))
        leaves = self.flight(0, kind, sent, RatatoskrRequest, kind.request)
        sent = []
        for leaf in leaves:
            said = RatatoskrResponse(
                request_number=1, request_leaf=leaf, type=number, operation=kind.operation, last=True
            )
            said.payload = answer().SerializeToString(deterministic=True)
            sent.append(b"\2" + said.SerializeToString(deterministic=True))
        self.flight(1, kind, sent, RatatoskrResponse, kind.response)

    def flight(
        self, way: int, kind: AnyKind, envelopes: list[bytes], outer: type[Outer], inner: type[Message]
    ) -> list[bytes]:
        """One flight, from envelopes to payloads."""
        chain = self.chain
        for number, envelope in enumerate(envelopes):
            chain = self.link(chain, self.leaf(way, number, envelope))
        flight = v1.Flight(first_number=self.number + 1, envelopes=envelopes, ack=self.number)
        keys = self.keys[way]
        context = SealContext(self.session, keys.kid, keys.kid, way)
        if kind.sealed:
            flight.seal.signature_suite = 1
            flight.seal.signed_at_ms = 1
            flight.seal.signature = keys.sign(context.signed_bytes(1, chain, 1))
        protect, opening = self.ciphers[way]
        record = protect.protect(RecordType.DATA, flight.SerializeToString())
        flight = v1.Flight.FromString(opening.open(RecordType.DATA, record[:4], record[4:]))
        received = self.chain
        leaves = []
        check = CHECKS[inner]
        for number, envelope in enumerate(flight.envelopes):
            body = envelope[1:]
            message = outer.FromString(body)
            if kind.sealed:
                self.compare(message, body)
            leaf = self.leaf(way, number, envelope)
            leaves.append(leaf)
            received = self.link(received, leaf)
            payload = inner.FromString(message.payload)
            if kind.sealed:
                self.compare(payload, message.payload)
            check(payload)
            if kind.once and outer is RatatoskrRequest:
                assert isinstance(message, RatatoskrRequest)
                assert message.nonce == self.nonce(payload)
        if kind.sealed:
            signed = context.signed_bytes(1, received, 1)
            assert self.verify[way].verify(flight.seal.signature, signed)
        return leaves

    def nonce(self, request: Message) -> bytes:
        """The nonce that follows from the business key."""
        assert isinstance(request, v1.AuthorizePayment)
        return sha256(b"ratatoskr-v1 nonce\0........" + request.end_to_end_id.encode()).digest()[:16]

    def leaf(self, way: int, number: int, envelope: bytes) -> bytes:
        """A leaf."""
        return sha256(b"\0" + self.session + bytes((way,)) + number.to_bytes(8, "big") + envelope).digest()

    def link(self, chain: bytes, leaf: bytes) -> bytes:
        """The chain's next value."""
        return sha256(b"\2" + chain + leaf).digest()

    def compare(self, message: Message, encoded: bytes) -> None:
        """The canonical form."""
        message.DiscardUnknownFields()
        assert message.SerializeToString(deterministic=True) == encoded


def measure(subject: Ends | Floor, case: str, in_flight: int, seconds: float) -> float:
    """Microseconds per call."""
    kind, request, answer = CASES[case]
    done = 0
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        subject.calls(kind, [request(done + i) for i in range(in_flight)], answer)
        done += in_flight
    return passed / done * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one measurement (default 0.5)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, alternating (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    options = parser.parse_args()
    if not options.json:
        print(f"µs per call, both ends in one process, medians of {options.rounds} rounds")
        print(f"{'':10}{'in flight':>10}{'call':>10}{'floor':>10}{'ratio':>8}   spread of the ratio")
    for case in CASES:
        for in_flight in IN_FLIGHT:
            calls, floors = [], []
            ends, floor = Ends(), Floor()
            for _ in range(options.rounds):
                floors.append(measure(floor, case, in_flight, options.seconds))
                calls.append(measure(ends, case, in_flight, options.seconds))
            ratios = sorted(call / least for call, least in zip(calls, floors, strict=True))
            row = {
                "case": case,
                "in_flight": in_flight,
                "call_us": round(statistics.median(calls), 1),
                "floor_us": round(statistics.median(floors), 1),
                "ratio": round(statistics.median(ratios), 2),
                "ratio_low": round(ratios[0], 2),
                "ratio_high": round(ratios[-1], 2),
            }
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                print(
                    f"{case:10}{in_flight:>10}{row['call_us']:>10}{row['floor_us']:>10}{row['ratio']:>8}"
                    f"   {row['ratio_low']} to {row['ratio_high']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
