"""connect: from the URL of a server to an open :class:`Peer`, or a reason why not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from ssl import SSLContext
from typing import Literal
from urllib.parse import urlsplit

from ratatoskr import Config, LocalProtocolError
from ratatoskr.lines import Peer, connected
from ratatoskr.service import DEFAULT_RETRIES, OnceStore, Outbox, Redial, RetryPolicy, Router
from ratatoskr_asyncio import AsyncioRuntime
from ratatoskr_websockets.dialing import Dialer
from ratatoskr_websockets.names import LOGGER


@asynccontextmanager
async def connect(
    url: str | Sequence[str],
    config: Config,
    *,
    router: Router | None = None,
    store: OnceStore | None = None,
    server_name: str | None = None,
    ssl: SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    retry: RetryPolicy = DEFAULT_RETRIES,
    redial: Redial | None = None,
    outbox: Outbox | None = None,
) -> AsyncIterator[Peer]:
    """Connect to a server; the block gets the open :class:`Peer`.

    ``url``: ``ws://host:port/path`` or ``wss://…``. ``server_name``: who the server must prove to be, default the
    URL's host. ``router``: handlers for what the server asks; its kinds are added to the configuration's. ``store``:
    outcomes of its handlers that run at most once, default in memory. ``ssl``: for ``wss``, default what the system
    trusts. ``proxy``: a proxy's URL, True for what the environment says, None for none.
    ``retry``: what is made again by itself when it fails; ``NO_RETRIES`` for nothing.

    ``redial``: connect again by itself when the line is lost, as :class:`~ratatoskr.service.Redial` says. Calls then
    wait for the next line within their time, and those that were under way go on over it; the first connection is
    waited for, too. ``url`` may then name several servers that do the same: the next one is dialled when one says
    goodbye or cannot be reached. By default a lost line ends the peer and every call with it.

    ``outbox``: what is sent whenever there is a line, such as a ``SqliteOutbox`` from ``ratatoskr_stores``; its kinds
    are added to the configuration's. It can be posted to and read outside of the block, too.

    At the end of the block open calls complete and the connection is closed; an exception abandons it at once.

    Raises :class:`ConnectFailed` where there is no connection, :class:`~ratatoskr.service.OutboxInUse` where another
    one sends from the outbox, :class:`~ratatoskr.LocalProtocolError` for misuse, such as an outbox that holds posts of
    another identity.
    """
    urls = [url] if isinstance(url, str) else list(url)
    hosts = [_check(each, ssl) for each in urls]
    for more in (router, outbox):
        if more is not None:
            config = replace(config, kinds=config.kinds | more.kinds)
    config = replace(config, session_timeout=redial.session_timeout if redial is not None else 0.0)
    dialers = [Dialer(each, config, server_name or host, ssl, proxy) for each, host in zip(urls, hosts, strict=True)]
    runtime = AsyncioRuntime(LOGGER)
    async with connected(
        dialers, runtime, router=router, store=store, retry=retry, redial=redial, outbox=outbox
    ) as peer:
        yield peer


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
