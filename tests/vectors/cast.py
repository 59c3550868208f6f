"""Who appears in the vectors: keys and certificates that follow from labels, so that they are the same in every run."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ratatoskr.identity import CertificateRequest, Identity, Role, SecretKeys, TrustPolicy, issue, self_issue

SERVER_NAME = "yggdrasil.example"
NOW_MS = 1_700_000_000_000
NOW = NOW_MS / 1000
"""2023-11-14T22:13:20Z, when everything in the vectors happens."""
BEFORE, AFTER = NOW - 3600, NOW + 30 * 24 * 3600


def secret(label: str, length: int = 32) -> bytes:
    """Bytes that look random and are the same in every run."""
    return b"".join(sha256(f"{label} {part}".encode()).digest() for part in range(-(-length // 32)))[:length]


def keys(name: str) -> SecretKeys:
    """The keys of somebody."""
    return SecretKeys(secret(f"{name} exchange") + secret(f"{name} signing"))


class FixedEntropy:
    """Gives out the bytes of a string, once."""

    def __init__(self, stream: bytes) -> None:
        self.stream = stream

    def __call__(self, length: int) -> bytes:
        taken, self.stream = self.stream[:length], self.stream[length:]
        assert len(taken) == length, "the entropy of this run is used up"
        return taken


class Stream:
    """Entropy that follows from a label."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._drawn = 0

    def __call__(self, length: int) -> bytes:
        self._drawn += 1
        return secret(f"{self._label} {self._drawn}", length)


def root(name: str = "root", *, not_after: float = AFTER) -> Identity:
    """An issuer that signed itself."""
    own, subject = keys(name), f"{name} of the vectors"
    certificate = self_issue(
        own, role=Role.ISSUER, subject=subject, not_before=BEFORE, not_after=not_after, entropy=Stream(name)
    )
    return Identity(own, (certificate,))


def certified(
    issuer: Identity,
    name: str,
    role: Role,
    *,
    names: tuple[str, ...] = (),
    tenant: str = "",
    not_before: float = BEFORE,
    not_after: float = AFTER,
) -> Identity:
    """Somebody whom an issuer certified."""
    own = keys(name)
    certificate = issue(
        issuer,
        CertificateRequest.create(own, role=role, subject=name, names=names, tenant=tenant),
        role=role,
        not_before=not_before,
        not_after=not_after,
        entropy=Stream(f"{issuer.certificate.subject} {name}"),
    )
    return Identity(own, issuer.chain_for(certificate))


ROOT = root()
ISSUER = certified(ROOT, "issuer", Role.ISSUER)
SERVER = certified(ROOT, "server", Role.SERVER, names=(SERVER_NAME, "10.0.0.1"))
DEVICE = certified(ISSUER, "device-1", Role.DEVICE, tenant="tenant-1")
PROVIDER = certified(ROOT, "provider-1", Role.PROVIDER)
KNOCKER = Identity(
    keys("knocker"),
    (
        self_issue(
            keys("knocker"),
            role=Role.PROVIDER,
            subject="knocker",
            not_before=BEFORE,
            not_after=AFTER,
            entropy=Stream("knocker"),
        ),
    ),
)
TRUST = TrustPolicy(roots={ROOT.certificate})
CAST = {
    "root": ROOT, "issuer": ISSUER, "server": SERVER, "device": DEVICE, "provider": PROVIDER, "knocker": KNOCKER,
}  # fmt: skip


def shown(identity: Identity) -> dict[str, Any]:
    """An identity, with its secrets."""
    both = identity.keys.to_bytes()
    return {
        "exchange_private": both[:32].hex(),
        "exchange_public": identity.keys.public.exchange_key.hex(),
        "signing_seed": both[32:].hex(),
        "signing_public": identity.keys.public.signing_key.hex(),
        "kid": identity.kid.hex(),
        "chain": [certificate.to_bytes().hex() for certificate in identity.chain],
    }


def make() -> dict[str, Any]:
    """identities.json"""
    return {
        "about": "Who appears in the other files. The chain of each is what a peer is shown; the root shows none.",
        "server_name": SERVER_NAME,
        "now_ms": NOW_MS,
        "identities": {name: shown(identity) for name, identity in CAST.items()},
    }
