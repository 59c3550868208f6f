"""Dialing: from a URL to a WebSocket, or a reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from ssl import SSLCertVerificationError, SSLContext, SSLEOFError, SSLError
from typing import Any, Literal, cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import InvalidProxy, InvalidStatus, InvalidURI, WebSocketException
from websockets.http11 import Response

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
_LONGEST_ADVICE = 300.0
"""For how many seconds a client is kept away by what nobody has signed."""


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
        except (OSError, ValueError, WebSocketException) as error:
            raise _why(url, error) from error
        if websocket.subprotocol != SUBPROTOCOL:
            websocket.transport.abort()
            await websocket.wait_closed()
            raise ConnectFailed(Fault.REFUSED, f"{url} is a WebSocket server that does not speak {SUBPROTOCOL}")
        return WebSocketTransport(websocket)


def _why(url: str, error: OSError | ValueError | WebSocketException) -> ConnectFailed:
    """What the failure to open a WebSocket means, and what to look at."""
    match error:
        case SSLCertVerificationError():
            return ConnectFailed(
                Fault.REFUSED,
                f"{url}: the TLS certificate is not trusted: {error.verify_message}. "
                "Pass ssl= with a context that trusts its issuer",
            )
        case SSLEOFError() | ConnectionResetError() | ConnectionAbortedError() if url.startswith("wss"):
            return _no_tls(url, Fault.TRANSPORT_LOST, "the connection was cut")  # as by a proxy that is restarted
        case SSLError() if url.startswith("wss"):
            return _no_tls(url, Fault.REFUSED, error.reason or str(error))
        case TimeoutError():
            return ConnectFailed(Fault.HANDSHAKE_TIMEOUT, f"{url} did not answer in time")
        case OSError():
            return ConnectFailed(
                Fault.TRANSPORT_LOST, f"Cannot reach {url}: {error.strerror or error}. Is the server running there?"
            )
        case InvalidStatus(response=response):
            status = response.status_code
            if status in _FOR_NOW:
                text = f"{url} is overloaded or going away (HTTP {status})"
                return ConnectFailed(Fault.GOING_AWAY, text, retry_delay=_retry_after(response))
            said = response.body.decode(errors="replace").strip()[:200] if response.body else ""
            return ConnectFailed(
                Fault.REFUSED, f"{url} refused the WebSocket (HTTP {status}). Is it a Ratatoskr server? It says: {said}"
            )
        case InvalidURI() | InvalidProxy() | ValueError():
            return ConnectFailed(Fault.REFUSED, f"{url} cannot be dialled: {error}")
        case _:
            return ConnectFailed(
                Fault.TRANSPORT_LOST, f"{url} does not answer as a WebSocket server: {error.__cause__ or error}"
            )


def _no_tls(url: str, fault: Fault, why: str) -> ConnectFailed:
    return ConnectFailed(fault, f"{url}: TLS failed: {why}. Does the server speak TLS? Otherwise use ws://")


def _retry_after(response: Response) -> float | None:
    """The server's advice in seconds; None where it gives none, or a date, which needs clocks that agree."""
    for said in response.headers.get_all("Retry-After")[:1]:
        if said.isascii() and said.isdigit():
            return min(float(said), _LONGEST_ADVICE)
    return None
