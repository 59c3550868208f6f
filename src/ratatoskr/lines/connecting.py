"""Connecting: the block of ``connect``, whatever the runtime and the transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ratatoskr.errors import LocalProtocolError
from ratatoskr.lines.clients import Client, Dialer, LastingClient
from ratatoskr.lines.peer import Peer
from ratatoskr.lines.runtime import Runtime
from ratatoskr.lines.workshop import Workshop
from ratatoskr.service import OnceStore, Outbox, Redial, RetryPolicy, Router


@asynccontextmanager
async def connected(
    dialers: Sequence[Dialer],
    runtime: Runtime,
    *,
    router: Router | None,
    store: OnceStore | None,
    retry: RetryPolicy,
    redial: Redial | None,
    outbox: Outbox | None,
) -> AsyncIterator[Peer]:
    """The peer of a server, or of servers that take turns where ``redial`` is given. At the end of the block open calls
    complete and the connection is closed; an exception abandons it at once.

    Raises ConnectFailed, LocalProtocolError for misuse.
    """
    if not dialers or (redial is None and len(dialers) > 1):
        raise LocalProtocolError(f"{len(dialers)} URLs: name one server, or several together with redial=")
    async with Workshop(router, dialers[0].config, store, retry, runtime) as workshop:
        client = Client(dialers[0], workshop) if redial is None else LastingClient(dialers, workshop, redial)
        try:
            async with workshop.courier(outbox, client.calls):
                peer = await client.open()
                yield peer
                await peer.close()
        finally:
            await client.end()
