"""An identity: secret keys, and the certificates that say whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from ratatoskr import v1
from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity.armour import CERTIFICATE, SECRET_KEYS, Block, armour, dearmour
from ratatoskr.identity.certificates import Certificate
from ratatoskr.identity.claims import CertificateRefused, Role
from ratatoskr.identity.issuing import self_issue
from ratatoskr.identity.keys import SECRET_BYTES, SecretKeys
from ratatoskr.identity.trust import MAX_CHAIN, utc


@dataclass(frozen=True, slots=True)
class Identity:
    """Secret keys with their certificate chain.

    ``chain`` is what a peer is shown: the certificate of these keys, then the issuer between it and the root where
    there is one. Raises LocalProtocolError where the first certificate is not for these keys.
    """

    keys: SecretKeys
    chain: tuple[Certificate, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.chain) <= MAX_CHAIN:
            raise LocalProtocolError(f"an identity has 1 to {MAX_CHAIN} certificates, not {len(self.chain)}")
        own = self.certificate
        if (own.exchange_key, own.verify_key.public) != self.keys.public:
            raise LocalProtocolError(f"the certificate of `{own.subject}` is for other keys than these")
        if len(self.chain) > 1 and self.chain[1].kid != own.issuer:
            raise LocalProtocolError(f"`{self.chain[1].subject}` is not the issuer of `{own.subject}`")

    @classmethod
    def self_issued(
        cls,
        entropy: Callable[[int], bytes],
        *,
        role: Role,
        subject: str,
        names: Iterable[str] = (),
        tenant: str = "",
        not_before: float,
        not_after: float,
    ) -> Self:
        """New keys with a certificate of their own making, valid between two times in seconds since the epoch.

        With ``role=Role.ISSUER`` this is a root. Otherwise it is somebody who is not enrolled yet: he is believed
        where he is pinned, and a provider where a policy lets unenrolled providers in.
        """
        keys = SecretKeys(entropy(SECRET_BYTES))
        certificate = self_issue(
            keys,
            role=role,
            subject=subject,
            names=names,
            tenant=tenant,
            not_before=not_before,
            not_after=not_after,
            entropy=entropy,
        )
        return cls(keys, (certificate,))

    @property
    def certificate(self) -> Certificate:
        """The certificate of these keys."""
        return self.chain[0]

    @property
    def kid(self) -> bytes:
        """The id of the signing key, 32 bytes."""
        return self.keys.kid

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature, 64 bytes, over what :func:`~ratatoskr.identity.signed_input` made."""
        return self.keys.sign(message)

    def wire_chain(self) -> list[v1.IdentityCertificate]:
        """The chain as messages of the wire."""
        return [certificate.to_wire() for certificate in self.chain]

    def chain_for(self, issued: Certificate) -> tuple[Certificate, ...]:
        """The chain to hand out with a certificate that this identity issued: a root shows itself to nobody."""
        return (issued,) if self.certificate.is_self_issued else (issued, self.certificate)

    def to_bytes(self) -> bytes:
        """Keys and chain as text. Whoever reads it is this identity."""
        own = self.certificate
        return armour(
            [Block(SECRET_KEYS, self.keys.to_bytes()), *(Block(CERTIFICATE, each.to_bytes()) for each in self.chain)],
            f"Ratatoskr identity: `{own.subject}`, {own.role.name}, until {utc(own.not_after_ms)}. Keep it secret.",
        )

    @classmethod
    def from_bytes(cls, text: bytes) -> Self:
        """Read what :meth:`to_bytes` wrote. Any bytes give an identity or raise :class:`CertificateRefused`."""
        blocks = dearmour(text)
        if [block.label for block in blocks[:2]] != [SECRET_KEYS, CERTIFICATE]:
            raise CertificateRefused("identity", "an identity is a block of secret keys, then its certificates")
        if any(block.label != CERTIFICATE for block in blocks[2:]):
            raise CertificateRefused("identity", "only certificates may follow the secret keys of an identity")
        try:
            keys = SecretKeys.from_bytes(blocks[0].data)
            return cls(keys, tuple(Certificate.from_bytes(block.data) for block in blocks[1:]))
        except LocalProtocolError as misfit:
            raise CertificateRefused("identity", str(misfit)) from None
