"""serve: connections from clients, who is let in, and the end of them all."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import Self, TypeAlias, cast

from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.http11 import Request, Response
from websockets.typing import Origin

from ratatoskr import (
    Closed,
    Config,
    Connection,
    ConnectionRequested,
    Disposition,
    Fail,
    Failure,
    Opened,
    ResumableSession,
    SessionTable,
    Status,
    VerifiedPeer,
)
from ratatoskr.service import DEFAULT_RETRIES, Calls, Directory, OncePolicy, OnceStore, PeerLink, RetryPolicy, Router
from ratatoskr_websockets.driver import MESSAGE_BYTES
from ratatoskr_websockets.guard import Gate, GuardedServer, Quota
from ratatoskr_websockets.host import HTTP_LOGGER, LOGGER, SUBPROTOCOL
from ratatoskr_websockets.line import Line, Milestone, readable
from ratatoskr_websockets.peer import Peer
from ratatoskr_websockets.workshop import Workshop

OnConnect: TypeAlias = Callable[[ConnectionRequested], Awaitable[None]]
"""Decides about a client that has proved who it is. Returning lets it in; raising ``Fail`` sends it away."""


def serve(
    router: Router,
    config: Config,
    host: str | Sequence[str] | None = "127.0.0.1",
    port: int = 0,
    *,
    ssl: SSLContext | None = None,
    store: OnceStore | None = None,
    policy: OncePolicy | None = None,
    on_connect: OnConnect | None = None,
    origins: Sequence[str] | None = None,
    max_pending_handshakes: int = 1000,
    per_address: int = 20,
    per_identity: int = 100,
    retry: RetryPolicy = DEFAULT_RETRIES,
    session_timeout: float = 120.0,
    sessions: SessionTable | None = None,
) -> Server:
    """A server for ``async with``; it listens inside the block, and drains at its end.

    ``router``: the handlers; their kinds are added to the configuration's. ``host``: None for every interface.
    ``port``: 0 for any free one, which ``Server.port`` tells. ``ssl``: for wss. ``store``: outcomes of what runs at
    most once, default in memory. ``policy``: how long they are kept, which must be what the configuration announces,
    and how long a silent process is believed to be at work. ``on_connect``: asked about each client, may look things up
    for up to ``Limits.accept_timeout``. ``origins``: web pages that may connect; others, and all by default, are
    refused.
    ``max_pending_handshakes`` and ``per_address`` bound the clients that have not proved yet who they are,
    ``per_identity`` the connections of one that has. ``retry``:
    what is made again by itself when the server asks a client and that fails.

    ``session_timeout``: how long the calls of a client that has lost its line wait for it to come back, in seconds; 0
    for not at all. ``sessions``: how many such clients, default :class:`~ratatoskr.SessionTable`'s.
    """
    return Server(
        router,
        config,
        host,
        port,
        ssl=ssl,
        store=store,
        policy=policy,
        on_connect=on_connect,
        origins=origins,
        max_pending_handshakes=max_pending_handshakes,
        per_address=per_address,
        per_identity=per_identity,
        retry=retry,
        session_timeout=session_timeout,
        sessions=SessionTable() if sessions is None else sessions,
    )


class Server:
    """A listening server and its connections. Made by :func:`serve`."""

    def __init__(
        self,
        router: Router,
        config: Config,
        host: str | Sequence[str] | None,
        port: int,
        *,
        ssl: SSLContext | None,
        store: OnceStore | None,
        policy: OncePolicy | None,
        on_connect: OnConnect | None,
        origins: Sequence[str] | None,
        max_pending_handshakes: int,
        per_address: int,
        per_identity: int,
        retry: RetryPolicy,
        session_timeout: float,
        sessions: SessionTable,
    ) -> None:
        self._router = router
        self._config = replace(config, kinds=config.kinds | router.kinds, session_timeout=session_timeout)
        self._sessions = sessions
        self._kept: dict[bytes, Calls] = {}
        self._host = host
        self._port = port
        self._ssl = ssl
        self._store = store
        self._policy = policy
        self._on_connect = on_connect
        self._origins = [None, *map(Origin, origins or ())]
        self._gate = Gate(max_pending_handshakes, per_address)
        self._quota = Quota(per_identity)
        self._lines: dict[Connection, Line] = {}
        self._retry = retry
        self._peers: dict[PeerLink, Peer] = {}
        self._directory: Directory[PeerLink] = Directory()
        self._closing: asyncio.Task[None] | None = None
        self._listener: Listener
        self._workshop: Workshop

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._workshop = await stack.enter_async_context(
                Workshop(self._router, self._config, self._store, self._retry, self._directory, self._policy)
            )
            self._listener = await self._listen()
            stack.pop_all()
        self._port = self.sockets[0].getsockname()[1]
        scheme = "wss" if self._ssl is not None else "ws"
        for each in self.sockets:
            LOGGER.info("listening: %s://%s", scheme, readable(each.getsockname()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _listen(self) -> Listener:
        limits = self._config.limits
        return await listen(
            self._serve,
            cast("str | None", self._host),  # passed on to create_server, which takes several
            self._port,
            ssl=self._ssl,
            origins=self._origins,
            subprotocols=[SUBPROTOCOL],
            compression=None,
            process_response=_log_refusal,
            open_timeout=limits.handshake_timeout,
            ping_interval=None,
            close_timeout=limits.close_timeout,
            max_size=MESSAGE_BYTES,
            logger=HTTP_LOGGER,
            create_connection=cast("type[ServerConnection]", partial(GuardedServer, limits=limits, gate=self._gate)),
        )

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The sockets that listen; none once the server is closing."""
        return tuple(self._listener.sockets)

    @property
    def port(self) -> int:
        """The port of the first socket."""
        return self._port

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The clients whose connections are open, the longest connected first."""
        return tuple(self._peers.values())

    def find(self, subject: str, *, tenant: str = "") -> Peer | None:
        """The client of that name whose connection is open; the latest where there are several. None where is none.

        Handlers reach it by :meth:`Call.reach <ratatoskr.service.Call.reach>`.
        """
        link = self._directory.find(subject, tenant)
        return None if link is None else self._peers[link]

    async def serve_forever(self, on_signal: Callable[[signal.Signals], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain. A second signal stops it without waiting for anybody.

        ``on_signal`` is told the first one, before anything is closed. For scripts, in the main thread; everywhere else
        wait for what you like inside the block.
        """
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        with _signals(signals.put_nowait):
            told = await signals.get()
            if on_signal is not None:
                on_signal(told)
            draining = asyncio.create_task(self.close())
            again = asyncio.create_task(signals.get())
            await asyncio.wait([draining, again], return_when=asyncio.FIRST_COMPLETED)
            again.cancel()
            if not draining.done():
                LOGGER.warning("second signal: not waiting for open calls")
                await self.close(drain=False)
            await draining

    async def close(self, *, drain: bool = True) -> None:
        """Stop listening and end all connections; wait for that. Idempotent.

        With ``drain``, open calls and handlers that run at most once complete first, for up to
        ``Limits.drain_timeout`` each. Without, all handlers are stopped; the outcome of those that run at most once
        is unknown then.
        """
        for line in self._lines.values():
            line.close(drain=drain, reason="the server is going away")
        self._gate.close()
        if not drain:
            self._workshop.stop()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        for session in self._sessions.waiting():
            self._kept[session.session_id].wake()
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._listener.close(close_connections=False)
        await self._listener.wait_closed()
        await self._workshop.__aexit__()

    # One connection

    async def _serve(self, websocket: ServerConnection) -> None:
        deciding: asyncio.Task[None] | None = None
        known: VerifiedPeer | None = None

        def on_milestone(milestone: Milestone) -> None:
            nonlocal deciding, known
            match milestone:
                case ConnectionRequested(peer):
                    if self._quota.enter(peer):
                        known = peer
                        deciding = asyncio.create_task(self._decide(line, milestone))
                    else:
                        line.reject(_TOO_MANY)
                case Opened():
                    self._gate.leave(websocket)
                    self._open(line)
                case Closed():
                    self._leave(line)
                    if deciding is not None:
                        deciding.cancel()
                    if known is not None:
                        self._quota.leave(known)

        line = Line(Connection.server(self._config), websocket, self._workshop.host, on_milestone)
        self._lines[line.connection] = line
        try:
            await line.run()
        finally:
            del self._lines[line.connection]

    async def _decide(self, line: Line, requested: ConnectionRequested) -> None:
        try:
            if self._on_connect is not None:
                await self._on_connect(requested)
        except Fail as fail:
            line.reject(fail.failure)
        except Exception:  # noqa: BLE001 - a hook may raise anything
            LOGGER.exception("on_connect failed: %s at %s", requested.peer.subject, line.address)
            line.reject(_NO_DECISION)
        else:
            self._let_in(line, requested.resume)

    # Sessions that outlive their lines

    def _let_in(self, line: Line, session_id: bytes) -> None:
        calls = self._kept.get(session_id)
        session = self._sessions.find(session_id) if calls is not None else None
        before = line.accept(session)
        if calls is not None and session is not None and line.connection.session is session:
            line.carry(calls)
        if before is not None:
            self._lines[before].wake()

    def _open(self, line: Line) -> None:
        """A line is open: its calls are those of the session that goes on, or new ones."""
        session, calls = line.connection.session, line.calls
        if calls is None:
            calls = self._new_calls(session)
            line.carry(calls)
        if session is not None:
            self._sessions.enter(session)
        if calls not in self._peers:
            self._directory.enter(calls)
        self._peers[calls] = Peer(line, calls)

    def _new_calls(self, session: ResumableSession | None) -> Calls:
        if session is None:
            return self._workshop.calls()

        def forget() -> None:
            self._sessions.leave(session)
            self._kept.pop(session.session_id, None)

        calls = self._kept[session.session_id] = self._workshop.calls(on_rest=self._make_room, on_end=forget)
        return calls

    def _make_room(self, session: ResumableSession) -> None:
        """A session waits for its client. Those that there is no room for end; all, where the server does."""
        if self._closing is not None:
            session.abandon()
        for each in self._sessions.wait(session):
            self._kept[each.session_id].wake()

    def _leave(self, line: Line) -> None:
        """A line has ended. Its peer is here no longer, unless another line carries its calls."""
        calls = line.calls
        if calls is not None and calls in self._peers and self._peers[calls].carried_by(line):
            del self._peers[calls]
            self._directory.leave(calls)


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


def _log_refusal(websocket: ServerConnection, _: Request, response: Response) -> None:
    """Say why there is no WebSocket: a wrong subprotocol, an Origin that is not listed, no WebSocket at all."""
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        why = websocket.protocol.handshake_exc or response.reason_phrase
        LOGGER.warning("refused: %s: HTTP %d: %s", readable(websocket.remote_address), response.status_code, why)


@contextmanager
def _signals(on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call ``on_signal`` at SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT)
    with suppress(NotImplementedError):  # Windows: Ctrl-C cancels the main task instead, and the block drains
        for each in caught:
            loop.add_signal_handler(each, on_signal, each)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for each in caught:
                loop.remove_signal_handler(each)
