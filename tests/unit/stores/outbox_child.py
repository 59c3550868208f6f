"""A link that answers at once, and a process that posts, sends, and stops where a test kills it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.messages import AnyKind
from ratatoskr.service import Courier, Exchange, OutboxStore, Posting
from ratatoskr_stores import SqliteOutbox
from ratatoskr_stores.runtime import AsyncioRuntime
from tests.unit.service.desk import KINDS, VOUCHER
from tests.unit.service.support import DEVICE, SERVER, Link, World, ask, received, say

OWN = DEVICE.certificate


class Loop(World):
    """A host whose tasks are those of the running loop."""

    def __init__(self) -> None:
        super().__init__()
        self.spawn = AsyncioRuntime().spawn  # type: ignore[method-assign, assignment]


class Answering(Link):
    """Answers with what it was asked; ``stop`` is awaited before."""

    def __init__(self, store: OutboxStore | None = None, stop: asyncio.Event | None = None) -> None:
        super().__init__(SERVER)
        self.store = store
        self.stop = stop
        self.states: list[Posting] = []
        """Those of what was asked, in the store."""
        self.options: list[dict[str, Any]] = []

    async def exchange(self, kind: AnyKind, message: Message, **options: Any) -> Exchange[Any]:
        assert isinstance(message, v1.Search)
        self.options.append(options)
        if self.store is not None:
            self.states += [parcel.state for parcel in await self.store.unsettled()]
        if self.stop is not None:
            tell("sent")
            await self.stop.wait()
        answer = say(message.query)
        evidence = received(kind, v1.RatatoskrResponse(payload=answer.SerializeToString()), answer).evidence
        return Exchange(answer, kind, False, evidence)


def tell(state: str) -> None:
    """Tell the test, which kills this process then."""
    sys.stdout.write(f"{state}\n")
    sys.stdout.flush()


async def main(path: str, stop_at: str) -> None:
    never = asyncio.Event()

    async def stop(here: str) -> None:
        if stop_at == here:
            tell(here)
            await never.wait()

    outbox = SqliteOutbox(path, kinds=KINDS)
    await outbox.post(VOUCHER, ask("lamp"))
    await stop("posted")
    async with Courier(outbox, Answering(stop=never if stop_at == "sent" else None), Loop(), OWN):
        seen = outbox.news.count
        while await outbox.pending():
            await outbox.news.wait(seen, 1.0)
            seen = outbox.news.count
        await stop("settled")
        async for settled in outbox.outcomes():
            await stop("told")
            await settled.done()
            await stop("done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
