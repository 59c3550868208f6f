"""Reception: a server's clients, from the transport on. Who is let in, who is here, whose sessions wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Self, TypeAlias

from ratatoskr.config import Config
from ratatoskr.connection import Connection
from ratatoskr.errors import Disposition, Fail, Failure, Status
from ratatoskr.events import Closed, ConnectionRequested, Opened
from ratatoskr.identity import VerifiedPeer
from ratatoskr.lines.line import Line, Milestone
from ratatoskr.lines.presence import Presence
from ratatoskr.lines.runtime import Runtime, Transport
from ratatoskr.lines.workshop import Workshop
from ratatoskr.service import Directory, Level, Note, OncePolicy, OnceStore, PeerLink, RetryPolicy, Router, Task
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.session import SessionTable

OnConnect: TypeAlias = Callable[[ConnectionRequested], Awaitable[None]]
"""Decides about a client that has proved who it is. Returning lets it in; raising ``Fail`` sends it away."""


class Quota:
    """Connections of each identity, from when it has proved itself on."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: Counter[tuple[str, str]] = Counter()

    def enter(self, peer: VerifiedPeer) -> bool:
        """Count one more. False where there are as many as may be."""
        name = (peer.tenant, peer.subject)
        if self._counts[name] >= self._limit:
            return False
        self._counts[name] += 1
        return True

    def leave(self, peer: VerifiedPeer) -> None:
        """One that was counted has ended."""
        self._counts[peer.tenant, peer.subject] -= 1
        self._counts += Counter()  # forgets identities with none


class Reception:
    """Serves every transport that an adapter brings, within an ``async with`` block."""

    def __init__(
        self,
        router: Router,
        config: Config,
        runtime: Runtime,
        *,
        store: OnceStore | None,
        policy: OncePolicy | None,
        on_connect: OnConnect | None,
        per_identity: int,
        retry: RetryPolicy,
        session_timeout: float,
        sessions: SessionTable | None,
    ) -> None:
        self.config: Config = replace(config, kinds=config.kinds | router.kinds, session_timeout=session_timeout)
        """The configuration, with the router's kinds."""
        self.runtime: Runtime = runtime
        self.on_connect: OnConnect | None = on_connect
        self.quota: Quota = Quota(per_identity)
        directory: Directory[PeerLink] = Directory()
        self._workshop = Workshop(router, self.config, store, retry, runtime, directory, policy)
        table = SessionTable() if sessions is None else sessions
        self.presence: Presence = Presence(table, directory)
        self._lines: dict[Connection, Line] = {}
        self._left = Broadcast(runtime)

    async def __aenter__(self) -> Self:
        await self._workshop.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for the end of every connection, then of every handler."""
        while self._lines:
            await self._left.wait()
        await self._workshop.__aexit__()

    def close(self, *, drain: bool) -> None:
        """Begin to end all connections. Sessions that wait for a client end now."""
        self.presence.close()
        for line in list(self._lines.values()):
            line.close(drain=drain, reason="the server is going away")

    def stop(self) -> None:
        """Stop all handlers."""
        self._workshop.stop()

    async def serve(self, transport: Transport, on_open: Callable[[], None]) -> None:
        """One client, to its end. ``on_open`` is called when it is let in. Cancelling this cuts the transport."""
        guest = _Guest(self, on_open)
        line = Line(Connection.server(self.config), transport, self.runtime, guest.on_milestone)
        guest.line = line
        self._lines[line.connection] = line
        try:
            await line.run()
        finally:
            del self._lines[line.connection]
            self._left.fire()

    def let_in(self, line: Line, session_id: bytes) -> None:
        """Accept a client, to go on with that session where it may."""
        before = self.presence.let_in(line, session_id)
        if before is not None:
            self._lines[before].wake()

    def enter(self, line: Line) -> None:
        """A line is open."""
        self.presence.enter(line, self._workshop.calls)


class _Guest:
    """One client on its way in."""

    line: Line

    def __init__(self, reception: Reception, on_open: Callable[[], None]) -> None:
        self._reception = reception
        self._on_open = on_open
        self._known: VerifiedPeer | None = None
        self._deciding: Task | None = None

    def on_milestone(self, milestone: Milestone) -> None:
        """It asks to be let in; it is; it has left."""
        reception = self._reception
        match milestone:
            case ConnectionRequested(peer):
                if reception.quota.enter(peer):
                    self._known = peer
                    self._deciding = reception.runtime.spawn(self._decide(milestone), _nothing)
                else:
                    self.line.reject(_TOO_MANY)
            case Opened():
                self._on_open()
                reception.enter(self.line)
            case Closed():
                reception.presence.leave(self.line)
                if self._deciding is not None:
                    self._deciding.cancel()
                if self._known is not None:
                    reception.quota.leave(self._known)

    async def _decide(self, requested: ConnectionRequested) -> None:
        reception, line = self._reception, self.line
        try:
            if reception.on_connect is not None:
                await reception.on_connect(requested)
        except Fail as fail:
            line.reject(fail.failure)
        except Exception as error:  # noqa: BLE001 - a hook may raise anything
            text = f"{requested.peer.subject} at {line.address}"
            reception.runtime.log(Note(Level.ERROR, "on_connect failed", text, error=error))
            line.reject(_NO_DECISION)
        else:
            reception.let_in(line, requested.resume)


def _nothing() -> None:
    """Whoever decides tells the line."""


_TOO_MANY = Failure(
    Status.RESOURCE_EXHAUSTED,
    "TOO_MANY_CONNECTIONS",
    "this identity has as many connections as it may: end one of them",
    Disposition.NOT_PROCESSED,
    30.0,  # by then one whose line is dead may have been found out
)
_NO_DECISION = Failure(
    Status.INTERNAL, "INTERNAL", "the server could not decide about this connection", Disposition.NOT_PROCESSED, 5.0
)
