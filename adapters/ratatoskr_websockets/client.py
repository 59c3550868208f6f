"""connect: one connection to a server, from the URL to an open :class:`Peer`, or a reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidHandshake, InvalidStatus

from ratatoskr import Closed, Config, Connection, Fault, LocalProtocolError
from ratatoskr.service import DEFAULT_RETRIES, OnceStore, RetryPolicy, Router
from ratatoskr_websockets.driver import MESSAGE_BYTES
from ratatoskr_websockets.errors import ConnectFailed
from ratatoskr_websockets.guard import GuardedClient
from ratatoskr_websockets.host import HTTP_LOGGER, LOGGER, SUBPROTOCOL
from ratatoskr_websockets.line import Line, Milestone
from ratatoskr_websockets.peer import Peer
from ratatoskr_websockets.workshop import Workshop


@asynccontextmanager
async def connect(
    url: str,
    config: Config,
    *,
    router: Router | None = None,
    store: OnceStore | None = None,
    server_name: str | None = None,
    ssl: SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    retry: RetryPolicy = DEFAULT_RETRIES,
) -> AsyncIterator[Peer]:
    """Connect to a server; the block gets the open :class:`Peer`.

    ``url``: ``ws://host:port/path`` or ``wss://…``. ``server_name``: who the server must prove to be, default the
    URL's host. ``router``: handlers for what the server asks; its kinds are added to the configuration's. ``store``:
    outcomes of its handlers that run at most once, default in memory. ``ssl``: for ``wss``, default what the system
    trusts. ``proxy``: a proxy's URL, True for what the environment says, None for none.
    ``retry``: what is made again by itself when it fails; ``NO_RETRIES`` for nothing.

    At the end of the block open calls complete and the connection is closed; an exception abandons it at once.

    Raises :class:`ConnectFailed` where there is no connection, :class:`~ratatoskr.LocalProtocolError` for misuse.
    """
    host = _check(url, ssl)
    if router is not None:
        config = replace(config, kinds=config.kinds | router.kinds)
    connection = Connection.client(config, server_name=server_name or host)
    opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_milestone(milestone: Milestone) -> None:
        if opened.done():
            return
        if isinstance(milestone, Closed):
            opened.set_exception(ConnectFailed.of(milestone))
        else:
            opened.set_result(None)

    async with Workshop(router, config, store, retry) as workshop:
        websocket = await _dial(url, config, ssl, proxy)
        line = Line(connection, websocket, workshop, on_milestone)
        driving = asyncio.create_task(line.run())
        try:
            await opened
            yield Peer(line)
            await Peer(line).close()
        finally:
            line.close(drain=False)
            await driving


def _check(url: str, ssl: SSLContext | None) -> str:
    """The host that the URL names. Raises LocalProtocolError for what is no URL of a server."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise LocalProtocolError(f"{url!r} is no URL: {error}") from None
    if parts.scheme not in {"ws", "wss"} or not host:
        raise LocalProtocolError(f"{url!r} is no WebSocket URL: write ws://host:port or wss://host:port")
    if ssl is not None and parts.scheme == "ws":
        raise LocalProtocolError("ssl= is for wss:// URLs; this one begins with ws://")
    if parts.scheme == "ws" and not _is_loopback(host):
        LOGGER.warning("ws://%s: contents are protected, but names and sizes are visible; wss:// hides them", host)
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def _dial(
    url: str, config: Config, ssl: SSLContext | None, proxy: str | Literal[True] | None
) -> ClientConnection:
    """A WebSocket that speaks our subprotocol. Raises ConnectFailed."""
    limits = config.limits
    options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
    try:
        websocket = await connect_websocket(
            url,
            subprotocols=[SUBPROTOCOL],
            compression=None,
            proxy=proxy,
            open_timeout=limits.handshake_timeout,
            ping_interval=None,
            close_timeout=limits.close_timeout,
            max_size=MESSAGE_BYTES,
            logger=HTTP_LOGGER,
            create_connection=cast("type[ClientConnection]", partial(GuardedClient, limits=limits)),
            **options,
        )
    except (OSError, InvalidHandshake) as error:
        raise _why(url, error) from error
    if websocket.subprotocol != SUBPROTOCOL:
        websocket.transport.abort()
        raise ConnectFailed(Fault.REFUSED, f"{url} is a WebSocket server that does not speak {SUBPROTOCOL}")
    return websocket


def _why(url: str, error: OSError | InvalidHandshake) -> ConnectFailed:
    """What the failure to open a WebSocket means, and what to look at."""
    match error:
        case SSLCertVerificationError():
            return ConnectFailed(
                Fault.REFUSED,
                f"{url}: the TLS certificate is not trusted: {error.verify_message}. "
                "Pass ssl= with a context that trusts its issuer",
            )
        case SSLError() | ConnectionResetError() | ConnectionAbortedError() if url.startswith("wss"):
            why = getattr(error, "reason", None) or "the server ended the connection"
            return ConnectFailed(
                Fault.REFUSED, f"{url}: TLS failed: {why}. Does the server speak TLS? Otherwise use ws://"
            )
        case TimeoutError():
            return ConnectFailed(Fault.HANDSHAKE_TIMEOUT, f"{url} did not answer in time")
        case OSError():
            return ConnectFailed(
                Fault.TRANSPORT_LOST, f"Cannot reach {url}: {error.strerror or error}. Is the server running there?"
            )
        case InvalidStatus(response=response):
            status = response.status_code
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                return ConnectFailed(Fault.GOING_AWAY, f"{url} is overloaded or going away (HTTP 503)")
            said = response.body.decode(errors="replace").strip()[:200] if response.body else ""
            return ConnectFailed(
                Fault.REFUSED, f"{url} refused the WebSocket (HTTP {status}). Is it a Ratatoskr server? It says: {said}"
            )
        case _:
            return ConnectFailed(
                Fault.TRANSPORT_LOST, f"{url} does not answer as a WebSocket server: {error.__cause__ or error}"
            )
