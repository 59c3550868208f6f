"""What is left of calls at both ends of a connection, and of clients at a server; waiting until that is nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ratatoskr_websockets import Peer, Server

SECONDS = 20.0
"""Nothing takes that long, unless it never comes."""


class Recording(dict[object, Any]):
    """A table of tasks that counts all that were ever in it, and did not end at once."""

    added = 0

    def __setitem__(self, token: object, task: Any, /) -> None:
        self.added += task is not None
        super().__setitem__(token, task)


async def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Let the loop turn until that holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - there is nothing to wait for but turns
            await asyncio.sleep(0)


async def turns(count: int) -> None:
    """Let the loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcome(call: asyncio.Task[Any]) -> Any:
    """What a call came to: its answer, or its exception."""
    return (await asyncio.gather(call, return_exceptions=True))[0]


async def lost(peer: Peer) -> None:
    """Wait until it has no line."""
    await until(lambda: not peer.connected)


def left(peer: Peer) -> dict[str, int]:
    """What one end still has to do with calls, by name."""
    calls = peer._calls
    handlers = calls._handlers
    counts = {
        "tasks": len(calls._asker.host.tasks),  # type: ignore[attr-defined]
        "pending": len(calls._asker.pending),
        "arrived": len(handlers._arrived),
        "running": len(handlers._running),
        "wishes": len(handlers._wishes),
        "rooms": len(handlers._rooms),
    }
    if peer.closed is None:
        counts |= _of_the_session(peer)
    return {name: count for name, count in counts.items() if count}


def _of_the_session(peer: Peer) -> dict[str, int]:
    session = peer._line.connection._session
    streams = session._sender.streams
    return {
        "asked": session._asking.calls.in_flight,
        "answered": session._answering.calls.open,
        "streams": len(streams),
        "blocked": len(streams._blocked),
        "bytes": streams._bytes,
        "cancels": len(session._asking._cancels),
        "grants": len(session._asking._grants),
    }


def kept(server: Server) -> dict[str, int]:
    """What a server still knows of clients, by name: nothing, once it has ended."""
    if not hasattr(server, "_reception"):
        return {}  # it was never entered
    presence = server._reception.presence
    table = presence._sessions
    counts = {
        "lines": len(server._reception._lines),
        "handshakes": len(server._gate._pending),
        "addresses": len(server._gate._addresses),
        "identities": len(server._reception.quota._counts),
        "peers": len(presence._present),
        "names": len(presence._directory._present),
        "kept": len(presence._kept),
        "sessions": len(table),
        "waiting": len(table.waiting()),
        "of identities": len(table._of_identity),
        "bytes": table._all_bytes + len(table._bytes),
    }
    return {name: count for name, count in counts.items() if count}


async def at_rest(*peers: Peer) -> None:
    """Wait until nothing is left of any call at these ends."""
    try:
        await until(lambda: not any(left(peer) for peer in peers))
    except TimeoutError:
        raise AssertionError([left(peer) for peer in peers]) from None
