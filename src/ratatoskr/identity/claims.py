"""What certificates and requests have in common: who they speak of, and the rules for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ratatoskr import v1
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.identity.verify import SIGNATURE_BYTES, KeyRefused, VerifyKey, check_exchange_key, signed_input

VERSION = 1
MAX_CERTIFICATE_BYTES = 4096
"""Longest certificate and longest request."""
MAX_NAMES = 16
MAX_SUBJECT_BYTES = 128
SELF_ISSUED_PREFIX = "self-issued:"
"""How the subject of an unenrolled peer begins; no certificate may claim one that does."""

_SUBJECT = re.compile(rf"[!-~](?:[ -~]{{0,{MAX_SUBJECT_BYTES - 2}}}[!-~])?")
_NAME = re.compile(r"[a-z0-9._:-]{1,255}")

_M = TypeVar("_M", bound=Message)


class Role(IntEnum):
    """What the holder of a certificate may be."""

    ISSUER = 1
    """Issues certificates; never an end of a connection."""
    SERVER = 2
    """The platform's end."""
    DEVICE = 3
    """A buyer's device: a phone, a wallet, a till."""
    PROVIDER = 4
    """A seller's back end."""


_ROLES = frozenset(map(int, Role))


class CertificateRefused(ProtocolFault):
    """A certificate, a request or a chain that is malformed or not trusted. ``rule`` says which rule, for the log."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(Fault.REFUSED, rule, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who a certificate or a request speaks of."""

    role: Role
    subject: str
    """The holder's name: printable ASCII."""
    names: tuple[str, ...] = ()
    """Server names that the holder answers to: lowercase ASCII, only with the role of a server."""
    tenant: str = ""
    """The customer of the platform that the subject belongs to, or nothing."""
    exchange_key: bytes = field(repr=False)
    """X25519, 32 bytes."""
    verify_key: VerifyKey = field(repr=False)
    """Ed25519."""

    @property
    def kid(self) -> bytes:
        """The id of the holder's signing key, 32 bytes."""
        return self.verify_key.kid


def signed_body(label: bytes, body: bytes) -> bytes:
    """What the signature over a body signs."""
    return signed_input(label, sha256(body).digest())


def parse(message: type[_M], encoded: bytes, what: str) -> _M:
    """A message whose only encoding these bytes are; unknown fields are refused."""
    if len(encoded) > MAX_CERTIFICATE_BYTES:
        raise CertificateRefused(
            f"{what}.too_long", f"{len(encoded)} bytes; a {what} has {MAX_CERTIFICATE_BYTES} or less"
        )
    try:
        parsed = message.FromString(encoded)
    except DecodeError:
        raise CertificateRefused(f"{what}.malformed", f"these bytes are no {what}") from None
    parsed.DiscardUnknownFields()
    if parsed.SerializeToString(deterministic=True) != encoded:
        raise CertificateRefused(f"{what}.canonical", f"the {what} is not in its canonical encoding")
    return parsed


def check_holder(body: v1.CertificateBody | v1.CertificateRequestBody, signature: bytes, what: str) -> VerifyKey:
    """The rules that certificates and requests share; gives the signing key."""
    if body.version != VERSION:
        raise CertificateRefused(f"{what}.version", f"version {body.version}; this side reads {VERSION}")
    _check_claims(body.role, body.subject, tuple(body.names), body.tenant, what)
    if len(signature) != SIGNATURE_BYTES:
        raise CertificateRefused(f"{what}.signature", f"a signature has {SIGNATURE_BYTES} bytes")
    try:
        check_exchange_key(body.exchange_key)
        return VerifyKey(body.signing_key)
    except KeyRefused as refused:
        rule = "small_order" if refused.rule == "key.small_order" else "key"
        raise CertificateRefused(f"{what}.{rule}", f"`{body.subject}`: {refused.detail}") from None


def _check_claims(role: int, subject: str, names: tuple[str, ...], tenant: str, what: str) -> None:
    if role not in _ROLES:
        raise CertificateRefused(f"{what}.role", f"{role} is no role")
    if not _SUBJECT.fullmatch(subject) or subject.startswith(SELF_ISSUED_PREFIX):
        raise CertificateRefused(
            f"{what}.subject", f"a subject is 1 to {MAX_SUBJECT_BYTES} printable ASCII characters, not {subject!r:.150}"
        )
    if tenant and not _SUBJECT.fullmatch(tenant):
        raise CertificateRefused(
            f"{what}.tenant",
            f"a tenant is empty or up to {MAX_SUBJECT_BYTES} printable ASCII characters, not {tenant!r:.150}",
        )
    if names and role != Role.SERVER:
        raise CertificateRefused(
            f"{what}.names", f"only a server has names; `{subject}` has the role {Role(role).name}"
        )
    if len(names) > MAX_NAMES or len(set(names)) < len(names) or not all(map(_NAME.fullmatch, names)):
        raise CertificateRefused(
            f"{what}.names", f"a server has at most {MAX_NAMES} different names in lowercase ASCII, without wildcards"
        )


def check_own_claims(role: Role, subject: str, names: Iterable[str], tenant: str) -> tuple[str, ...]:
    """The same rules for what this side writes: breaking them is misuse."""
    names = tuple(names)
    try:
        _check_claims(role, subject, names, tenant, "certificate")
    except CertificateRefused as refused:
        raise LocalProtocolError(refused.detail) from None
    return names
