"""What a hostile peer says, as data: a plan is made by Hypothesis and rendered against a peer of any session.

A plan is rendered twice in the tests that compare whole writes with single bytes, so it holds no key, no signature and
no session: only what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.identity import SecretKeys
from ratatoskr.messages.seals import SealContext
from tests.attacks.hostile import HostilePeer
from tests.unit.messages.support import authorized, custom, envelope, field, found, payment, search

STRANGER = SecretKeys(bytes(range(64)))


@dataclass(frozen=True)
class Asked:
    """What the victim asked, as its peer knows it: the leaf of each request by its number."""

    leaves: tuple[bytes, ...]

    @classmethod
    def of(cls, peer: HostilePeer) -> Asked:
        """All that the victim has asked by now."""
        peer.hear()
        return cls(tuple(peer.leaves.values()))

    def place(self, number: int) -> dict[str, Any]:
        """The fields of an answer that name a request; one that was never made has a leaf of zeros."""
        known = 1 <= number <= len(self.leaves)
        return {"request_number": number, "request_leaf": self.leaves[number - 1] if known else bytes(32)}


@dataclass(frozen=True)
class Plan:
    """One flight. Everything is as it should be except what a field says."""

    envelopes: tuple[Callable[[Asked], bytes], ...] = ()
    first_number: int = 0
    """Added to the right one."""
    seal: str = "good"
    ack: int | None = 2
    hops: tuple[v1.Hop, ...] = ()
    controls: tuple[v1.Control, ...] = ()
    garbage: bytes = b""
    """Appended to the flight."""
    flip: int | None = None
    """A bit of the serialized flight to change."""

    def render(self, peer: HostilePeer, asked: Asked) -> bytes:
        """The plaintext. The peer's own chain moves on as if all had been right."""
        envelopes = [make(asked) for make in self.envelopes]
        seal = forged_seal(peer, self.seal, envelopes)
        flight = peer.flight(*envelopes, sealed=self.seal == "good", hops=self.hops, controls=self.controls)
        if seal is not None:
            flight.seal.CopyFrom(seal)
        flight.first_number = (flight.first_number + self.first_number) % (1 << 64)
        if self.ack is not None:
            flight.ack = self.ack
        plaintext = bytearray(flight.SerializeToString() + self.garbage)
        if self.flip is not None and plaintext:
            at = self.flip % (len(plaintext) * 8)
            plaintext[at // 8] ^= 1 << at % 8
        return bytes(plaintext)


def forged_seal(peer: HostilePeer, how: str, envelopes: list[bytes]) -> v1.Seal | None:
    """A seal over these envelopes that is true but for one thing; None for no seal, and for a good one."""
    if how in ("none", "good"):
        return None
    honest = peer.make_serializer(position=peer.serializer.position)
    for each in envelopes:
        honest.append(each)
    number, chain, _ = honest.position
    signer = STRANGER if how == "other key" else peer.identity
    context = SealContext(
        session_id=bytes(32) if how == "other session" else peer.session_id,
        signer=signer.kid if how == "other key" else peer.identity.kid,
        recipient=STRANGER.kid if how == "other recipient" else peer.victim_identity.kid,
        direction=peer.direction.other if how == "other direction" else peer.direction,
        signature_suite=2 if how == "other suite, signed" else 1,
    )
    time = peer.victim.clock.now.wall_ms
    signed = context.signed_bytes(
        number + (how == "other place"), bytes(32) if how == "other chain" else chain, time + (how == "other time")
    )
    signature = {"zeros": bytes(64), "cut": signer.sign(signed)[:63]}.get(how, signer.sign(signed))
    return v1.Seal(signature_suite=2 if how == "suite 2" else 1, signed_at_ms=time, signature=signature)


FORGED_SEALS = (
    "other session",
    "other direction",
    "other place",
    "other chain",
    "other key",
    "other recipient",
    "other time",
    "other suite, signed",
    "zeros",
    "suite 2",
    "cut",
)

GOOD_REQUESTS = (search(), search("a lamp", metadata=[v1.MetadataEntry(name="trace", value="1")]), payment())
ODD_REQUESTS = (
    custom(1, b"nobody knows this kind"),
    search(operation=99),
    search(payload=b"\xff"),
    search("x" * 257),
    search(expires_at_ms=1),
    search(issued_at_ms=0),
    payment(nonce=bytes(range(16))),
    payment(payload=b""),
)
BAD_REQUESTS = (
    search(nonce=b""),
    search(nonce=bytes(16)),
    search(type=0),
    search(type=1),
    search(type=-1),
    search(metadata=[v1.MetadataEntry()] * 33),
)


def _request(message: v1.RatatoskrRequest) -> Callable[[Asked], bytes]:
    return lambda _: envelope(message)


def _bytes(data: bytes) -> Callable[[Asked], bytes]:
    return lambda _: data


def _answer(number: int, changes: dict[str, Any]) -> Callable[[Asked], bytes]:
    make = authorized if number == 1 else found
    return lambda asked: envelope(make(**(asked.place(number) | changes)))


good_envelopes = st.sampled_from(GOOD_REQUESTS).map(_request)
answers = st.builds(
    _answer,
    st.integers(0, 4),
    st.sampled_from(
        [
            {},
            {"error": v1.Error(code=5, reason="NO", disposition=v1.DISPOSITION_FAILED)},
            {"error": v1.Error(code=99)},
            {"payload": b"\xff"},
            {"request_leaf": bytes(32)},
            {"request_leaf": b""},
            {"operation": 2},
            {"index": 1},
            {"last": False},
            {"replayed": True},
        ]
    ),
)
envelopes = st.one_of(
    good_envelopes,
    answers,
    st.sampled_from(ODD_REQUESTS).map(_request),
    st.sampled_from(BAD_REQUESTS).map(_request),
    st.binary(max_size=60).map(_bytes),
    st.sampled_from([envelope(payment()) + field(99, 1), envelope(search()) + field(99, 1)]).map(_bytes),
)
controls = st.one_of(
    st.just(v1.Control()),
    st.integers(0, (1 << 64) - 1).map(lambda token: v1.Control(ping=v1.Ping(token=token))),
    st.integers(0, (1 << 64) - 1).map(lambda token: v1.Control(pong=v1.Pong(token=token))),
    st.text(max_size=20).map(lambda reason: v1.Control(go_away=v1.GoAway(reason=reason))),
    st.sampled_from([0, 0, 4440]).map(lambda code: v1.Control(disconnect=v1.Disconnect(code=code))),
)
hops = st.builds(
    v1.Hop,
    index=st.integers(0, 3),
    timeout_ms=st.sampled_from([0, 1, 5000, 24 * 3600 * 1000, 24 * 3600 * 1000 + 1, (1 << 32) - 1]),
)
good_plans = st.builds(Plan, st.lists(good_envelopes, min_size=1, max_size=4).map(tuple))
plans = st.builds(
    Plan,
    envelopes=st.lists(envelopes, max_size=4).map(tuple),
    first_number=st.sampled_from([0, 0, 0, 0, 0, 0, 1, -1]),
    seal=st.sampled_from(["good"] * 12 + ["none", *FORGED_SEALS]),
    ack=st.sampled_from([2, 2, 2, 2, None, 0, 1, 1000, (1 << 64) - 1]),
    hops=st.one_of(st.just(()), st.lists(hops, max_size=3).map(tuple)),
    controls=st.one_of(st.just(()), st.lists(controls, max_size=4).map(tuple)),
    garbage=st.one_of(st.just(b""), st.just(b""), st.just(b""), st.binary(max_size=10)),
    flip=st.one_of(st.none(), st.none(), st.none(), st.integers(0, 1 << 16)),
)
