"""Config: everything that a connection is told, in one place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ratatoskr.channel import XXHFS_AESGCM, Suite
from ratatoskr.errors import LocalProtocolError
from ratatoskr.identity import Identity, TrustPolicy
from ratatoskr.limits import MAX_SESSION_TIMEOUT, Limits
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

    session_timeout: float = 0.0
    """How long this side keeps a session whose transport is lost, in seconds; the smaller one of both sides counts.
    With 0 a session ends with its transport."""

    def __post_init__(self) -> None:
        if not 0 <= self.session_timeout <= MAX_SESSION_TIMEOUT:
            raise LocalProtocolError(
                f"Config.session_timeout is {self.session_timeout} s; it must be 0 or more, "
                f"and at most {MAX_SESSION_TIMEOUT:.0f}, a week"
            )
        if not self.suites:
            raise LocalProtocolError(
                "Config.suites is empty: name at least one, such as ratatoskr.channel.XXHFS_AESGCM"
            )
