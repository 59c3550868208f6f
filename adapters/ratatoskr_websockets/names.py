"""What both ends of a WebSocket share: logs, the subprotocol, the length of messages."""

from __future__ import annotations

import logging

from websockets.typing import Subprotocol

LOGGER = logging.getLogger("ratatoskr.websockets")
"""Who connected, who was refused and why, how it ended. Never payloads, never secrets."""
HTTP_LOGGER = logging.getLogger("ratatoskr.websockets.http")
"""What the WebSocket library has to say; only its warnings, unless somebody asks for more."""
HTTP_LOGGER.setLevel(logging.WARNING)
SUBPROTOCOL = Subprotocol("ratatoskr.v1")
"""The WebSocket subprotocol that both ends insist on."""
MESSAGE_BYTES = 64 * 1024
"""Longest WebSocket message, sent or accepted. It bounds what a peer that nobody knows yet can make us hold."""
