"""Trust: whom this side believes, and for what.

A peer is believed for one of three reasons: its certificate leads to a root, at most one issuer in between; its
certificate is pinned; or the policy lets unenrolled providers knock, whose certificates are their own word.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ratatoskr import v1
from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity.certificates import MAX_MILLISECONDS, Certificate
from ratatoskr.identity.claims import SELF_ISSUED_PREFIX, CertificateRefused, Role
from ratatoskr.identity.verify import VerifyKey

MAX_CHAIN = 2
"""Certificates that a peer may present: its own, and one issuer under a root."""


def utc(milliseconds: float) -> str:
    """A moment for people: ``2025-01-31T12:00:00Z``. What no calendar holds shows as its nearest end."""
    clamped = int(min(max(milliseconds, 0), MAX_MILLISECONDS))
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=clamped):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPeer:
    """Who the peer is, as far as this side believes its certificate.

    That the peer holds the keys is for the handshake to prove.
    """

    subject: str
    """The certified name. For a peer that is not enrolled, ``self-issued:`` and its kid in hex: what it calls itself
    stands in the certificate and proves nothing."""
    role: Role
    names: tuple[str, ...]
    tenant: str
    """The certified tenant; empty for a peer that is not enrolled."""
    certificate: Certificate
    enrolled: bool
    """False where the certificate is the peer's own word. Such a peer may register, and nothing else."""

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate's exact bytes."""
        return self.certificate.fingerprint

    @property
    def kid(self) -> bytes:
        """The id of the peer's signing key, 32 bytes."""
        return self.certificate.kid

    @property
    def verify_key(self) -> VerifyKey:
        """Verifies the peer's signatures."""
        return self.certificate.verify_key

    @property
    def exchange_key(self) -> bytes:
        """The peer's Noise static key: X25519, 32 bytes."""
        return self.certificate.exchange_key


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """Whom this side believes. Raises LocalProtocolError for a root that is none."""

    roots: AbstractSet[Certificate] = frozenset()
    """Certificates of issuers, each signed by itself."""
    pinned: AbstractSet[bytes] = frozenset()
    """Fingerprints of certificates that are believed whoever issued them."""
    revoked: AbstractSet[tuple[bytes, bytes]] = frozenset()
    """Certificates that are believed no more: the issuer's kid, and the serial."""
    self_issued: bool = False
    """Whether a provider may come with a certificate of its own making. It is not enrolled."""
    earliest: float = 0.0
    """A moment that has surely passed, in seconds since the epoch, such as the build of the device's software: the
    time to judge at is never before it, whatever a clock that lost its battery says."""

    def __post_init__(self) -> None:
        for root in self.roots:
            if root.role is not Role.ISSUER or not root.is_signed_by(root.verify_key):
                raise LocalProtocolError(f"`{root.subject}` is no root: a root is an issuer and signed by itself")

    def judge(
        self,
        chain: Sequence[bytes | v1.IdentityCertificate | Certificate],
        *,
        roles: Collection[Role],
        at: float,
        server_name: str | None = None,
        server_time: float | None = None,
    ) -> VerifiedPeer:
        """Believe the holder of ``chain[0]``, or raise :class:`CertificateRefused`, whose ``rule`` says why not.

        ``chain``: the peer's certificate, then the issuer between it and the root where there is one.
        ``roles``: what the peer may be. ``at``: the time to judge at, and ``server_time``: what the server's clock
        says, for the explanation only; both in seconds since the epoch. ``server_name``: a name that the certificate
        must carry, or None where none was asked for.
        """
        if not 1 <= len(chain) <= MAX_CHAIN:
            raise CertificateRefused("certificate.chain", f"{len(chain)} certificates; a chain has 1 to {MAX_CHAIN}")
        certificates = tuple(map(_certificate, chain))
        peer = certificates[0]
        if peer.role is Role.ISSUER or peer.role not in roles:
            expected = " or ".join(role.name for role in sorted(roles))
            raise CertificateRefused(
                "certificate.role", f"`{peer.subject}` has the role {peer.role.name}, expected was {expected}"
            )
        enrolled = True
        path: tuple[Certificate, ...] = (peer,)
        if peer.fingerprint not in self.pinned:
            if peer.is_self_issued:
                self._check_self_issued(certificates)
                enrolled = False
            else:
                path = self._path(certificates, at)
        for certificate in path:
            self._check_alive(certificate, at, server_time)
        if server_name is not None and server_name not in peer.names:
            proved = ", ".join(f"`{name}`" for name in peer.names) or "no name"
            intended = f" If intended: server_name={peer.names[0]!r}" if peer.names else ""
            raise CertificateRefused(
                "certificate.name", f"Server proved {proved}; you asked for `{server_name}`.{intended}"
            )
        return VerifiedPeer(
            subject=peer.subject if enrolled else SELF_ISSUED_PREFIX + peer.kid.hex(),
            role=peer.role,
            names=peer.names,
            tenant=peer.tenant if enrolled else "",
            certificate=peer,
            enrolled=enrolled,
        )

    def _path(self, certificates: tuple[Certificate, ...], at: float) -> tuple[Certificate, ...]:
        """The chain with its root, every signature verified."""
        peer, last = certificates[0], certificates[-1]
        candidates = [root for root in self.roots if root.kid == last.issuer]
        if not candidates:
            named = last.issuer.hex()[:16] if last is peer else f"`{last.subject}`"
            raise CertificateRefused(
                "certificate.issuer",
                f"`{peer.subject}` (issuer {named}) is not under any of {len(self.roots)} roots. "
                f"To trust it, add the root with key {last.issuer.hex()} or pin {peer.fingerprint.hex()}",
            )
        # A renewed root keeps its key: prefer the certificate that is valid now.
        root = max(candidates, key=lambda each: (self._is_valid(each, at), each.path_length, each.not_after_ms))
        for certificate, issuer in zip(certificates, (*certificates[1:], root), strict=True):
            _check_link(certificate, issuer)
        if len(certificates) - 1 > root.path_length:
            raise CertificateRefused("certificate.path_length", f"no issuer may stand under `{root.subject}`")
        return (*certificates, root)

    def _check_self_issued(self, certificates: tuple[Certificate, ...]) -> None:
        peer = certificates[0]
        if not self.self_issued or peer.role is not Role.PROVIDER:
            raise CertificateRefused(
                "certificate.issuer",
                f"`{peer.subject}` issued its own {peer.role.name} certificate, which this policy does not believe. "
                f"To trust it, pin {peer.fingerprint.hex()}",
            )
        if len(certificates) > 1:
            raise CertificateRefused("certificate.chain", f"nobody stands over `{peer.subject}`, who issued itself")
        if not peer.is_signed_by(peer.verify_key):
            raise CertificateRefused("certificate.signature", f"the signature of `{peer.subject}` does not verify")

    def _check_alive(self, certificate: Certificate, at: float, server_time: float | None) -> None:
        if (certificate.issuer, certificate.serial) in self.revoked:
            raise CertificateRefused(
                "certificate.revoked", f"`{certificate.subject}` (serial {certificate.serial.hex()}) is revoked"
            )
        if self._is_valid(certificate, at):
            return
        early = self._time_ms(at) < certificate.not_before_ms
        bound = (
            f"valid from {utc(certificate.not_before_ms)}" if early else f"expired at {utc(certificate.not_after_ms)}"
        )
        says = "" if server_time is None else f"; server says {utc(server_time * 1000)}"
        raise CertificateRefused(
            "certificate.not_yet_valid" if early else "certificate.expired",
            f"`{certificate.subject}`: certificate {bound}, this clock says {utc(at * 1000)}{says}",
        )

    def _time_ms(self, at: float) -> float:
        return max(self.earliest, at) * 1000

    def _is_valid(self, certificate: Certificate, at: float) -> bool:
        return certificate.not_before_ms <= self._time_ms(at) < certificate.not_after_ms


def _certificate(given: bytes | v1.IdentityCertificate | Certificate) -> Certificate:
    match given:
        case Certificate():
            return given
        case bytes():
            return Certificate.from_bytes(given)
        case _:
            return Certificate.from_wire(given)


def _check_link(certificate: Certificate, issuer: Certificate) -> None:
    if issuer.role is not Role.ISSUER:
        raise CertificateRefused(
            "certificate.role",
            f"`{issuer.subject}` has the role {issuer.role.name} and cannot certify `{certificate.subject}`",
        )
    if certificate.role is Role.ISSUER and certificate.is_self_issued:
        raise CertificateRefused("certificate.chain", f"the root `{certificate.subject}` does not belong in the chain")
    if certificate.issuer != issuer.kid:
        raise CertificateRefused(
            "certificate.issuer", f"`{issuer.subject}` is not the issuer of `{certificate.subject}`"
        )
    if not certificate.is_signed_by(issuer.verify_key):
        raise CertificateRefused(
            "certificate.signature",
            f"the signature of `{issuer.subject}` under `{certificate.subject}` does not verify",
        )
