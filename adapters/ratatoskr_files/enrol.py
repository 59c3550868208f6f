"""Getting a certificate: keys and a request on the device, a certificate from the issuer, and nobody copies a secret.

Each function is one step, from files to a file; no step overwrites one::

    create_keys("shop.key")                                              on the device
    request_certificate("shop.key", "shop.request", role=Role.PROVIDER, subject="shop-7")
    issue_certificate("issuer.key", "shop.request", "shop.pem", …)       at the issuer
    install_certificate("shop.key", "shop.pem", "shop.identity.key")     on the device
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from ratatoskr import Certificate, CertificateRequest, Role, SecretKeys, armour, dearmour, issue
from ratatoskr import identity as ids
from ratatoskr_files.disk import FileRefused, create, create_private, read, refusals_of
from ratatoskr_files.identity import Identity, load_keys
from ratatoskr_files.trust import certificates_text, load_certificates


def create_keys(path: str | PathLike[str]) -> SecretKeys:
    """New secret keys, in a new file that only its owner may read."""
    keys = SecretKeys.generate(os.urandom)
    comment = f"Ratatoskr keys: kid {keys.kid.hex()}. Keep them secret."
    create_private(Path(path), armour([ids.Block(ids.SECRET_KEYS, keys.to_bytes())], comment))
    return keys


def request_certificate(
    keys: str | PathLike[str],
    out: str | PathLike[str],
    *,
    role: Role,
    subject: str,
    names: Iterable[str] = (),
    tenant: str = "",
) -> CertificateRequest:
    """Ask for a certificate for the keys of a file: the request, in a new file to give to the issuer."""
    request = CertificateRequest.create(load_keys(keys), role=role, subject=subject, names=names, tenant=tenant)
    comment = f"Ratatoskr certificate request: `{subject}`, {role.name}"
    create(Path(out), armour([ids.Block(ids.REQUEST, request.to_bytes())], comment))
    return request


def load_request(path: str | PathLike[str]) -> CertificateRequest:
    """The request of a file, its proof verified."""
    path = Path(path)
    text = read(path)
    with refusals_of(path):
        blocks = dearmour(text)
        if [block.label for block in blocks] != [ids.REQUEST]:
            raise FileRefused(path, "must hold one certificate request, and nothing else")
        return CertificateRequest.from_bytes(blocks[0].data)


def issue_certificate(
    issuer: str | PathLike[str],
    request: str | PathLike[str],
    out: str | PathLike[str],
    *,
    not_before: float,
    not_after: float,
    role: Role | None = None,
    subject: str | None = None,
    names: Iterable[str] | None = None,
    tenant: str | None = None,
) -> Certificate:
    """Certify what a request asks for, or what is given instead: the chain, in a new file to give back.

    Arguments and errors as of :func:`ratatoskr.issue`.
    """
    identity = Identity.load(issuer)
    certificate = issue(
        identity,
        load_request(request),
        role=role,
        subject=subject,
        names=names,
        tenant=tenant,
        not_before=not_before,
        not_after=not_after,
        entropy=os.urandom,
    )
    comment = f"Ratatoskr certificate: `{certificate.subject}`, {certificate.role.name}"
    create(Path(out), certificates_text(identity.chain_for(certificate), comment))
    return certificate


def install_certificate(keys: str | PathLike[str], chain: str | PathLike[str], out: str | PathLike[str]) -> Identity:
    """Put keys and the chain that was issued for them together: an identity, in a new file."""
    secret, certificates = load_keys(keys), load_certificates(chain)
    with refusals_of(Path(chain)):
        identity = Identity(secret, certificates)
    identity.save(out)
    return identity


def describe(holder: ids.Holder) -> list[tuple[str, str]]:
    """A certificate or a request for people: what is said, and how it reads."""
    rows = [("role", holder.role.name), ("subject", holder.subject)]
    rows += [("name", name) for name in holder.names]
    if holder.tenant:
        rows.append(("tenant", holder.tenant))
    if isinstance(holder, Certificate):
        rows += [
            ("valid from", ids.utc(holder.not_before_ms)),
            ("valid until", ids.utc(holder.not_after_ms)),
            ("issuer", "itself" if holder.is_self_issued else holder.issuer.hex()),
            ("serial", holder.serial.hex()),
            ("fingerprint", holder.fingerprint.hex()),
        ]
    return [*rows, ("kid", holder.kid.hex())]


def show(path: str | PathLike[str]) -> list[list[tuple[str, str]]]:
    """What a file of this package holds, block by block, without its secrets."""
    path = Path(path)
    shown: list[list[tuple[str, str]]] = []
    text = read(path)
    with refusals_of(path):
        for label, data in dearmour(text):
            match label:
                case ids.CERTIFICATE:
                    rows = describe(Certificate.from_bytes(data))
                case ids.REQUEST:
                    rows = describe(CertificateRequest.from_bytes(data))
                case ids.SECRET_KEYS:
                    rows = [("kid", SecretKeys.from_bytes(data).kid.hex())]
                case _:
                    raise FileRefused(path, f"holds a block of an unknown kind, {label}")
            shown.append([("block", label.lower()), *rows])
    return shown
