"""Our direction of a session: answers and requests become numbered, chained, sealed flights.

1. Answers go first, then requests, payments before others; numbers follow that order.
2. A flight is filled and sealed when it is asked for, not when its messages are made: while a write is under way the
   next flight fills by itself, and one signature pays for all of it.
3. A flight with a message of a sealed kind carries a seal. Otherwise the span is sealed when it is full, or when
   ``Limits.seal_delay`` has passed since its first message.
4. Every flight acknowledges what was delivered. Where there is nothing else to say, an acknowledgement travels alone
   after ``Limits.ack_delay``.
"""

from __future__ import annotations

from collections import deque

from ratatoskr import v1
from ratatoskr.limits import Limits
from ratatoskr.messages import MessageSerializer
from ratatoskr.session.incoming import IncomingCall
from ratatoskr.session.outbox import Outbox
from ratatoskr.session.outgoing import OutgoingCalls
from ratatoskr.timers import Now, Timer, Timers

FLIGHT_OVERHEAD = 512
"""Bytes of a flight beside its envelopes and hops: ack, controls, seal, tag."""
ENVELOPE_OVERHEAD = 40
"""Bytes that one envelope adds to a flight: its field's tag and length, and its hop."""
DEFAULT_TIMEOUT_MS = 30_000
"""What a request without a hop means by its timeout."""


class Sender:
    """What waits to be sent, and what was sent and waits to be acknowledged."""

    __slots__ = (
        "_ack_due",
        "_ack_sent",
        "_answers",
        "_limits",
        "_outbox",
        "_outgoing",
        "_seal_due",
        "_serializer",
        "_timers",
    )

    _serializer: MessageSerializer

    def __init__(self, outgoing: OutgoingCalls, timers: Timers, limits: Limits) -> None:
        self._outgoing = outgoing
        self._timers = timers
        self._limits = limits
        self._answers: deque[tuple[bytes, bool, IncomingCall]] = deque()
        self._outbox: Outbox[IncomingCall] = Outbox()
        self._ack_sent = 0
        self._ack_due = False
        self._seal_due = False

    def bind(self, serializer: MessageSerializer, limits: Limits) -> None:
        """The peer is known."""
        self._serializer = serializer
        self._limits = limits

    def answer(self, envelope: bytes, call: IncomingCall, *, sealed: bool) -> None:
        """Queue the terminal answer to a request of the peer's."""
        self._answers.append((envelope, sealed, call))

    @property
    def acked(self) -> int:
        """The highest number that the peer acknowledged."""
        return self._outbox.acked

    def acknowledge(self, number: int) -> list[IncomingCall]:
        """The peer acknowledged; returns the calls whose terminal answer it has. Raises ProtocolFault."""
        return self._outbox.acknowledge(number)

    @property
    def done(self) -> bool:
        """Whether no answer waits, and everything is acknowledged."""
        return not self._answers and not len(self._outbox)

    def build(self, now: Now, controls: list[v1.Control], delivered: int, *, seal: bool) -> bytes | None:
        """The next flight; None when there is nothing to say. ``seal`` asks for a seal over a flight of any content."""
        due = controls or self._ack_due or self._seal_due
        if not (due or self._answers or self._outgoing.queued):
            return None
        serializer, timers = self._serializer, self._timers
        first = serializer.number + 1
        envelopes, hops, needs_seal = self._fill(now.mono)
        if not (envelopes or due):
            return None
        flight = v1.Flight(first_number=first, envelopes=envelopes, hops=hops, ack=delivered, controls=controls)
        unsealed = serializer.unsealed
        if needs_seal or seal or self._seal_due or unsealed >= self._limits.span_messages:
            flight.seal.CopyFrom(serializer.seal(now.wall_ms))
            self._seal_due = False
            timers.stop(Timer.SEAL)
        elif unsealed and Timer.SEAL not in timers:
            timers.set(Timer.SEAL, now.mono + self._limits.seal_delay)
        self._ack_sent = delivered
        self._ack_due = False
        timers.stop(Timer.ACK)
        return flight.SerializeToString()

    def _fill(self, now: float) -> tuple[list[bytes], list[v1.Hop], bool]:
        """Number what fits into one flight. Returns also whether any of it needs a seal."""
        limits, serializer, outbox, outgoing = self._limits, self._serializer, self._outbox, self._outgoing
        room = limits.record_bytes - FLIGHT_OVERHEAD
        count = min(limits.flight_messages, limits.span_messages - serializer.unsealed)
        envelopes: list[bytes] = []
        hops: list[v1.Hop] = []
        needs_seal = False
        answers = self._answers
        while answers and len(envelopes) < count and len(answers[0][0]) + ENVELOPE_OVERHEAD <= room:
            envelope, sealed, incoming = answers.popleft()
            serializer.append(envelope)
            outbox.add(envelope, incoming)
            envelopes.append(envelope)
            room -= len(envelope) + ENVELOPE_OVERHEAD
            needs_seal = needs_seal or sealed
        while not answers and len(envelopes) < count:
            call = outgoing.next(room - ENVELOPE_OVERHEAD)
            if call is None:
                break
            envelope = call.envelope()
            leaf = serializer.append(envelope)
            outbox.add(envelope, None)
            outgoing.opened(call, serializer.number, leaf)
            remaining_ms = round((call.deadline - now) * 1000)
            if remaining_ms != DEFAULT_TIMEOUT_MS:
                hops.append(v1.Hop(index=len(envelopes), timeout_ms=max(1, remaining_ms)))
            envelopes.append(envelope)
            room -= len(envelope) + ENVELOPE_OVERHEAD
            needs_seal = needs_seal or call.kind.sealed
        return envelopes, hops, needs_seal

    def schedule_ack(self, now: Now, delivered: int) -> None:
        """Nothing else is to be sent now: let what was delivered be acknowledged alone, a little later."""
        if delivered > self._ack_sent and not self._ack_due and Timer.ACK not in self._timers:
            self._timers.set(Timer.ACK, now.mono + self._limits.ack_delay)

    def acknowledge_now(self) -> None:
        """ACK is due."""
        self._ack_due = True

    def seal_now(self) -> None:
        """SEAL is due."""
        self._seal_due = True

    def last(self, now: Now, delivered: int, control: v1.Control) -> bytes:
        """A sealed flight with nothing but one control: the end of a session that a fault ended."""
        serializer = self._serializer
        return v1.Flight(
            first_number=serializer.number + 1, ack=delivered, controls=[control], seal=serializer.seal(now.wall_ms)
        ).SerializeToString()

    def clear(self) -> None:
        """The session ended: nothing of what waits will be sent."""
        self._answers.clear()
