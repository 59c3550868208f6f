"""Dialing: from a URL to a WebSocket, or a reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ssl import SSLCertVerificationError, SSLContext, SSLError
from typing import Any, Literal, cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidHandshake, InvalidStatus

from ratatoskr import Config, Fault
from ratatoskr.lines import ConnectFailed
from ratatoskr_websockets.guard import GuardedClient
from ratatoskr_websockets.names import HTTP_LOGGER, MESSAGE_BYTES, SUBPROTOCOL
from ratatoskr_websockets.transport import WebSocketTransport

_FOR_NOW = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""What servers, and the proxies before them, say while they cannot; trying again can help."""


@dataclass(frozen=True, slots=True)
class Dialer:
    """How to reach one server."""

    url: str
    config: Config
    server_name: str
    ssl: SSLContext | None
    proxy: str | Literal[True] | None

    async def dial(self) -> WebSocketTransport:
        """A WebSocket that speaks our subprotocol. Raises ConnectFailed."""
        limits, ssl, url = self.config.limits, self.ssl, self.url
        options: dict[str, Any] = {} if ssl is None else {"ssl": ssl}
        try:
            websocket = await connect_websocket(
                url,
                subprotocols=[SUBPROTOCOL],
                compression=None,
                proxy=self.proxy,
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
            await websocket.wait_closed()
            raise ConnectFailed(Fault.REFUSED, f"{url} is a WebSocket server that does not speak {SUBPROTOCOL}")
        return WebSocketTransport(websocket)


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
            if status in _FOR_NOW:
                return ConnectFailed(Fault.GOING_AWAY, f"{url} is overloaded or going away (HTTP {status})")
            said = response.body.decode(errors="replace").strip()[:200] if response.body else ""
            return ConnectFailed(
                Fault.REFUSED, f"{url} refused the WebSocket (HTTP {status}). Is it a Ratatoskr server? It says: {said}"
            )
        case _:
            return ConnectFailed(
                Fault.TRANSPORT_LOST, f"{url} does not answer as a WebSocket server: {error.__cause__ or error}"
            )
