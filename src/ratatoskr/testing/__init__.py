"""For tests, ours and yours: identities, virtual time, a link with faults, and two connections on it."""

from ratatoskr.testing.authority import Authority
from ratatoskr.testing.clock import Clock, seeded
from ratatoskr.testing.link import Link
from ratatoskr.testing.pair import End, Pair

__all__ = ["Authority", "Clock", "End", "Link", "Pair", "seeded"]
