"""The workshop: where handlers run. One for a server with all its connections, one for a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Self

from ratatoskr import Config, LocalProtocolError, ResumableSession
from ratatoskr.service import (
    Calls,
    Courier,
    Directory,
    MemoryStore,
    OncePolicy,
    OnceStore,
    Outbox,
    PeerLink,
    RetryPolicy,
    Router,
    Service,
)
from ratatoskr_websockets.host import LOGGER, AsyncioHost


class Workshop:
    """The service, its upkeep, and the tasks of handlers.

    Handlers that run at most once outlive the connection that asked for them, because their outcome is owed to the
    next one that asks. An ``async with`` block keeps the store in order; at its end no handler is left.
    """

    def __init__(
        self,
        router: Router | None,
        config: Config,
        store: OnceStore | None,
        retry: RetryPolicy,
        directory: Directory[PeerLink] | None = None,
        policy: OncePolicy | None = None,
    ) -> None:
        policy = policy or OncePolicy(retention=config.retention)
        if policy.retention != config.retention:
            raise LocalProtocolError(
                f"policy keeps outcomes for {policy.retention:g} s and the configuration announces "
                f"{config.retention:g} s: say the same in Config.retention"
            )
        self.host = AsyncioHost()
        self._certificate = config.identity.certificate
        self._limits = config.limits
        self._retry = retry
        self._service = Service(
            Router() if router is None else router,
            host=self.host,
            store=MemoryStore() if store is None else store,
            policy=policy,
            directory=directory,
        )
        self._upkeep: asyncio.Task[None]

    def calls(
        self,
        *,
        renew: Callable[[], ResumableSession] | None = None,
        on_rest: Callable[[ResumableSession], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Calls:
        """The calls of one peer, whose handlers run here."""
        return Calls(
            self._service,
            self.host,
            limits=self._limits,
            retry=self._retry,
            renew=renew,
            on_rest=on_rest,
            on_end=on_end,
        )

    def courier(self, outbox: Outbox | None, link: PeerLink) -> AbstractAsyncContextManager[object]:
        """What sends the posts of an outbox over the link, while its block lasts."""
        return nullcontext() if outbox is None else Courier(outbox, link, self.host, self._certificate)

    async def __aenter__(self) -> Self:
        self._upkeep = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for handlers, for up to ``Limits.drain_timeout``; then stop them."""
        try:
            if self.host.tasks:
                await asyncio.wait(self.host.tasks, timeout=self._limits.drain_timeout)
        finally:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, *self.stop(), return_exceptions=True)

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop all handlers. What was to run at most once and was stopped has an unknown outcome."""
        tasks = list(self.host.tasks)
        if tasks:
            LOGGER.warning("handlers stopped before they were done: %d", len(tasks))
        for task in tasks:
            task.cancel()
        return tasks

    async def _keep(self) -> None:
        while True:
            seconds = await self._service.upkeep()
            await asyncio.sleep(seconds)
