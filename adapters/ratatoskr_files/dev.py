"""Identities for development: everything that a first program needs, valid for a week, and never for production."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import ratatoskr
from ratatoskr import CertificateRequest, Role, SecretKeys, TrustPolicy, issue
from ratatoskr_files.disk import FileRefused, create
from ratatoskr_files.identity import Identity
from ratatoskr_files.trust import certificates_text

DEV_TENANT = "DEV"
"""The tenant of every certificate that :func:`dev_init` makes."""
DEV_ROOT = "DEV root"
VALIDITY = 7 * 86_400.0
"""Seconds."""
CLOCK_SKEW = 300.0
"""How long before now the certificates begin, in seconds: other machines' clocks may be late."""
URL = "ws://localhost:8765"


@dataclass(frozen=True, slots=True)
class DevFiles:
    """What :func:`dev_init` wrote."""

    directory: Path

    @property
    def server(self) -> Path:
        """The server's configuration."""
        return self.directory / "server.toml"

    @property
    def device(self) -> Path:
        """The configuration of the device ``device-1``."""
        return self.directory / "device.toml"

    @property
    def provider(self) -> Path:
        """The configuration of the provider ``provider-1``."""
        return self.directory / "provider.toml"

    @property
    def root(self) -> Path:
        """The identity of the root, which issues further certificates."""
        return self.directory / "root.key"

    @property
    def roots(self) -> Path:
        """The root's certificate, as the configurations trust it."""
        return self.directory / "roots.pem"

    @property
    def identities(self) -> tuple[Path, ...]:
        """The identities of server, device and provider."""
        return tuple(each.with_suffix(".key") for each in (self.server, self.device, self.provider))

    def __iter__(self) -> Iterator[Path]:
        """Every file, the configurations last."""
        return iter((self.root, self.roots, *self.identities, self.server, self.device, self.provider))


def dev_init(
    directory: str | PathLike[str],
    *,
    server_names: Iterable[str] = ("localhost",),
    exist_ok: bool = False,
    now: float,
    url: str = URL,
) -> DevFiles:
    """Make a root, a server, the device ``device-1`` and the provider ``provider-1``, with a configuration for each.

    The certificates are valid for seven days from ``now``, in seconds since the epoch. With ``exist_ok`` a complete
    set that is still valid stays as it is. Raises FileRefused where a file exists that may not stay.
    """
    files = DevFiles(Path(directory))
    files.directory.mkdir(parents=True, exist_ok=True)
    existing = [path for path in files if path.exists()]
    if existing:
        _check_existing(files, existing, exist_ok=exist_ok, now=now)
        return files
    names = tuple(server_names)
    begin, end = now - CLOCK_SKEW, now + VALIDITY
    root = Identity.self_issued(
        os.urandom, role=Role.ISSUER, subject=DEV_ROOT, tenant=DEV_TENANT, not_before=begin, not_after=end
    )
    root.save(files.root)
    create(files.roots, certificates_text(root.chain, f"Ratatoskr roots: `{DEV_ROOT}`, for development only"))
    ends = (
        (files.server, Role.SERVER, names[0], names),
        (files.device, Role.DEVICE, "device-1", ()),
        (files.provider, Role.PROVIDER, "provider-1", ()),
    )
    for path, role, subject, own_names in ends:
        keys = SecretKeys.generate(os.urandom)
        request = CertificateRequest.create(keys, role=role, subject=subject, names=own_names, tenant=DEV_TENANT)
        certificate = issue(root, request, not_before=begin, not_after=end, entropy=os.urandom)
        Identity(keys, root.chain_for(certificate)).save(path.with_suffix(".key"))
    for path, role, *_ in ends:
        create(path, _config_text(path, None if role is Role.SERVER else (names[0], url)))
    return files


def is_dev(identity: ratatoskr.Identity, trust: TrustPolicy | None = None) -> bool:
    """Whether this identity, or one of the roots of ``trust``, was made by :func:`dev_init`.

    Whoever serves refuses to do so with such an identity for other machines, unless he was told to.
    """
    certificates = (*identity.chain, *(trust.roots if trust is not None else ()))
    return any(each.tenant == DEV_TENANT or each.subject == DEV_ROOT for each in certificates)


def _check_existing(files: DevFiles, existing: list[Path], *, exist_ok: bool, now: float) -> None:
    if not exist_ok:
        raise FileRefused(existing[0], "exists already and is not overwritten; choose another directory")
    missing = [path.name for path in files if path not in existing]
    if missing:
        raise FileRefused(files.directory, f"is incomplete: {', '.join(missing)} missing. Remove it, and start anew")
    for path in files.identities:
        if Identity.load(path).certificate.not_after_ms <= now * 1000:
            raise FileRefused(path, f"has expired. Remove {files.directory}, and start anew")


def _config_text(path: Path, client: tuple[str, str] | None) -> bytes:
    lines = ["# For development only: made by `ratatoskr dev init`.", f'identity = "{path.stem}.key"']
    if client is not None:
        lines += [f"server_name = {json.dumps(client[0])}", f"url = {json.dumps(client[1])}"]
    lines += ["dev = true", "", "[trust]", 'roots = "roots.pem"', ""]
    return "\n".join(lines).encode()
