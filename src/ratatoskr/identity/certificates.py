"""Certificates, the requests that lead to them, and issuing.

A certificate is the exact bytes of a body and a signature over them; nobody re-encodes a body to verify it::

    certificate signature = Sign(issuer, 64 spaces ‖ "ratatoskr-v1 certificate" ‖ 00 ‖ SHA256(body))
    request signature     = Sign(asker,  64 spaces ‖ "ratatoskr-v1 enrol" ‖ 00 ‖ SHA256(body))

Parsing is strict: one value has one encoding, and any other bytes raise :class:`CertificateRefused`. Parsing says
nothing about trust; :class:`~ratatoskr.identity.trust.TrustPolicy` does.

An issuer certifies a key only against a request that this key signed. Otherwise someone could have a victim's key
certified under his own name, and present the victim's receipts as his own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Self

from ratatoskr import v1
from ratatoskr.identity.claims import (
    VERSION,
    CertificateRefused,
    Holder,
    Role,
    check_holder,
    check_own_claims,
    parse,
    signed_body,
)
from ratatoskr.identity.keys import SecretKeys
from ratatoskr.identity.verify import VerifyKey

CERTIFICATE_LABEL = b"ratatoskr-v1 certificate"
REQUEST_LABEL = b"ratatoskr-v1 enrol"
MAX_PATH_LENGTH = 1
"""A root may stand over one more issuer, and no deeper."""
MAX_MILLISECONDS = 253_402_300_799_999
"""The last moment of the year 9999."""
SERIAL_BYTES = 16
KID_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate(Holder):
    """A well-formed certificate. Equal to another with the same bytes; made by :meth:`from_bytes` alone."""

    encoded: bytes = field(repr=False)
    """The exact bytes of the ``IdentityCertificate``."""
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    not_before_ms: int
    """First valid moment, milliseconds since the epoch."""
    not_after_ms: int
    """First moment that is no longer valid, milliseconds since the epoch."""
    issuer: bytes
    """The id of the issuer's signing key, 32 bytes."""
    serial: bytes
    """16 bytes, unique with the issuer."""
    path_length: int
    """How many more issuers may stand between this issuer and an end; 0 for who is not one."""

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Self:
        """Parse strictly. Any bytes give a certificate or raise :class:`CertificateRefused`."""
        outer = parse(v1.IdentityCertificate, encoded, "certificate")
        body = parse(v1.CertificateBody, outer.body, "certificate")
        verify_key = check_holder(body, outer.signature, "certificate")
        role = Role(body.role)
        if not body.not_before_ms < body.not_after_ms <= MAX_MILLISECONDS:
            raise CertificateRefused("certificate.validity", "the certificate ends before it begins, or never")
        if len(body.issuer) != KID_BYTES:
            raise CertificateRefused("certificate.issuer", f"the id of an issuer has {KID_BYTES} bytes")
        if len(body.serial) != SERIAL_BYTES:
            raise CertificateRefused("certificate.serial", f"a serial has {SERIAL_BYTES} bytes")
        if body.path_length > (MAX_PATH_LENGTH if role is Role.ISSUER else 0):
            raise CertificateRefused("certificate.path_length", "more issuers may follow than the role allows")
        return cls(
            role=role,
            subject=body.subject,
            names=tuple(body.names),
            tenant=body.tenant,
            exchange_key=body.exchange_key,
            verify_key=verify_key,
            encoded=bytes(encoded),
            body=outer.body,
            signature=outer.signature,
            not_before_ms=body.not_before_ms,
            not_after_ms=body.not_after_ms,
            issuer=body.issuer,
            serial=body.serial,
            path_length=body.path_length,
        )

    @classmethod
    def from_wire(cls, message: v1.IdentityCertificate) -> Self:
        """The certificate in a message of the wire, under the rules of :meth:`from_bytes`."""
        return cls.from_bytes(message.SerializeToString(deterministic=True))

    def to_bytes(self) -> bytes:
        """The exact bytes that it was parsed from."""
        return self.encoded

    def to_wire(self) -> v1.IdentityCertificate:
        """The certificate as a message of the wire."""
        return v1.IdentityCertificate(body=self.body, signature=self.signature)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the exact bytes, what a pin names."""
        return sha256(self.encoded).digest()

    @property
    def is_self_issued(self) -> bool:
        """Whether the holder claims to be its own issuer, as roots do."""
        return self.issuer == self.kid

    def is_signed_by(self, issuer: VerifyKey) -> bool:
        """Whether this names ``issuer`` as its issuer and carries its signature."""
        return self.issuer == issuer.kid and issuer.verify(self.signature, signed_body(CERTIFICATE_LABEL, self.body))

    def __eq__(self, other: object) -> bool:
        return self.encoded == other.encoded if isinstance(other, Certificate) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.encoded)

    def __repr__(self) -> str:
        return f"<Certificate {self.role.name} {self.subject!r} serial={self.serial.hex()}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest(Holder):
    """What somebody would like to be certified, with the proof that he holds the signing key."""

    encoded: bytes = field(repr=False)
    """The exact bytes of the ``CertificateRequest``."""

    @classmethod
    def create(cls, keys: SecretKeys, *, role: Role, subject: str, names: Iterable[str] = (), tenant: str = "") -> Self:
        """Ask for a certificate for these keys. Raises LocalProtocolError for what no certificate may say."""
        names = check_own_claims(role, subject, names, tenant)
        body = v1.CertificateRequestBody(
            version=VERSION,
            role=v1.Role.ValueType(role),
            subject=subject,
            names=names,
            tenant=tenant,
            exchange_key=keys.public.exchange_key,
            signing_key=keys.public.signing_key,
        ).SerializeToString(deterministic=True)
        signature = keys.sign(signed_body(REQUEST_LABEL, body))
        return cls.from_bytes(
            v1.CertificateRequest(body=body, signature=signature).SerializeToString(deterministic=True)
        )

    @classmethod
    def from_bytes(cls, encoded: bytes) -> Self:
        """Parse strictly and verify the proof. Any bytes give a request or raise :class:`CertificateRefused`."""
        outer = parse(v1.CertificateRequest, encoded, "request")
        body = parse(v1.CertificateRequestBody, outer.body, "request")
        verify_key = check_holder(body, outer.signature, "request")
        if not verify_key.verify(outer.signature, signed_body(REQUEST_LABEL, outer.body)):
            raise CertificateRefused("request.signature", "the request is not signed by the key that it names")
        return cls(
            role=Role(body.role),
            subject=body.subject,
            names=tuple(body.names),
            tenant=body.tenant,
            exchange_key=body.exchange_key,
            verify_key=verify_key,
            encoded=bytes(encoded),
        )

    def to_bytes(self) -> bytes:
        """The exact bytes that it was parsed from."""
        return self.encoded
