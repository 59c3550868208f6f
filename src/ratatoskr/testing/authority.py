"""Authority: issues identities for tests, as trustme does for TLS. Nothing of it is for production."""

from __future__ import annotations

from collections.abc import Callable

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
        self._entropy = seeded(f"authority {seed}")
        self._now = now
        self.root = Identity.self_issued(
            self._entropy, role=Role.ISSUER, subject="Test root", not_before=now - 3600, not_after=now + VALIDITY
        )
        self.trust = TrustPolicy(roots={self.root.certificate})
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
        keys = SecretKeys.generate(self._entropy)
        certificate = issue(
            self.root,
            CertificateRequest.create(keys, role=role, subject=subject, names=names, tenant=tenant),
            not_before=self._now - 3600 if not_before is None else not_before,
            not_after=self._now + VALIDITY if not_after is None else not_after,
            entropy=self._entropy,
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
        entropy: Callable[[int], bytes] | None = None,
        kinds: KindRegistry = STANDARD_KINDS,
        limits: Limits | None = None,
        token: bytes = b"",
    ) -> Config:
        """A client's configuration: a device, unless another identity is given."""
        return Config(
            identity=identity or self.device(),
            trust=self.trust,
            entropy=entropy or self._entropy,
            kinds=kinds,
            limits=limits or Limits(),
            token=token,
        )

    def server_config(
        self,
        *names: str,
        entropy: Callable[[int], bytes] | None = None,
        kinds: KindRegistry = STANDARD_KINDS,
        limits: Limits | None = None,
    ) -> Config:
        """A server's configuration, for these names or ``yggdrasil.test``."""
        return Config(
            identity=self.server(*(names or (SERVER_NAME,))),
            trust=self.trust,
            entropy=entropy or self._entropy,
            kinds=kinds,
            limits=limits or Limits(),
        )
