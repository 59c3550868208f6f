"""Closing: how a connection ends, what the driver is told to do about the transport, and what is told last."""

from __future__ import annotations

from types import MappingProxyType

from ratatoskr.errors import Failure, Fault, ProtocolFault
from ratatoskr.events import Closed, Disconnect
from ratatoskr.timers import Timer

ALERT_REFUSED = 1
"""The only code of an alert: whoever is not authenticated learns nothing else."""
TIMEOUTS = MappingProxyType(
    {
        Timer.HANDSHAKE: Fault.HANDSHAKE_TIMEOUT,
        Timer.ACCEPT: Fault.ACCEPT_TIMEOUT,
        Timer.RECORD: Fault.RECORD_STALLED,
        Timer.DRAIN: Fault.DRAIN_TIMEOUT,
    }
)
"""How a connection ends when one of these is due."""
_ABORTING = frozenset({Fault.WRITE_STALLED, Fault.PEER_SILENT})
"""Faults of a transport that takes or brings nothing: whatever waits to be written would wait for ever."""


class Ending:
    """What is known of the end, before it is told."""

    __slots__ = ("closed", "disconnect", "reference")

    def __init__(self) -> None:
        self.reference: int = 0
        """The number under which a refusal is logged."""
        self.closed: Closed | None = None
        """The last event, from when it is known until it is told."""
        self.disconnect: Disconnect | None = None
        """What the driver is still to be told."""

    def begin(
        self, fault: ProtocolFault, failure: Failure | None, *, awaits_peer: bool, stranger: bool = False
    ) -> bool:
        """The connection ends. Returns whether what waits to be written is given up.

        ``failure``: why the application rejected the connection request. ``awaits_peer``: the peer ends the transport.
        ``stranger``: the peer is not authenticated, and the close tells it no more than the alert does.
        """
        row = fault.fault
        abort = row in _ABORTING
        self.closed = Closed(row, fault.rule, fault.detail, self.reference, failure)
        if not awaits_peer:
            told = Fault.REFUSED if stranger else row
            self.disconnect = Disconnect(told.code, told.name, abort=abort)
        return abort

    def lost(self, how: str, *, clean: bool) -> Fault | None:
        """The transport has ended. Returns how the connection ended by that; None where it had begun to end before."""
        self.disconnect = None
        if self.closed is not None:
            return None
        row = Fault.CLEAN if clean else Fault.TRANSPORT_LOST
        self.closed = Closed(row, "transport.eof", how, self.reference)
        return row

    def give_up(self) -> None:
        """The transport did not end in time: it is to be cut."""
        closed = self.closed
        assert closed is not None
        self.disconnect = Disconnect(closed.code, closed.fault.name, abort=True)

    def take_disconnect(self, *, on_loan: bool) -> Disconnect | None:
        """What the driver is to be told now: after its last write, or at once where that is given up."""
        disconnect = self.disconnect
        if disconnect is None or (on_loan and not disconnect.abort):
            return None
        self.disconnect = None
        return disconnect

    def take_closed(self) -> Closed | None:
        """The last event, once."""
        closed, self.closed = self.closed, None
        return closed
