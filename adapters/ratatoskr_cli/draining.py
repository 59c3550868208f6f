"""The end of `ratatoskr serve`: a signal, what is open completes, and what became of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from ratatoskr import Fault
from ratatoskr.service import Call, Next
from ratatoskr_websockets import Peer, Server

_CUT = {Fault.ABANDONED, Fault.DRAIN_TIMEOUT}
"""How a connection ends where this side would not wait any longer."""


class Traffic:
    """Counts the calls that handlers work on. :meth:`count` is middleware for a router."""

    def __init__(self) -> None:
        self.open = 0
        self.completed = 0
        """Those that were answered, also where the answer is a failure."""
        self.stopped = 0
        """Those whose handler was stopped: by a cancel, a deadline, or the end of its connection."""

    async def count(self, _: Call, message: Message, call_next: Next) -> Message:
        """Middleware."""
        self.open += 1
        try:
            answer = await call_next(message)
        except Exception:
            self.completed += 1
            raise
        except BaseException:
            self.stopped += 1
            raise
        else:
            self.completed += 1
            return answer
        finally:
            self.open -= 1


@dataclass(frozen=True, slots=True)
class Draining:
    """A server that was told to stop."""

    signal: str
    open: int
    """Calls that handlers worked on."""
    clients: int
    """Those who were connected."""

    def plan(self, seconds: float) -> str:
        """What it does now, with so much time for that."""
        clients = _counted(self.clients, "client")
        if self.open:
            calls = _counted(self.open, "open call")
            return f"waiting up to {seconds:g} s for {calls} of {clients}; a second signal waits for nobody"
        return f"saying goodbye to {clients}" if self.clients else "nobody is connected"


@dataclass(frozen=True, slots=True)
class Drained:
    """A server that has stopped, and what became of all that was open."""

    signal: str
    seconds: float
    completed: int
    stopped: int
    clients: int
    clean: int
    """Clients who left after both sides had said all that they had to say."""
    cut: int
    """Clients for whom the server would not wait any longer."""

    def __str__(self) -> str:
        calls = f"{_counted(self.completed, 'call')} completed"
        if self.stopped:
            calls += f", {self.stopped} stopped before the end"
        clients = _counted(self.clients, "client")
        if not self.clients:
            left = "nobody was connected"
        elif self.clean == self.clients:
            left = f"{'all ' if self.clients > 1 else ''}{clients} left cleanly"
        else:
            left = f"{self.clean} of {clients} left cleanly" + (f", {self.cut} cut off" if self.cut else "")
        return f"{calls}, {left}"


async def serve_until_told(server: Server, traffic: Traffic, on_signal: Callable[[Draining], None]) -> Drained:
    """Serve until SIGTERM or SIGINT, then drain. A second signal stops the server without waiting for anybody."""
    before: list[tuple[Draining, tuple[Peer, ...], float, int, int]] = []

    def begin(told: signal.Signals) -> None:
        draining = Draining(told.name, traffic.open, len(server.peers))
        before.append((draining, server.peers, time.monotonic(), traffic.completed, traffic.stopped))
        on_signal(draining)

    await server.serve_forever(begin)
    [(draining, peers, began, completed, stopped)] = before
    return Drained(
        draining.signal,
        time.monotonic() - began,
        traffic.completed - completed,
        traffic.stopped - stopped,
        draining.clients,
        clean=sum(_fault(peer) is Fault.CLEAN for peer in peers),
        cut=sum(_fault(peer) in _CUT for peer in peers),
    )


def _fault(peer: Peer) -> Fault | None:
    return None if peer.closed is None else peer.closed.fault


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
