"""The sandbox as a process that stands still where a test says, until it is killed.

python -m tests.scenarios.recovery.server WHERE PORT
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any
from unittest.mock import patch

from google.protobuf.message import Message

from ratatoskr.service import Call, Next, OncePolicy, Router
from ratatoskr_cli.client import KINDS
from ratatoskr_files import Config
from ratatoskr_sandbox import sandbox_router
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import serve

LOGGER = logging.getLogger(__name__)
DATABASE = "sandbox.sqlite"
POLICY = OncePolicy(lease=3.0)
WHERE = ("nowhere", "claimed", "effect", "unsworn")
"""Not at all; behind the claim; behind the effect, before the commit. Or it declares no recovery."""


def stand_still(router: Router, where: str) -> None:
    """Every handler that runs at most once stands still there."""
    forever, count = asyncio.Event(), iter(range(1, 1000))

    async def stop() -> None:
        LOGGER.warning("stands still: %d", next(count))
        await forever.wait()

    @router.middleware
    async def around(call: Call, message: Message, call_next: Next) -> Message:
        if call.kind.once and where == "claimed":
            await stop()
        answer = await call_next(message)
        if call.kind.once and where == "effect":
            await stop()
        return answer


def swear_nothing() -> None:
    """Handlers are registered without saying how they are recovered."""
    on: Any = Router.on

    def unsworn(*args: Any, recover: Any = None, **options: Any) -> Any:
        return on(*args, **options)

    patch.object(Router, "on", unsworn).start()


async def main(where: str, port: int) -> None:
    logging.basicConfig(level=logging.INFO)
    if where == "unsworn":
        swear_nothing()
    with SqliteStore(DATABASE) as store:
        router = await sandbox_router(store, time.time)
        stand_still(router, where)
        config = Config.load("dev/server.toml", kinds=KINDS)
        async with serve(router, config, port=port, store=store, policy=POLICY) as server:
            await server.serve_forever()


if __name__ == "__main__":
    assert sys.argv[1] in WHERE
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
