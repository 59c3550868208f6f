"""docs/spec/flights.md, "Receiving": what a receiver checks of a flight, in its order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .certificates import verifies
from .chain import entry, leaf_of, link, seal_input, start
from .kinds import KINDS, Kind, keeps_rules, key_bytes, nonce
from .noise import Refused, require
from .protobuf import Malformed, NotCanonical, decode, encode, left, verdict

DAY_MS = 86_400_000
LIMITS = {
    "envelope_bytes": 240 * 1024, "requests_open": 256, "request_bytes_open": 8 << 20, "flight_messages": 256,
    "span_messages": 256, "controls": 16, "metadata_entries": 32, "metadata_bytes": 8192, "cancels_per_minute": 100,
    "control_burst": 20, "errors_per_minute": 100,
}  # fmt: skip


@dataclass
class Asked:
    """A request of this end's that is open."""

    leaf: bytes
    place: tuple[int, int]
    items: int = 0
    granted: int = 16


@dataclass
class Receiver:
    """One end, as far as it reads. Budgets are what is left of them; time stands still."""

    session_id: bytes
    direction: int
    signing_key: bytes
    signer: bytes
    recipient: bytes
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    now_ms: int = 0
    number: int = 0
    chain: bytes = b""
    sealed: int = 0
    sent: int = 0
    acked: int = 0
    disconnected: bool = False
    open_requests: dict[int, int] = field(default_factory=dict)
    """The peer's, with the bytes of their envelopes."""
    asked: dict[int, Asked] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chain = self.chain or start(self.session_id, self.direction)
        self.controls_left = self.limits["control_burst"]
        self.cancels_left = self.limits["cancels_per_minute"]
        self.errors_left = self.limits["errors_per_minute"]
        self.answers: dict[int, int] = {}
        """Numbers of this end's terminal answers, with the requests that they answer."""

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """The messages, each with ``failed``: the rule of the call that it breaks, or nothing. Raises Refused."""
        flight = self._flight(data)
        number, chain, sealed_kind, messages = self.number, self.chain, False, []
        for envelope in flight["envelopes"]:
            number += 1
            message, kind = self._message(envelope)
            sealed_kind = sealed_kind or (kind is not None and kind.sealed)
            leaf = leaf_of(entry(self.session_id, self.direction, number, envelope))
            chain = link(chain, leaf)
            messages.append(message | {"number": number, "envelope": envelope, "leaf": leaf, "kind": kind})
        if flight["seal"] is not None:
            self._verify(flight["seal"], number, chain)
        require(flight["seal"] is not None or not sealed_kind, "seal.missing")
        self.number, self.chain = number, chain
        news = flight["seal"] is not None and self.sealed < number
        self.sealed = number if flight["seal"] is not None else self.sealed
        for each in messages:
            each["failed"] = _failed(each, self.now_ms)
        self._session(flight, messages, news=news)
        return messages

    # Steps 1 to 5

    def _flight(self, data: bytes) -> dict[str, Any]:
        limits = self.limits
        fields = 8 + 7 * limits["flight_messages"] + 4 * limits["controls"]
        require(len(data) <= 4096 or left("Flight", data, fields) >= 0, "flight.budget")
        try:
            flight = decode("Flight", data)
        except Malformed:
            raise Refused("flight.malformed") from None
        empty: dict[str, Any] = {"envelopes": [], "hops": [], "controls": [], "ack": 0, "first_number": 0, "seal": None}
        flight = empty | flight
        count = len(flight["envelopes"])
        require(flight["first_number"] == self.number + 1, "flight.number")
        require(count <= limits["flight_messages"], "flight.count")
        require(self.number - self.sealed + count <= limits["span_messages"], "span.length")
        require(len(flight["controls"]) <= limits["controls"], "flight.controls")
        before = -1
        for hop in flight["hops"]:
            index = hop.get("index", 0)
            require(before < index < count and hop.get("timeout_ms", 0) <= DAY_MS, "flight.hops")
            before = index
        return flight

    # Step 6

    def _message(self, envelope: bytes) -> tuple[dict[str, Any], Kind | None]:
        limits = self.limits
        require(len(envelope) <= limits["envelope_bytes"], "envelope.length")
        require(envelope[:1] in {b"\1", b"\2"}, "envelope.form")
        request, body = envelope[:1] == b"\1", envelope[1:]
        name = "RatatoskrRequest" if request else "RatatoskrResponse"
        budget = 8 + 3 * limits["metadata_entries"] if request else 256
        require(len(body) <= 4096 or left(name, body, budget) >= 0, "envelope.budget")
        doubt = False
        try:
            message = decode(name, body)
        except Malformed:
            raise Refused("envelope.malformed") from None
        except NotCanonical:
            raise Refused("envelope.canonical") from None
        kind = KINDS.get((message.get("type", 0), message.get("operation", 0)))
        if request:
            self._request(message, kind)
        else:
            _response(message, kind)
        doubt = encode(name, message) != body
        require(kind is None or not kind.sealed or not doubt, "envelope.canonical")
        return message | {"request": request}, kind

    def _request(self, message: dict[str, Any], kind: Kind | None) -> None:
        require(kind is not None or message.get("type", 0) > 2, "request.type")
        require(len(message.get("nonce", b"")) == 16 and any(message["nonce"]), "request.nonce")
        entries = message.get("metadata", [])
        size = sum(32 + len(e.get("name", "").encode()) + len(e.get("value", "").encode()) for e in entries)
        fits = len(entries) <= self.limits["metadata_entries"] and size <= self.limits["metadata_bytes"]
        require(fits, "request.metadata")

    # Step 7

    def _verify(self, seal: dict[str, Any], number: int, chain: bytes) -> None:
        signature = seal.get("signature", b"")
        require(seal.get("signature_suite") == 1 and len(signature) == 64, "seal.form")
        signed = seal_input(
            self.session_id, self.signer, self.recipient, self.direction, number, chain, seal.get("signed_at_ms", 0)
        )
        require(verifies(self.signing_key, signature, signed), "seal.signature")

    # Steps 9 to 14

    def _session(self, flight: dict[str, Any], messages: list[dict[str, Any]], *, news: bool) -> None:
        progress = flight["ack"] > self.acked
        require(self.acked <= flight["ack"] <= self.sent, "flight.ack")
        self.acked = flight["ack"]
        for number in [number for number in self.answers if number <= self.acked]:
            self.open_requests.pop(self.answers.pop(number), None)
        require(not (messages and self.disconnected), "disconnect.final")
        if not (messages or flight["controls"] or news or progress):
            self._charge("controls_left", "controls.rate")
        for control in flight["controls"]:
            self._control(control)
        for message in messages:
            if message["request"]:
                self._asked(message)
            else:
                self._answered(message)

    def _charge(self, budget: str, rule: str) -> None:
        require(getattr(self, budget) > 0, rule)
        setattr(self, budget, getattr(self, budget) - 1)

    def _control(self, control: dict[str, Any]) -> None:
        named = control.get("cancel", control.get("grant"))
        if named is not None:
            require(0 < named.get("request_number", 0) <= self.number, "control.number")
        self._charge(*(("cancels_left", "cancels.rate") if "cancel" in control else ("controls_left", "controls.rate")))
        if "disconnect" in control:
            require(not control["disconnect"].get("code"), "disconnect.fault")
            require(self.number == self.sealed, "disconnect.seal")
            self.disconnected = True

    def _asked(self, message: dict[str, Any]) -> None:
        size, used = len(message["envelope"]), sum(self.open_requests.values())
        room = len(self.open_requests) < self.limits["requests_open"]
        fits = not self.open_requests or used + size <= self.limits["request_bytes_open"]
        require(room and fits, "requests.open")
        self.open_requests[message["number"]] = size
        if message["failed"] not in {"", "request.expired"}:
            self._charge("errors_left", "errors.rate")

    def _answered(self, message: dict[str, Any]) -> None:
        number, last = message.get("request_number", 0), message.get("last", False)
        asked = self.asked.get(number)
        place = (message.get("type", 0), message.get("operation", 0))
        require(
            asked is not None and asked.leaf == message["request_leaf"] and asked.place == place, "response.request"
        )
        assert asked is not None
        require(message.get("index", 0) == asked.items, "response.item")
        if last:
            del self.asked[number]
        else:
            require(asked.items < asked.granted, "stream.credit")
            asked.items += 1
        require(number <= self.acked, "flight.ack")


def _response(message: dict[str, Any], kind: Kind | None) -> None:
    stream, last = kind is not None and kind.stream, message.get("last", False)
    require(len(message.get("request_leaf", b"")) == 32, "response.leaf")
    error = message.get("error")
    require(error is not None or "payload" in message or (stream and last), "response.result")
    require(error is None or len(error.get("violations", [])) <= 8, "response.violations")
    require(stream or (last and not message.get("index")), "response.unary")
    require(error is None or last, "response.error")


def _failed(message: dict[str, Any], now_ms: int) -> str:
    """The rule of the call that a message breaks; nothing for none."""
    kind: Kind | None = message["kind"]
    if kind is None:
        return "kind.unknown" if message["request"] else ""
    if not message["request"] and "payload" not in message:
        return ""
    name, payload = (kind.request if message["request"] else kind.response), message.get("payload", b"")
    if len(payload) > 4096 and left(name, payload, 16 * 1024) < 0:
        return "payload.budget"
    said = verdict(name, payload)
    if said == "malformed":
        return "payload.malformed"
    if said == "not canonical" and kind.sealed:
        return "payload.canonical"
    read = decode(name, payload)
    if not keeps_rules(name, read):
        return "payload.schema"
    if message["request"] and kind.key:
        key = read.get(kind.key)
        if not key or message["nonce"] != nonce(message["type"], message["operation"], key_bytes(key)):
            return "nonce.key"
    expires = message.get("expires_at_ms", 0)
    return "request.expired" if message["request"] and not kind.key and 0 < expires <= now_ms else ""
