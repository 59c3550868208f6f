"""Config: everything that a connection is told, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ratatoskr.channel import XXHFS_AESGCM, Suite
from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity import Identity, TrustPolicy
from ratatoskr.limits import Limits
from ratatoskr.messages import KindRegistry
from ratatoskr.messages.standard import STANDARD_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Who this side is, whom it trusts, what it speaks.

    ``entropy(n)`` returns n unpredictable bytes: ``os.urandom`` in production, a seeded source in a simulation.
    """

    identity: Identity
    trust: TrustPolicy
    entropy: Callable[[int], bytes]
    kinds: KindRegistry = STANDARD_KINDS
    limits: Limits = field(default_factory=Limits)
    suites: tuple[Suite, ...] = (XXHFS_AESGCM,)
    """Cipher suites, best first. A client offers the first; a server takes any of them."""
    token: bytes = field(default=b"", repr=False)
    """A client's credential for the server's application."""
    retention: float = 7 * 24 * 3600.0
    """How long a server keeps outcomes of at-most-once requests, in seconds; announced to clients."""

    def __post_init__(self) -> None:
        if not self.suites:
            raise LocalProtocolError(
                "Config.suites is empty: name at least one, such as ratatoskr.channel.XXHFS_AESGCM"
            )
