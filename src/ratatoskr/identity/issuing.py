"""Issuing: certificates for proven requests, and for oneself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ratatoskr import v1
from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity.certificates import (
    CERTIFICATE_LABEL,
    MAX_MILLISECONDS,
    MAX_PATH_LENGTH,
    SERIAL_BYTES,
    Certificate,
    CertificateRequest,
)
from ratatoskr.identity.claims import VERSION, Holder, Role, check_own_claims, signed_body
from ratatoskr.identity.keys import SecretKeys


class Issuer(Protocol):
    """Who issues: an :class:`~ratatoskr.identity.Identity` whose certificate has the role of an issuer."""

    @property
    def certificate(self) -> Certificate:
        """The issuer's own certificate."""
        ...

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature by the certificate's signing key."""
        ...


def issue(
    issuer: Issuer,
    request: CertificateRequest,
    *,
    role: Role | None = None,
    subject: str | None = None,
    names: Iterable[str] | None = None,
    tenant: str | None = None,
    not_before: float,
    not_after: float,
    entropy: Callable[[int], bytes],
) -> Certificate:
    """Certify the keys of a request.

    ``role``, ``subject``, ``names`` and ``tenant`` replace what was asked for. That somebody may issue in turn is
    never granted by default: say ``role=Role.ISSUER``. Times are in seconds since the epoch; ``entropy`` gives the
    serial. Raises LocalProtocolError where the issuer may not issue this, and :class:`CertificateRefused` where the
    request carries no valid proof of possession.
    """
    proven = CertificateRequest.from_bytes(request.encoded)
    own = issuer.certificate
    if role is None and proven.role is Role.ISSUER:
        raise LocalProtocolError(f"`{proven.subject}` asks to become an issuer: pass role=Role.ISSUER if it may")
    role = proven.role if role is None else role
    if own.role is not Role.ISSUER:
        raise LocalProtocolError(f"`{own.subject}` has the role {own.role.name} and cannot issue certificates")
    if role is Role.ISSUER and own.path_length == 0:
        raise LocalProtocolError(f"`{own.subject}` stands under a root already and cannot certify further issuers")
    return _build(
        issuer.sign,
        own.kid,
        proven,
        role=role,
        subject=proven.subject if subject is None else subject,
        names=proven.names if names is None else names,
        tenant=proven.tenant if tenant is None else tenant,
        not_before=not_before,
        not_after=not_after,
        entropy=entropy,
        path_length=own.path_length - 1 if role is Role.ISSUER else 0,
    )


def self_issue(
    keys: SecretKeys,
    *,
    role: Role,
    subject: str,
    names: Iterable[str] = (),
    tenant: str = "",
    not_before: float,
    not_after: float,
    entropy: Callable[[int], bytes],
) -> Certificate:
    """Certify one's own keys: a root with ``role=Role.ISSUER``, otherwise an end that is not enrolled yet.

    Arguments as of :func:`issue`. Raises LocalProtocolError for what no certificate may say.
    """
    names = tuple(names)
    return _build(
        keys.sign,
        keys.kid,
        CertificateRequest.create(keys, role=role, subject=subject, names=names, tenant=tenant),
        role=role,
        subject=subject,
        names=names,
        tenant=tenant,
        not_before=not_before,
        not_after=not_after,
        entropy=entropy,
        path_length=MAX_PATH_LENGTH if role is Role.ISSUER else 0,
    )


def _build(
    sign: Callable[[bytes], bytes],
    issuer: bytes,
    holder: Holder,
    *,
    role: Role,
    subject: str,
    names: Iterable[str],
    tenant: str,
    not_before: float,
    not_after: float,
    entropy: Callable[[int], bytes],
    path_length: int,
) -> Certificate:
    names = check_own_claims(role, subject, names, tenant)
    before, after = (
        int(time * 1000) if 0 <= time <= MAX_MILLISECONDS / 1000 else -1 for time in (not_before, not_after)
    )
    if not 0 <= before < after:
        raise LocalProtocolError("not_before must lie before not_after, both in seconds since the epoch")
    body = v1.CertificateBody(
        version=VERSION,
        role=v1.Role.ValueType(role),
        subject=subject,
        names=names,
        tenant=tenant,
        exchange_key=holder.exchange_key,
        signing_key=holder.verify_key.public,
        not_before_ms=before,
        not_after_ms=after,
        issuer=issuer,
        serial=entropy(SERIAL_BYTES),
        path_length=path_length,
    ).SerializeToString(deterministic=True)
    signature = sign(signed_body(CERTIFICATE_LABEL, body))
    return Certificate.from_wire(v1.IdentityCertificate(body=body, signature=signature))
