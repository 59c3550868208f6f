"""The example's server with one bug: what the test of the rolling restart must see.

python -m tests.scenarios.drain.planted BUG PORT
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from unittest.mock import patch

from examples.rolling_restart import server as example
from ratatoskr import v1
from ratatoskr.session.draining import Draining
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import Server


def silent() -> None:
    """Whoever drains does not say so."""
    controls = Draining.controls

    def without_go_away(draining: Draining, quiet: bool) -> list[v1.Control]:
        return [each for each in controls(draining, quiet) if not each.HasField("go_away")]

    patch.object(Draining, "controls", without_go_away).start()


def impatient() -> None:
    """Draining stops the handlers."""
    close = Server.close

    async def close_and_stop(server: Server, *, drain: bool = True) -> None:
        server._reception.stop()
        await close(server, drain=drain)

    patch.object(Server, "close", close_and_stop).start()


def alone() -> None:
    """Each server keeps outcomes for itself."""
    patch.object(example, "SqliteStore", lambda path: SqliteStore(f"{sys.argv[2]}-{path}")).start()


BUGS: dict[str, Callable[[], None]] = {bug.__name__: bug for bug in (silent, impatient, alone)}

if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    asyncio.run(example.main(int(sys.argv[2])))
