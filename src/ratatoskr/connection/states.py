"""The states of a connection, and the only moves between them.

A connection drives one transport, from the first byte to ``Closed``. Two rules:

1. A move that is not in :data:`TRANSITIONS` does not exist. A record for which the present state has no input ends the
   connection as malformed; a method for which it has none raises LocalProtocolError.
2. Every state but the last has a deadline (:data:`DEADLINES`), so a silent peer cannot hold one for ever.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

from ratatoskr.channel import RecordType
from ratatoskr.timers import Timer


class State(Enum):
    """Where a connection is."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # members are singletons; Enum hashes their names, which takes longer

    READY = "client: nothing is sent yet"
    GREETED = "client: the first message is sent, the second awaited"
    REQUESTED = "client: the third message is sent, the server's decision awaited"
    LISTENING = "server: the first message is awaited"
    CHALLENGED = "server: the second message is sent, the third awaited"
    DECIDING = "server: the application decides about the connection request"
    OPEN = "calls go both ways"
    DRAINING = "open calls complete, new ones are not made"
    CLOSING = "everything is said; the end of the transport is awaited"
    CLOSED = "nothing happens any more"


class Input(Enum):
    """What moves it."""

    START = "the first poll"
    M1 = "the first handshake message"
    M2 = "the second handshake message"
    M3 = "the third handshake message"
    RESPONSE = "the server's answer to the connection request"
    DATA = "a flight"
    ALERT = "the peer refuses the handshake"
    ACCEPT = "accept()"
    REJECT = "reject()"
    DRAIN = "close(), or the peer's GOAWAY"
    OVER = "both sides have said DISCONNECT"
    FAULT = "a rule was broken, a deadline passed, or close(drain=False)"
    EOF = "the transport ended"
    REPLACED = "another connection of the same client goes on with the session"


_LIVE = (
    State.GREETED,
    State.REQUESTED,
    State.LISTENING,
    State.CHALLENGED,
    State.DECIDING,
    State.OPEN,
    State.DRAINING,
)
_WITH_SESSION = (State.DECIDING, State.OPEN, State.DRAINING, State.CLOSING)
"""Where a server's connection may have one."""

TRANSITIONS = MappingProxyType(
    {
        (State.READY, Input.START): State.GREETED,
        (State.GREETED, Input.M2): State.REQUESTED,
        (State.REQUESTED, Input.RESPONSE): State.OPEN,
        (State.LISTENING, Input.M1): State.CHALLENGED,
        (State.CHALLENGED, Input.M3): State.DECIDING,
        (State.DECIDING, Input.ACCEPT): State.OPEN,
        (State.DECIDING, Input.REJECT): State.CLOSING,
        (State.GREETED, Input.ALERT): State.CLOSING,
        (State.REQUESTED, Input.ALERT): State.CLOSING,
        (State.CHALLENGED, Input.ALERT): State.CLOSING,
        (State.OPEN, Input.DATA): State.OPEN,
        (State.DRAINING, Input.DATA): State.DRAINING,
        (State.OPEN, Input.DRAIN): State.DRAINING,
        (State.DRAINING, Input.OVER): State.CLOSING,
        (State.CLOSING, Input.EOF): State.CLOSED,
        **{(state, Input.REPLACED): State.CLOSED for state in _WITH_SESSION},
        **{(state, Input.FAULT): State.CLOSING for state in _LIVE},
        **{(state, Input.EOF): State.CLOSED for state in _LIVE},
    }
)
"""(state, input) → next state."""

RECORD_INPUTS = MappingProxyType(
    {
        RecordType.M1: Input.M1,
        RecordType.M2: Input.M2,
        RecordType.M3: Input.M3,
        RecordType.RESPONSE: Input.RESPONSE,
        RecordType.DATA: Input.DATA,
        RecordType.DATA_REKEY: Input.DATA,
        RecordType.ALERT: Input.ALERT,
    }
)
"""Which input a record is."""

DEADLINES = MappingProxyType(
    {
        State.GREETED: Timer.HANDSHAKE,
        State.LISTENING: Timer.HANDSHAKE,
        State.CHALLENGED: Timer.HANDSHAKE,
        State.REQUESTED: Timer.ACCEPT,
        State.DECIDING: Timer.ACCEPT,
        State.OPEN: Timer.LIVENESS,
        State.DRAINING: Timer.DRAIN,
        State.CLOSING: Timer.CLOSE,
    }
)
"""The deadline of each state. READY ends at the first poll and needs none."""
