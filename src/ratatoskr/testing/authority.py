"""Authority: issues identities for tests, as trustme does for TLS. Nothing of it is for production."""

from __future__ import annotations

from collections.abc import Callable

from ratatoskr.channel import XXHFS_AESGCM, Suite
from ratatoskr.config import Config
from ratatoskr.identity import CertificateRequest, Identity, Role, SecretKeys, TrustPolicy, issue
from ratatoskr.limits import Limits
from ratatoskr.messages import KindRegistry
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.testing.clock import START, seeded

SERVER_NAME = "yggdrasil.test"
"""Who the server is, unless a test says otherwise."""
VALIDITY = 7 * 24 * 3600.0
"""Identities are valid for so many seconds, from an hour before the clock's start."""


class Authority:
    """A root of its own, and identities under it. The same seed makes the same keys."""

    def __init__(self, seed: int | str = 0, *, now: float = START) -> None:
        self.entropy: Callable[[int], bytes] = seeded(f"authority {seed}")
        """Where its keys come from, and what its configurations draw from."""
        self._now = now
        self.root: Identity = Identity.self_issued(
            self.entropy, role=Role.ISSUER, subject="Test root", not_before=now - 3600, not_after=now + VALIDITY
        )
        self.trust: TrustPolicy = TrustPolicy(roots={self.root.certificate})
        """A policy that believes this authority alone."""

    def issue(
        self,
        role: Role,
        subject: str,
        *,
        names: tuple[str, ...] = (),
        tenant: str = "",
        not_before: float | None = None,
        not_after: float | None = None,
    ) -> Identity:
        """New keys, certified. Times in seconds since the epoch."""
        keys = SecretKeys.generate(self.entropy)
        certificate = issue(
            self.root,
            CertificateRequest.create(keys, role=role, subject=subject, names=names, tenant=tenant),
            not_before=self._now - 3600 if not_before is None else not_before,
            not_after=self._now + VALIDITY if not_after is None else not_after,
            entropy=self.entropy,
        )
        return Identity(keys, self.root.chain_for(certificate))

    def server(self, *names: str) -> Identity:
        """A server that proves these names."""
        return self.issue(Role.SERVER, names[0], names=names)

    def device(self, subject: str = "device-1") -> Identity:
        """A buyer's device."""
        return self.issue(Role.DEVICE, subject)

    def provider(self, subject: str = "provider-1") -> Identity:
        """A seller's back end."""
        return self.issue(Role.PROVIDER, subject)

    def client_config(
        self,
        identity: Identity | None = None,
        *,
        trust: TrustPolicy | None = None,
        entropy: Callable[[int], bytes] | None = None,
        kinds: KindRegistry = STANDARD_KINDS,
        limits: Limits | None = None,
        suites: tuple[Suite, ...] = (XXHFS_AESGCM,),
        token: bytes = b"",
        session_timeout: float = 0.0,
    ) -> Config:
        """A client's configuration: a new device that believes this authority, unless told otherwise."""
        return Config(
            identity=identity or self.device(),
            trust=trust or self.trust,
            entropy=entropy or self.entropy,
            kinds=kinds,
            limits=limits or Limits(),
            suites=suites,
            token=token,
            session_timeout=session_timeout,
        )

    def server_config(
        self,
        *names: str,
        identity: Identity | None = None,
        trust: TrustPolicy | None = None,
        entropy: Callable[[int], bytes] | None = None,
        kinds: KindRegistry = STANDARD_KINDS,
        limits: Limits | None = None,
        suites: tuple[Suite, ...] = (XXHFS_AESGCM,),
        session_timeout: float = 0.0,
    ) -> Config:
        """A server's configuration: a new identity for these names, or ``yggdrasil.test``, by default."""
        return Config(
            identity=identity or self.server(*(names or (SERVER_NAME,))),
            trust=trust or self.trust,
            entropy=entropy or self.entropy,
            kinds=kinds,
            limits=limits or Limits(),
            suites=suites,
            session_timeout=session_timeout,
        )
