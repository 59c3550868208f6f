"""Ratatoskr over WebSocket, on asyncio.

A client::

    async with connect("ws://localhost:8765", config) as peer:
        result = await peer.request(MARKETPLACE_SEARCH, Search(query="seeds"))

A server::

    async with serve(router, config, "localhost", 8765) as server:
        await server.serve_forever()
"""

from ratatoskr.lines import ConnectFailed, OnConnect, Peer
from ratatoskr_websockets.client import connect
from ratatoskr_websockets.server import Server, serve

__all__ = ["ConnectFailed", "OnConnect", "Peer", "Server", "connect", "serve"]
