"""serve: connections from clients, who is let in, and the end of them all."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from ssl import SSLContext
from typing import Self, cast

from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.http11 import Request, Response
from websockets.typing import Origin

from ratatoskr import Config, SessionTable
from ratatoskr.lines import OnConnect, Peer, Reception
from ratatoskr.service import DEFAULT_RETRIES, OncePolicy, OnceStore, RetryPolicy, Router
from ratatoskr_asyncio import AsyncioRuntime, readable, until_signalled
from ratatoskr_websockets.guard import Gate, GuardedServer
from ratatoskr_websockets.names import HTTP_LOGGER, LOGGER, MESSAGE_BYTES, SUBPROTOCOL
from ratatoskr_websockets.transport import WebSocketTransport


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
        sessions=sessions,
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
        sessions: SessionTable | None,
    ) -> None:
        self._make_reception = partial(
            Reception,
            router,
            config,
            store=store,
            policy=policy,
            on_connect=on_connect,
            per_identity=per_identity,
            retry=retry,
            session_timeout=session_timeout,
            sessions=sessions,
        )
        self._limits = config.limits
        self._host = host
        self._port = port
        self._ssl = ssl
        self._origins = [None, *map(Origin, origins or ())]
        self._gate = Gate(max_pending_handshakes, per_address)
        self._closing: asyncio.Task[None] | None = None
        self._listener: Listener
        self._reception: Reception

    async def __aenter__(self) -> Self:
        self._reception = self._make_reception(AsyncioRuntime(LOGGER))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._reception)
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
        limits = self._limits
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
        return self._reception.presence.peers

    def find(self, subject: str, *, tenant: str = "") -> Peer | None:
        """The client of that name whose connection is open; the latest where there are several. None where is none.

        Handlers reach it by :meth:`Call.reach <ratatoskr.service.Call.reach>`.
        """
        return self._reception.presence.find(subject, tenant)

    async def serve_forever(self, on_signal: Callable[[signal.Signals], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain. A second signal stops it without waiting for anybody.

        ``on_signal`` is told the first one, before anything is closed. For scripts, in the main thread; everywhere else
        wait for what you like inside the block.
        """
        await until_signalled(
            self.close,
            on_signal or (lambda _: None),
            lambda: LOGGER.warning("second signal: not waiting for open calls"),
        )

    async def close(self, *, drain: bool = True) -> None:
        """Stop listening and end all connections; wait for that. Idempotent.

        With ``drain``, open calls and handlers that run at most once complete first, for up to
        ``Limits.drain_timeout`` each. Without, all handlers are stopped; the outcome of those that run at most once
        is unknown then.
        """
        self._reception.close(drain=drain)
        self._gate.close()
        if not drain:
            self._reception.stop()
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._listener.close(close_connections=False)
        await self._listener.wait_closed()
        await self._reception.__aexit__()

    async def _serve(self, websocket: ServerConnection) -> None:
        await self._reception.serve(WebSocketTransport(websocket), partial(self._gate.leave, websocket))


def _log_refusal(websocket: ServerConnection, _: Request, response: Response) -> None:
    """Say why there is no WebSocket: a wrong subprotocol, an Origin that is not listed, no WebSocket at all."""
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        why = websocket.protocol.handshake_exc or response.reason_phrase
        LOGGER.warning("refused: %s: HTTP %d: %s", readable(websocket.remote_address), response.status_code, why)
