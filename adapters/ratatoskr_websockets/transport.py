"""A WebSocket as a byte stream.

WebSocket messages do not align with records. What is written is cut into messages of :data:`MESSAGE_BYTES`, and what
comes is handed on as it comes.
"""

from __future__ import annotations

from websockets.asyncio.connection import Connection as WebSocket
from websockets.exceptions import ConnectionClosed

from ratatoskr.lines import TransportEnded
from ratatoskr_asyncio import readable
from ratatoskr_websockets.names import MESSAGE_BYTES

UNSUPPORTED_DATA = 1003
"""The close code for a text message."""


class WebSocketTransport:
    """One WebSocket."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    @property
    def address(self) -> str:
        """Host and port of the other end."""
        return readable(self._websocket.remote_address)

    async def read(self) -> bytes:
        """The next message. Raises TransportEnded."""
        try:
            message = await self._websocket.recv()
        except ConnectionClosed as end:
            raise TransportEnded(_how(end)) from None
        if isinstance(message, str):
            how = "the peer sent a WebSocket text message; only binary messages are allowed"
            raise TransportEnded(how, UNSUPPORTED_DATA, "binary messages only")
        return message

    async def write(self, data: bytes, /) -> None:
        """Write it, in as many messages as that takes. Raises TransportEnded."""
        try:
            for start in range(0, len(data), MESSAGE_BYTES):
                await self._websocket.send(data[start : start + MESSAGE_BYTES])
        except ConnectionClosed as end:
            raise TransportEnded(_how(end)) from None

    async def close(self, code: int, reason: str, /) -> None:
        """Close the WebSocket behind what was written."""
        await self._websocket.close(code, reason)

    def abort(self) -> None:
        """Cut the connection below it."""
        self._websocket.transport.abort()


def _how(end: ConnectionClosed) -> str:
    """How the WebSocket ended, for the log."""
    if end.rcvd is not None:
        return f"the peer closed the WebSocket: {end.rcvd.code} {end.rcvd.reason!r}"  # the peer's words forge no line
    if end.sent is not None:
        return f"this side closed the WebSocket: {end.sent}"
    return f"the WebSocket was lost: {end.__cause__ or 'the transport ended without a close'}"
