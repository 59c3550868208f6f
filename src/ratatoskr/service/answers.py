"""Answers: the way of an outcome to the peer, and of what the peer must not see to the log."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from google.protobuf.message import Message

from ratatoskr.errors import Disposition, Failure, LocalProtocolError, Status
from ratatoskr.events import RequestReceived
from ratatoskr.messages import AnyKind
from ratatoskr.service.host import Host, Level, Note
from ratatoskr.service.link import PeerLink
from ratatoskr.service.outcome import Outcome

REFERENCE_BYTES = 4


class Arrival(NamedTuple):
    """A request, and where its answer goes."""

    link: PeerLink
    event: RequestReceived

    @property
    def kind(self) -> AnyKind:
        """What it is about."""
        return self.event.kind

    @property
    def message(self) -> Message:
        """Its payload."""
        return self.event.message

    def __str__(self) -> str:
        return f"{self.event.kind} from {self.link.peer.subject}"


class Answers:
    """Gives outcomes to peers and notes to the host."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def note(self, level: Level, event: str, text: str, error: BaseException | None = None) -> str:
        """Write it to the log. Returns a fresh reference, under which it is found there."""
        reference = self._host.entropy(REFERENCE_BYTES).hex()
        self._host.log(Note(level, event, text, reference, error))
        return reference

    def internal(
        self,
        arrival: Arrival,
        event: str,
        text: str,
        error: BaseException | None = None,
        *,
        undone: bool = False,
    ) -> Failure:
        """Our fault: the reason goes to the log, the peer gets a reference to it.

        What runs at most once has claimed its nonce by now, so nobody knows what it did; unless it was ``undone``.
        """
        reference = self.note(Level.ERROR, event, f"{arrival}: {text}", error)
        if undone:
            disposition = Disposition.NOT_PROCESSED
        else:
            disposition = Disposition.MAYBE if arrival.kind.once else Disposition.FAILED
        return Failure(Status.INTERNAL, "INTERNAL", f"internal error (ref {reference})", disposition)

    def give(self, arrival: Arrival, outcome: Outcome, *, replayed: bool = False) -> None:
        """Answer the request. An answer that cannot be sent becomes an internal error."""
        try:
            self._send(arrival, outcome, replayed=replayed)
        except LocalProtocolError as error:
            failure = self.internal(arrival, "answer.refused", f"the answer cannot be sent: {error}", error)
            with suppress(LocalProtocolError):  # the line is gone, and the note says so
                self._send(arrival, failure, replayed=False)

    @staticmethod
    def _send(arrival: Arrival, outcome: Outcome, *, replayed: bool) -> None:
        link, event = arrival
        if isinstance(outcome, Failure):
            link.fail(event.id, outcome, replayed=replayed)
        else:
            link.respond(event.id, outcome, replayed=replayed)
