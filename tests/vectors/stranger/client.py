"""docs/spec/index.md, "A first client", and a little more: asks, reads answers and streams, goes on, ends clean.

Bytes in (:meth:`Client.feed`), bytes out (:attr:`Client.out`). It seals every flight, acknowledges at once, and takes
no requests. Times are what its caller says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from . import admission, certificates, noise, records, resume
from .chain import entry, leaf_of, link, seal_input, start
from .flights import Asked, Receiver
from .noise import require
from .protobuf import decode, encode

LIMITS = admission.LEAST | {
    "record_bytes": 1 << 18, "envelope_bytes": 240 * 1024, "requests_open": 256, "request_bytes_open": 8 << 20,
    "flight_messages": 256, "span_messages": 256, "controls": 16, "metadata_entries": 32, "metadata_bytes": 8192,
    "cancels_per_minute": 100,
}  # fmt: skip
SESSION_MS = 60_000


class Client:
    """One session of a client, over one transport at a time."""

    def __init__(
        self,
        own: dict[str, Any],
        root: bytes,
        server_name: str,
        *,
        suite: int,
        draw: Callable[[int], bytes],
        now_ms: int,
    ) -> None:
        self._own, self._root, self._name, self._suite = own, root, server_name, suite
        self._draw, self._now_ms = draw, now_ms
        self._sign = Ed25519PrivateKey.from_private_bytes(own["signing_seed"]).sign
        self.session_id = b""
        self._secret = b""
        self._attempt = 0
        self._peer: dict[str, Any] = {}
        self._said: list[bytes] = []
        self._chain: list[bytes] = []
        """Values of the own chain, by number, from 0 on. Who lives longer forgets what is acknowledged."""
        self._sent = 0
        self._reader: Receiver
        self.answers: dict[int, list[dict[str, Any]]] = {}
        """What came, by the number of the request."""
        self.connect()

    def connect(self) -> None:
        """Begin over a new transport."""
        self.out = b""
        self.state = "GREETED"
        self._stream = b""
        self._controls: list[dict[str, Any]] = []
        ephemerals = noise.Secrets(self._own["exchange_private"], self._draw(32), self._draw(64))
        self._noise = noise.Handshake(self._suite, noise.h1(self._suite, self._name.encode()), True, ephemerals)
        self._write(0x01, self._noise.h1 + self._noise.write(1))

    def _write(self, kind: int, body: bytes) -> None:
        self.out += bytes([kind]) + len(body).to_bytes(3, "big") + body

    def feed(self, data: bytes) -> None:
        """Bytes came. Raises Refused."""
        self._stream += data
        longest = {"GREETED": {0x02: 16384, 0x1F: 6}, "REQUESTED": {0x04: 16384, 0x1F: 6}}
        open_ = {0x10: LIMITS["record_bytes"], 0x11: LIMITS["record_bytes"]}
        while True:
            record = next(records.cut(self._stream, longest.get(self.state, open_)), None)
            if record is None:
                return
            kind, header, body = record
            self._stream = self._stream[4 + len(body) :]
            require(kind != records.ALERT, "alert")
            if self.state == "GREETED":
                self._introduce(body)
            elif self.state == "REQUESTED":
                self._begin(self._receives.open(kind, header, body))
            else:
                self._take(self._receives.open(kind, header, body))

    # Handshake

    def _introduce(self, m2: bytes) -> None:
        self._noise.read(2, m2)
        payload, h = self._noise.payloads[2]
        hello = admission.hello(payload[:-64])
        chain = [encode("IdentityCertificate", each) for each in hello["chain"]]
        policy = certificates.Policy([self._root])
        peer = policy.judge(chain, {certificates.SERVER}, self._now_ms, self._name)
        require(peer["exchange_key"] == self._noise.theirs["s"], "proof.exchange")
        signed = noise.transcript(b"ratatoskr-v1 server-auth", h, payload[:-64])
        require(certificates.verifies(peer["signing_key"], payload[-64:], signed), "proof.signature")
        body = self._noise.write(3, lambda h: self._request(h, peer))
        require(len(body) <= hello["request_bytes"], "admission.length")
        self._write(0x03, body)
        self._peer = peer
        client_key, server_key = self._noise.split()
        self._sends = records.Direction(self._suite, client_key)
        self._receives = records.Direction(self._suite, server_key)
        self.state = "REQUESTED"

    def _request(self, h: bytes, peer: dict[str, Any]) -> bytes:
        asked: dict[str, Any] = {
            "chain": [decode("IdentityCertificate", each) for each in self._own["chain"]],
            "suites": [self._suite],
            "versions": [1],
            "limits": LIMITS,
            "session_ms": SESSION_MS,
        }
        if self.session_id and peer == self._peer:
            self._attempt += 1
            proof = resume.client_proof(self._secret, h)
            places = {"received": self._received(), "sent": self._place(len(self._said), self._sent)}
            asked["resume"] = {"session_id": self.session_id, "attempt": self._attempt, "proof": proof} | places
        outer = {"type": 1, "operation": 1, "nonce": self._draw(16), "issued_at_ms": self._now_ms}
        b3 = encode("RatatoskrRequest", outer | {"payload": encode("ConnectionRequest", asked)})
        return b3 + self._sign(noise.transcript(b"ratatoskr-v1 device-auth", h, b3))

    def _received(self) -> dict[str, Any]:
        reader = self._reader
        return {"number": reader.number, "chain": reader.chain, "sealed": reader.sealed}

    def _place(self, number: int, sealed: int) -> dict[str, Any]:
        return {"number": number, "chain": self._chain[number], "sealed": min(sealed, number)}

    def _begin(self, plaintext: bytes) -> None:
        answer = admission.response(plaintext)
        require("error" not in answer, "admission.rejected")
        self.state = "OPEN"
        if "resumed" in answer:
            self._go_on(answer["resumed"])
            return
        admission.agree(LIMITS, answer["limits"])
        self.session_id, self._secret = self._noise.export(b"session-id"), self._noise.export(b"resume")
        self._chain = [start(self.session_id, 0)]
        self._said = []
        peer = self._peer
        self._reader = Receiver(
            self.session_id, 1, peer["signing_key"], peer["kid"], self._own["kid"], now_ms=self._now_ms
        )

    def _go_on(self, said: dict[str, Any]) -> None:
        session = {"secret": self._secret, "own": self._account()}
        said |= {name: admission.position(said[name]) for name in ("received", "sent")}
        broken = resume.confirm(session, said, self._noise.h)
        require(not broken, broken)
        number = said["received"]["number"]
        again = self._said[number:]
        self._said = self._said[:number]
        self._chain = self._chain[: number + 1]
        self._flight(again, hops=[{"index": at, "timeout_ms": 1000} for at in range(len(again))])

    def _account(self) -> dict[str, Any]:
        reader = self._reader
        return {
            "chain": {at: value for at, value in enumerate(self._chain) if at >= reader.acked},
            "received": reader.number,
            "received_chain": reader.chain,
            "span_messages": LIMITS["span_messages"],
        }

    # Calls

    def ask(self, place: tuple[int, int], payload: bytes, *, nonce: bytes = b"", credit: int = 0) -> int:
        """Send a request; returns its number."""
        request = {"type": place[0], "operation": place[1], "nonce": nonce or self._draw(16), "payload": payload}
        envelope = b"\1" + encode("RatatoskrRequest", request | {"issued_at_ms": self._now_ms})
        number = len(self._said) + 1
        leaf = leaf_of(entry(self.session_id, 0, number, envelope))
        self._reader.asked[number] = Asked(leaf, place, granted=credit or 16)
        self.answers[number] = []
        self._flight([envelope], hops=[{"timeout_ms": 10_000, "credit": credit}])
        return number

    def grant(self, number: int, items: int) -> None:
        """Let so many items come in all."""
        self._reader.asked[number].granted = items
        self._flight([], controls=[{"grant": {"request_number": number, "items": items}}])

    def close(self) -> None:
        """Say that there will be no more."""
        self.state = "DRAINING"
        self._flight([], controls=[{"go_away": {"reason": "done"}}])

    def _take(self, plaintext: bytes) -> None:
        reader = self._reader
        reader.sent = len(self._said)
        before = reader.number
        for message in reader.receive(plaintext):
            require(not message["request"], "this client takes no requests")
            self.answers[message["request_number"]].append(message)
        for control in decode("Flight", plaintext).get("controls", []):
            if "ping" in control:
                self._controls.append({"pong": control["ping"]})
        quiet = not reader.asked and reader.acked == len(self._said)
        if reader.disconnected and quiet and self.state == "DRAINING":
            self.state = "DONE"
            self._controls.append({"disconnect": {}})
        if self._controls or reader.number > before:
            self._flight([], controls=self._controls)
            self._controls = []

    def _flight(
        self,
        envelopes: list[bytes],
        *,
        hops: Sequence[dict[str, Any]] = (),
        controls: Sequence[dict[str, Any]] = (),
    ) -> None:
        first = len(self._said) + 1
        for envelope in envelopes:
            leaf = leaf_of(entry(self.session_id, 0, len(self._said) + 1, envelope))
            self._said.append(envelope)
            self._chain.append(link(self._chain[-1], leaf))
        number = self._sent = len(self._said)
        signed = seal_input(
            self.session_id, self._own["kid"], self._peer["kid"], 0, number, self._chain[number], self._now_ms
        )
        seal = {"signature_suite": 1, "signed_at_ms": self._now_ms, "signature": self._sign(signed)}
        flight = {
            "first_number": first, "envelopes": envelopes, "hops": hops, "ack": self._reader.number,
            "controls": controls, "seal": seal,
        }  # fmt: skip
        self.out += self._sends.protect(records.DATA, encode("Flight", flight))
