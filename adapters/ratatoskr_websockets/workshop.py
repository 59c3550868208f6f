"""The workshop: where handlers run. One for a server with all its connections, one for a client."""

from __future__ import annotations

import asyncio
from typing import Self

from ratatoskr import Config, RequestReceived
from ratatoskr.service import Job, MemoryStore, OncePolicy, OnceStore, PeerLink, Router, Service
from ratatoskr_websockets.host import LOGGER, AsyncioHost


class Workshop:
    """The service, its upkeep, and the tasks of handlers.

    Handlers that run at most once outlive the connection that asked for them, because their outcome is owed to the
    next one that asks. An ``async with`` block keeps the store in order; at its end no handler is left.
    """

    def __init__(self, router: Router | None, config: Config, store: OnceStore | None) -> None:
        self.host = AsyncioHost()
        self._service = Service(
            Router() if router is None else router,
            host=self.host,
            store=MemoryStore() if store is None else store,
            policy=OncePolicy(retention=config.retention),
        )
        self._patience = config.limits.drain_timeout
        self._tasks: set[asyncio.Task[None]] = set()
        self._upkeep: asyncio.Task[None]

    def start(self, link: PeerLink, event: RequestReceived) -> tuple[Job, asyncio.Task[None]]:
        """Run the handler of a request in a task of its own."""
        job = self._service.job(link, event)
        task = asyncio.create_task(job.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job, task

    async def __aenter__(self) -> Self:
        self._upkeep = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for handlers, for up to ``Limits.drain_timeout``; then stop them."""
        try:
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=self._patience)
        finally:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, *self.stop(), return_exceptions=True)

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop all handlers. What was to run at most once and was stopped has an unknown outcome."""
        tasks = list(self._tasks)
        if tasks:
            LOGGER.warning("handlers stopped before they were done: %d", len(tasks))
        for task in tasks:
            task.cancel()
        return tasks

    async def _keep(self) -> None:
        while True:
            seconds = await self._service.upkeep()
            await asyncio.sleep(seconds)
