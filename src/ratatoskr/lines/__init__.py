"""Lines: everything between a byte stream and a peer, for any runtime. What adapters are made of.

An adapter supplies a :class:`Runtime` (a clock, sleep, tasks, threads, a log), transports, and how to dial and to
listen. Drivers, peers, clients that connect again, servers that decide, drain and keep sessions are here.
"""

from ratatoskr.lines.clients import Dialer, LastingPeer
from ratatoskr.lines.connecting import connected
from ratatoskr.lines.driver import Driver
from ratatoskr.lines.failed import ConnectFailed, reference_text
from ratatoskr.lines.line import Line
from ratatoskr.lines.peer import Peer
from ratatoskr.lines.reception import OnConnect, Reception
from ratatoskr.lines.runtime import Runtime, Transport, TransportEnded

__all__ = [
    "ConnectFailed",
    "Dialer",
    "Driver",
    "LastingPeer",
    "Line",
    "OnConnect",
    "Peer",
    "Reception",
    "Runtime",
    "Transport",
    "TransportEnded",
    "connected",
    "reference_text",
]
