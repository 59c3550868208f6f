"""For tests, ours and yours: identities, virtual time, two connections on a link with faults, handlers in memory.

With pytest the fixtures ``ratatoskr_authority`` and ``ratatoskr_pair`` are there as soon as the package is installed.
"""

from ratatoskr.testing.authority import Authority
from ratatoskr.testing.clock import Clock, seeded
from ratatoskr.testing.link import Link
from ratatoskr.testing.local import LocalClient, local_client, run
from ratatoskr.testing.pair import End, Pair
from ratatoskr.testing.tasks import Stopped

__all__ = ["Authority", "Clock", "End", "Link", "LocalClient", "Pair", "Stopped", "local_client", "run", "seeded"]
