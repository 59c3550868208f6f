"""certificates.json: certificates and requests, good and bad, and chains that are believed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ratatoskr import v1
from ratatoskr.identity import Certificate, CertificateRefused, CertificateRequest, Identity, Role, TrustPolicy
from ratatoskr.identity.certificates import CERTIFICATE_LABEL, REQUEST_LABEL
from ratatoskr.identity.claims import signed_body
from ratatoskr.identity.verify import SMALL_ORDER_EXCHANGE_KEYS, SMALL_ORDER_SIGNING_KEYS
from tests.vectors.cast import (
    AFTER,
    BEFORE,
    CAST,
    DEVICE,
    ISSUER,
    KNOCKER,
    NOW,
    NOW_MS,
    PROVIDER,
    ROOT,
    SERVER,
    SERVER_NAME,
    certified,
    keys,
    root,
)

SMALL_SIGNING, SMALL_EXCHANGE = sorted(SMALL_ORDER_SIGNING_KEYS)[5], sorted(SMALL_ORDER_EXCHANGE_KEYS)[1]


def signed(body: bytes, issuer: Identity, label: bytes = CERTIFICATE_LABEL) -> bytes:
    """A certificate of any bytes: what issuing would never write."""
    signature = issuer.sign(signed_body(label, body))
    return v1.IdentityCertificate(body=body, signature=signature).SerializeToString(deterministic=True)


def edited(base: Identity, by: Identity, /, **changes: Any) -> bytes:
    """The certificate of somebody, with other values, signed again."""
    body = v1.CertificateBody.FromString(base.certificate.body)
    for name, value in changes.items():
        if isinstance(value, list):
            body.ClearField(name)  # type: ignore[arg-type]
            getattr(body, name).extend(value)
        else:
            setattr(body, name, value)
    return signed(body.SerializeToString(deterministic=True), by)


def read(cls: type[Certificate | CertificateRequest], data: bytes) -> str:
    """The rule by which the bytes are refused; nothing where they are not."""
    try:
        cls.from_bytes(data)
    except CertificateRefused as refused:
        return refused.rule
    return ""


def certificates() -> Iterator[tuple[str, bytes]]:
    """Certificates beside the rules of reading. Their signatures are right."""
    change, server = partial(edited, DEVICE, ISSUER), partial(edited, SERVER, ROOT)
    exact, outer = DEVICE.certificate.body, DEVICE.certificate.to_bytes()
    for name in ("root", "issuer", "server", "device", "knocker"):
        yield f"the {name}'s", CAST[name].certificate.to_bytes()
    yield "the longest subject, of 128 characters", change(subject="x" * 128)
    yield "16 names", server(names=[f"name-{at}" for at in range(16)])
    yield "an end in the last millisecond of 9999", change(not_after_ms=253_402_300_799_999)
    yield "longer than 4096 bytes", signed(exact + b"\x6a\x90\x1f" + bytes(3984), ISSUER)
    yield "cut short", outer[:-1]
    yield "a body that is cut short", signed(exact[:-1], ISSUER)
    yield "an unknown field in the body", signed(exact + b"\x68\1", ISSUER)
    yield "an unknown field beside the body", outer + b"\x18\1"
    yield "fields in another order", signed(exact[2:4] + exact[:2] + exact[4:], ISSUER)
    yield "a default that is written", signed(exact + b"\x60\0", ISSUER)
    yield "a number longer than it need be", signed(b"\x08\x81\0" + exact[2:], ISSUER)
    yield "version 2", change(version=2)
    yield "no role", change(role=0)
    yield "role 5", change(role=5)
    yield "no subject", change(subject="")
    yield "a subject of 129 characters", change(subject="x" * 129)
    yield "a subject that ends with a space", change(subject="shop ")
    yield "a subject with a letter beyond ASCII", change(subject="caf\u00e9")
    yield "a subject that claims to be self-issued", change(subject="self-issued:1")
    yield "a tenant of 129 characters", change(tenant="x" * 129)
    yield "names of a device", change(names=["yggdrasil.example"])
    yield "17 names", server(names=[f"name-{at}" for at in range(17)])
    yield "one name twice", server(names=["a.example", "a.example"])
    yield "a name in capitals", server(names=["A.example"])
    yield "a wildcard", server(names=["*.example"])
    yield "a signature of 63 bytes", _shorter(outer)
    yield "an exchange key of 31 bytes", change(exchange_key=bytes(range(31)))
    yield "an exchange key that is not canonical", change(exchange_key=b"\xff" * 32)
    yield "an exchange key of small order", change(exchange_key=SMALL_EXCHANGE)
    yield "a signing key of small order", change(signing_key=SMALL_SIGNING)
    yield "a signing key that is not canonical", change(signing_key=b"\xff" * 32)
    yield "a signing key off the curve", change(signing_key=(2).to_bytes(32, "little"))
    yield "an end before its begin", change(not_before_ms=NOW_MS, not_after_ms=NOW_MS)
    yield "an end after 9999", change(not_after_ms=253_402_300_800_000)
    yield "an issuer of 31 bytes", change(issuer=bytes(31))
    yield "a serial of 15 bytes", change(serial=bytes(15))
    yield "a path length of a device", change(path_length=1)
    yield "a path length of 2", edited(ROOT, ROOT, path_length=2)


def _shorter(outer: bytes) -> bytes:
    message = v1.IdentityCertificate.FromString(outer)
    message.signature = message.signature[:63]
    return message.SerializeToString(deterministic=True)


def requests() -> Iterator[tuple[str, bytes]]:
    """Requests for certificates."""
    own = keys("asker")
    good = CertificateRequest.create(own, role=Role.PROVIDER, subject="asker").to_bytes()
    outer = v1.CertificateRequest.FromString(good)
    yield "good", good
    yield "signed by another key", _request(outer.body, PROVIDER.sign(signed_body(REQUEST_LABEL, outer.body)))
    yield "signed as a certificate", _request(outer.body, own.sign(signed_body(CERTIFICATE_LABEL, outer.body)))
    yield (
        "an unknown field",
        _request(outer.body + b"\x78\1", own.sign(signed_body(REQUEST_LABEL, outer.body + b"\x78\1"))),
    )
    yield "cut short", good[:-1]
    yield "longer than 4096 bytes", good + bytes(4096)


def _request(body: bytes, signature: bytes) -> bytes:
    return v1.CertificateRequest(body=body, signature=signature).SerializeToString(deterministic=True)


# Chains


@dataclass
class Case:
    """What is shown, and to whom."""

    what: str
    chain: list[bytes]
    roots: list[Identity] = field(default_factory=lambda: [ROOT])
    pinned: list[bytes] = field(default_factory=list)
    revoked: list[tuple[bytes, bytes]] = field(default_factory=list)
    self_issued: bool = False
    earliest_ms: int = 0
    roles: tuple[Role, ...] = (Role.DEVICE, Role.PROVIDER)
    at_ms: int = NOW_MS
    server_name: str | None = None

    def policy(self) -> TrustPolicy:
        return TrustPolicy(
            roots={each.certificate for each in self.roots},
            pinned=set(self.pinned),
            revoked=set(self.revoked),
            self_issued=self.self_issued,
            earliest=self.earliest_ms / 1000,
        )

    def shown(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "chain": [each.hex() for each in self.chain],
            "roots": [each.certificate.to_bytes().hex() for each in self.roots],
            "pinned": [each.hex() for each in self.pinned],
            "revoked": [[issuer.hex(), serial.hex()] for issuer, serial in self.revoked],
            "self_issued": self.self_issued,
            "earliest_ms": self.earliest_ms,
            "roles": [int(role) for role in self.roles],
            "at_ms": self.at_ms,
            "server_name": self.server_name,
            **self.judged(),
        }

    def judged(self) -> dict[str, Any]:
        try:
            peer = self.policy().judge(self.chain, roles=self.roles, at=self.at_ms / 1000, server_name=self.server_name)
        except CertificateRefused as refused:
            return {"rule": refused.rule}
        return {
            "rule": "",
            "subject": peer.subject,
            "tenant": peer.tenant,
            "role": int(peer.role),
            "enrolled": peer.enrolled,
        }


def shown(identity: Identity) -> list[bytes]:
    return [certificate.to_bytes() for certificate in identity.chain]


def cases() -> Iterator[Case]:
    """Chains that are believed, then one for each rule."""
    server = partial(Case, chain=shown(SERVER), roles=(Role.SERVER,), server_name=SERVER_NAME)
    other_root = root("another root")
    yield Case("a device under an issuer", shown(DEVICE))
    yield Case("a provider under the root", shown(PROVIDER))
    yield server("a server under its first name")
    yield server("a server under its second name", server_name="10.0.0.1")
    yield Case("one of two roots", shown(DEVICE), roots=[other_root, ROOT])
    yield Case("pinned, under no root", shown(DEVICE), roots=[], pinned=[DEVICE.certificate.fingerprint])
    yield Case("a provider that issued itself, where that is allowed", shown(KNOCKER), self_issued=True)
    yield Case("a provider that issued itself, and is pinned", shown(KNOCKER), pinned=[KNOCKER.certificate.fingerprint])
    yield Case("the first moment", shown(PROVIDER), at_ms=int(BEFORE * 1000))
    yield Case("the last moment", shown(PROVIDER), at_ms=int(AFTER * 1000) - 1)
    yield Case("a clock that lost its battery", shown(PROVIDER), at_ms=0, earliest_ms=NOW_MS)
    yield Case("a root that was renewed", shown(PROVIDER), roots=[ROOT, root(not_after=NOW - 1)])

    yield Case("no certificate", [])
    yield Case("three certificates", [*shown(DEVICE), ROOT.certificate.to_bytes()])
    yield Case("a certificate that does not read", [edited(DEVICE, ISSUER, serial=b"")])
    yield server("a device in the place of a server", chain=shown(DEVICE))
    yield Case("a server in the place of a client", shown(SERVER))
    yield Case("an issuer in the place of a client", shown(ISSUER), roles=tuple(Role))
    yield Case("a provider that issued itself", shown(KNOCKER))
    yield Case("a device that issued itself", [_self_issued_device()], self_issued=True)
    yield Case("a provider that issued itself, with an issuer", [*shown(KNOCKER), *shown(ISSUER)], self_issued=True)
    yield Case("a provider that issued itself, with another signature", [_unsigned(KNOCKER)], self_issued=True)
    yield Case("no root", shown(DEVICE), roots=[])
    yield Case("another root", shown(DEVICE), roots=[other_root])
    yield Case("a root with the name of the right one", shown(PROVIDER), roots=[_namesake()])
    yield Case("the issuer is missing", shown(DEVICE)[:1])
    yield Case("another issuer between", [shown(PROVIDER)[0], *shown(ISSUER)])
    yield Case(
        "a provider in the place of an issuer", [edited(DEVICE, PROVIDER, issuer=PROVIDER.kid), *shown(PROVIDER)]
    )
    yield Case("the root is shown", [*shown(PROVIDER), ROOT.certificate.to_bytes()])
    yield Case("a signature by another key", [edited(PROVIDER, other_root)])
    yield Case("a signature for another purpose", [signed(PROVIDER.certificate.body, ROOT, REQUEST_LABEL)])
    yield Case("an issuer under a root that allows none", shown(DEVICE), roots=[_short_root()])
    yield Case("revoked", shown(PROVIDER), revoked=[(ROOT.kid, PROVIDER.certificate.serial)])
    yield Case("its issuer is revoked", shown(DEVICE), revoked=[(ROOT.kid, ISSUER.certificate.serial)])
    yield Case(
        "its serial, revoked under another issuer", shown(PROVIDER), revoked=[(ISSUER.kid, PROVIDER.certificate.serial)]
    )
    yield Case("a moment too early", shown(PROVIDER), at_ms=int(BEFORE * 1000) - 1)
    yield Case("a moment too late", shown(PROVIDER), at_ms=int(AFTER * 1000))
    yield Case("its issuer has expired", shown(_under_an_old_issuer()))
    yield Case("pinned and expired", shown(DEVICE), pinned=[DEVICE.certificate.fingerprint], at_ms=int(AFTER * 1000))
    yield server("another name", server_name="yggdrasil.example.org")
    yield server("a name in capitals", server_name="Yggdrasil.example")
    yield server("a name within a name", server_name="example")


def _self_issued_device() -> bytes:
    return edited(DEVICE, DEVICE, issuer=DEVICE.kid)


def _unsigned(identity: Identity) -> bytes:
    return signed(identity.certificate.body, PROVIDER)


def _namesake() -> Identity:
    """A root of the same name and another key."""
    namesake = root("namesake")
    body = v1.CertificateBody.FromString(namesake.certificate.body)
    body.subject = ROOT.certificate.subject
    return Identity(
        namesake.keys, (Certificate.from_bytes(signed(body.SerializeToString(deterministic=True), namesake)),)
    )


def _short_root() -> Identity:
    """The root, with a path length of 0."""
    return Identity(ROOT.keys, (Certificate.from_bytes(edited(ROOT, ROOT, path_length=0)),))


def _under_an_old_issuer() -> Identity:
    old = certified(ROOT, "old issuer", Role.ISSUER, not_after=NOW - 1)
    return certified(old, "late device", Role.DEVICE)


def judged(
    cls: type[Certificate | CertificateRequest], made: Callable[[], Iterator[tuple[str, bytes]]]
) -> list[dict[str, str]]:
    return [{"what": what, "bytes": data.hex(), "rule": read(cls, data)} for what, data in made()]


def make() -> dict[str, Any]:
    """certificates.json"""
    return {
        "about": "Certificates, requests and chains, with the rule that each breaks; nothing for a good one.",
        "certificates": judged(Certificate, certificates),
        "requests": judged(CertificateRequest, requests),
        "chains": [case.shown() for case in cases()],
    }
