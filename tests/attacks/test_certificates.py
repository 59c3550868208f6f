"""Whoever is not who he must be: refused, with one outward error, and the reason in the local log alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.channel import RecordType, encode_record
from ratatoskr.errors import Fault
from ratatoskr.events import ConnectionRequested, Opened
from ratatoskr.identity import Certificate, CertificateRequest, Identity, Role, SecretKeys, TrustPolicy, issue
from ratatoskr.identity.verify import signed_input
from ratatoskr.testing import Authority
from ratatoskr.testing.authority import SERVER_NAME
from ratatoskr.testing.clock import START
from tests.attacks.hostile import AUTHORITY, CLIENT, DEVICE, SERVER, SERVER_SIDE, HostilePeer, make_victim, same
from tests.attacks.victim import Victim
from tests.unit.identity.curve import small_order_encodings, small_order_us

DAY = 86_400.0
OTHER = Authority("somebody else's")


@dataclass(frozen=True)
class Pretender:
    """A peer that should be refused by ``rule``: its identity, what it shows, and what the victim believes."""

    side: str
    rule: str
    identity: Identity
    chain: Iterable[v1.IdentityCertificate] | None = None
    trust: TrustPolicy = AUTHORITY.trust
    rewrite_signed: Callable[[bytes], bytes] = same

    def meet(self) -> Victim:
        """Bring it before a victim of that side."""
        peer = HostilePeer(
            make_victim(self.side, trust=self.trust),
            identity=self.identity,
            chain=self.chain,
            rewrite_signed=self.rewrite_signed,
        )
        if self.side == CLIENT:
            peer.challenge()
        else:
            peer.begin()
            peer.request()
        return peer.victim


def changed(identity: Identity, signer: Identity = AUTHORITY.root, **changes: Any) -> list[v1.IdentityCertificate]:
    """The identity's certificate with another body, signed again."""
    body = v1.CertificateBody.FromString(identity.certificate.body)
    for name, value in changes.items():
        setattr(body, name, value)
    encoded = body.SerializeToString(deterministic=True)
    signature = signer.sign(signed_input(b"ratatoskr-v1 certificate", sha256(encoded).digest()))
    return [v1.IdentityCertificate(body=encoded, signature=signature)]


def under(issuer: Identity, role: Role, subject: str, names: tuple[str, ...] = ()) -> Identity:
    keys = SecretKeys.generate(AUTHORITY.entropy)
    request = CertificateRequest.create(keys, role=role, subject=subject, names=names)
    certificate = issue(
        issuer, request, role=role, not_before=START - 1, not_after=START + DAY, entropy=AUTHORITY.entropy
    )
    return Identity(keys, issuer.chain_for(certificate))


def by_itself(role: Role, names: tuple[str, ...] = ()) -> Identity:
    return Identity.self_issued(
        AUTHORITY.entropy, role=role, subject="me", names=names, not_before=START - 1, not_after=START + DAY
    )


def revoking(certificate: Certificate) -> TrustPolicy:
    return replace(AUTHORITY.trust, revoked={(certificate.issuer, certificate.serial)})


BRANCH = under(AUTHORITY.root, Role.ISSUER, "Branch")
BELOW = under(BRANCH, Role.SERVER, "below", (SERVER_NAME,))
LATE = AUTHORITY.issue(Role.DEVICE, "late", not_before=START + 1, not_after=START + DAY)
EXPIRED = AUTHORITY.issue(Role.SERVER, "old", names=(SERVER_NAME,), not_before=START - DAY, not_after=START)
SMALL_SIGNING = small_order_encodings()[0]
SMALL_EXCHANGE = small_order_us()[1].to_bytes(32, "little")

PRETENDERS = {
    "a device as server": Pretender(CLIENT, "certificate.role", AUTHORITY.device("another")),
    "the client itself as server": Pretender(CLIENT, "handshake.reflected", DEVICE),
    "a provider as server": Pretender(CLIENT, "certificate.role", AUTHORITY.provider()),
    "an issuer as server": Pretender(CLIENT, "certificate.role", AUTHORITY.root),
    "a server as client": Pretender(SERVER_SIDE, "certificate.role", AUTHORITY.server("another.test")),
    "an issuer as client": Pretender(SERVER_SIDE, "certificate.role", BRANCH),
    "a server of another name": Pretender(CLIENT, "certificate.name", AUTHORITY.server("another.test")),
    "a server of a longer name": Pretender(CLIENT, "certificate.name", AUTHORITY.server("sub." + SERVER_NAME)),
    "a server too old": Pretender(CLIENT, "certificate.expired", EXPIRED),
    "a device too young": Pretender(SERVER_SIDE, "certificate.not_yet_valid", LATE),
    "a server of another issuer": Pretender(CLIENT, "certificate.issuer", OTHER.server(SERVER_NAME)),
    "a device of another issuer": Pretender(SERVER_SIDE, "certificate.issuer", OTHER.device()),
    "a server of its own making": Pretender(CLIENT, "certificate.issuer", by_itself(Role.SERVER, (SERVER_NAME,))),
    "a device of its own making": Pretender(SERVER_SIDE, "certificate.issuer", by_itself(Role.DEVICE)),
    "a provider of its own making": Pretender(SERVER_SIDE, "certificate.issuer", by_itself(Role.PROVIDER)),
    "a device of its own making where providers may": Pretender(
        SERVER_SIDE, "certificate.issuer", by_itself(Role.DEVICE), trust=TrustPolicy(self_issued=True)
    ),
    "a revoked server": Pretender(CLIENT, "certificate.revoked", SERVER, trust=revoking(SERVER.certificate)),
    "a revoked device": Pretender(SERVER_SIDE, "certificate.revoked", DEVICE, trust=revoking(DEVICE.certificate)),
    "under a revoked issuer": Pretender(CLIENT, "certificate.revoked", BELOW, trust=revoking(BRANCH.certificate)),
    "a signing key of small order": Pretender(
        SERVER_SIDE, "certificate.small_order", DEVICE, changed(DEVICE, signing_key=SMALL_SIGNING)
    ),
    "an exchange key of small order": Pretender(
        CLIENT, "certificate.small_order", SERVER, changed(SERVER, exchange_key=SMALL_EXCHANGE)
    ),
    "an exchange key with two encodings": Pretender(
        SERVER_SIDE, "certificate.key", DEVICE, changed(DEVICE, exchange_key=b"\xff" * 32)
    ),
    "a certificate signed by another": Pretender(
        SERVER_SIDE, "certificate.signature", DEVICE, changed(DEVICE, OTHER.root)
    ),
    "no certificate": Pretender(SERVER_SIDE, "certificate.chain", DEVICE, []),
    "three certificates": Pretender(CLIENT, "certificate.chain", SERVER, SERVER.wire_chain() * 3),
    "a certificate of noise": Pretender(
        SERVER_SIDE, "certificate.malformed", DEVICE, [v1.IdentityCertificate(body=b"\xff")]
    ),
    "somebody else's certificate": Pretender(
        SERVER_SIDE, "proof.exchange", AUTHORITY.device("thief"), DEVICE.wire_chain()
    ),
    "the server's certificate, without its keys": Pretender(
        CLIENT, "proof.exchange", AUTHORITY.server(SERVER_NAME), SERVER.wire_chain()
    ),
    "half of a server's keys": Pretender(
        CLIENT,
        "proof.signature",
        SERVER,
        changed(SERVER, signing_key=DEVICE.keys.public.signing_key),
    ),
    "a signature of another handshake": Pretender(
        SERVER_SIDE, "proof.signature", DEVICE, rewrite_signed=lambda _: b"what was signed before"
    ),
    "a signature for the other role": Pretender(
        CLIENT, "proof.signature", SERVER, rewrite_signed=lambda signed: signed.replace(b"server-auth", b"device-auth")
    ),
}


@pytest.mark.parametrize("name", PRETENDERS)
def test_a_pretender_is_refused_and_learns_nothing_but_a_reference(name: str) -> None:
    pretender = PRETENDERS[name]
    victim = pretender.meet()
    closed = victim.closed
    assert closed is not None, victim.events
    assert (closed.fault, closed.rule) == (Fault.REFUSED, pretender.rule)
    assert closed.detail, "the local log gets a sentence"
    assert closed.reference
    assert not victim.seen(ConnectionRequested)
    assert not victim.seen(Opened)
    assert victim.connection.peer is None
    # on the wire: one form for all, in which nothing varies but the reference
    alert = encode_record(RecordType.ALERT, b"\0\1" + closed.reference.to_bytes(4, "big"))
    assert victim.written() == alert
    (disconnect,) = victim.disconnects
    assert (disconnect.code, disconnect.reason) == (Fault.REFUSED.code, "REFUSED")


def test_the_references_of_two_refusals_differ() -> None:
    pretender = PRETENDERS["no certificate"]
    references = {pretender.meet().finish().reference for _ in range(20)}
    assert len(references) == 20


def test_the_refused_client_is_told_the_reference() -> None:
    """Both ends name the same number, and the client's detail says what it is for."""
    pretender = PRETENDERS["a revoked device"]
    server = pretender.meet()
    client = make_victim(CLIENT)
    client.drain()
    client.feed(server.written())
    closed = client.closed
    assert closed is not None
    assert (closed.fault, closed.rule) == (Fault.REFUSED, "alert")
    assert closed.reference == server.finish().reference
    assert f"{closed.reference:08x}" in closed.detail
    assert "revoked" not in closed.detail


def test_an_honest_peer_of_the_same_making_is_let_in() -> None:
    """The pretenders are not refused for a reason of their own."""
    for side, identity in (
        (CLIENT, SERVER),
        (CLIENT, BELOW),
        (SERVER_SIDE, DEVICE),
        (SERVER_SIDE, AUTHORITY.provider()),
    ):
        peer = HostilePeer(side, identity=identity)
        peer.open()
        assert peer.victim.connection.peer is not None
        assert peer.victim.connection.peer.certificate == identity.certificate
