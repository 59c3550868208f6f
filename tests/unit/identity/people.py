"""A root, an issuer under it, and ends of every role, the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

from ratatoskr.identity import CertificateRequest, Identity, Role, SecretKeys, issue

NOON = 1_735_732_800.0
"""2025-01-01T12:00:00Z, in seconds since the epoch."""
WEEK = 7 * 86_400.0


def entropy_of(seed: str) -> Callable[[int], bytes]:
    """Entropy that repeats in every run."""
    count = 0

    def entropy(length: int) -> bytes:
        nonlocal count
        count += 1
        return b"".join(sha256(f"{seed} {count} {block}".encode()).digest() for block in range(length // 32 + 1))[
            :length
        ]

    return entropy


def keys_of(seed: str) -> SecretKeys:
    return SecretKeys.generate(entropy_of(seed))


def root_of(subject: str, *, not_before: float = NOON, not_after: float = NOON + WEEK) -> Identity:
    return Identity.self_issued(
        entropy_of(subject), role=Role.ISSUER, subject=subject, not_before=not_before, not_after=not_after
    )


def certified_by(
    issuer: Identity,
    role: Role,
    subject: str,
    *,
    names: Iterable[str] = (),
    tenant: str = "",
    not_before: float = NOON,
    not_after: float = NOON + WEEK,
) -> Identity:
    keys = keys_of(subject)
    certificate = issue(
        issuer,
        CertificateRequest.create(keys, role=role, subject=subject, names=names, tenant=tenant),
        role=role,
        not_before=not_before,
        not_after=not_after,
        entropy=entropy_of(f"serial of {subject}"),
    )
    return Identity(keys, issuer.chain_for(certificate))


ROOT = root_of("DEV root")
OTHER_ROOT = root_of("Other root")
BRANCH = certified_by(ROOT, Role.ISSUER, "Branch")
SERVER = certified_by(ROOT, Role.SERVER, "yggdrasil", names=["yggdrasil.example", "localhost"])
DEVICE = certified_by(ROOT, Role.DEVICE, "till-1", tenant="acme")
PROVIDER = certified_by(BRANCH, Role.PROVIDER, "shop-7")
STRANGER = Identity.self_issued(
    entropy_of("stranger"),
    role=Role.PROVIDER,
    subject="shop-7",
    tenant="acme",
    not_before=NOON,
    not_after=NOON + WEEK,
)
