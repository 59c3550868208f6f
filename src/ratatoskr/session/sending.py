"""Our direction of a session: answers, requests and items become numbered, chained, sealed flights.

1. Answers go first, then requests, then items of streams; payments before others. Numbers follow that order.
2. A flight is filled and sealed when it is asked for, not when its messages are made: while a write is under way the
   next flight fills by itself, and one signature pays for all of it.
3. A flight takes about half of the calls in flight. If it took all of them, both ends would work in turns, each idle
   while the other one works.
4. Items take a share of a flight only, and leave no span so full that the next flight has few places: what is more
   urgent waits for one flight at most.
5. A flight with a message of a sealed kind carries a seal. Otherwise the span is sealed when it is full, or when
   ``Limits.seal_delay`` has passed since its first message.
6. Every flight acknowledges what was delivered. Where there is nothing else to say, an acknowledgement travels alone
   after ``Limits.ack_delay``.
7. Over a new transport goes first what the peer did not receive over the old one: the same envelopes under the same
   numbers, in flights that are all sealed, since the seals over them may be lost. Requests among them get a hop of now.
"""

from __future__ import annotations

from math import ceil

from ratatoskr import v1
from ratatoskr.limits import Limits
from ratatoskr.messages import MessageSerializer, Position
from ratatoskr.session.incoming import DEFAULT_CREDIT, IncomingCall
from ratatoskr.session.lanes import Lanes
from ratatoskr.session.outbox import Outbox
from ratatoskr.session.outgoing import OutgoingCall, OutgoingCalls
from ratatoskr.session.streams import Streams
from ratatoskr.timers import Now, Timer, Timers

FLIGHT_OVERHEAD = 512
"""Bytes of a flight beside its envelopes, hops and controls: ack, seal, tag."""
ENVELOPE_OVERHEAD = 48
"""Bytes that one envelope adds to a flight: its field's tag and length, and its hop."""
CONTROL_BYTES = 24
"""Bytes of one control, without what people read in it."""
REASON_BYTES = 128
"""What is said of a reason to go away."""
DEFAULT_TIMEOUT_MS = 30_000
"""What a request without a hop means by its timeout."""
LEAST_SHARE = 16
"""Calls that go into one flight however few are in flight."""
ITEM_BYTES = 64 * 1024
"""Bytes of items in one flight; one item goes however long it is."""


class _Draft:
    """A flight that is being filled. What it takes is numbered, and in the outbox."""

    __slots__ = ("_outbox", "_serializer", "envelopes", "hops", "needs_seal", "places", "room")

    def __init__(self, serializer: MessageSerializer, outbox: Outbox[IncomingCall], places: int, room: int) -> None:
        self._serializer = serializer
        self._outbox = outbox
        self.places = places
        self.room = room
        self.envelopes: list[bytes] = []
        self.hops: list[v1.Hop] = []
        self.needs_seal = False

    def fits(self, size: int) -> bool:
        """Whether an envelope of so many bytes has a place."""
        return self.places > 0 and size + ENVELOPE_OVERHEAD <= self.room

    def add(self, envelope: bytes, owner: IncomingCall | None, *, sealed: bool) -> bytes:
        """Take the envelope. Returns its leaf."""
        self._put(envelope)
        self.needs_seal = self.needs_seal or sealed
        leaf = self._serializer.append(envelope)
        self._outbox.add(envelope, owner, self._serializer.chain)
        return leaf

    def again(self) -> None:
        """Take the next envelope that is to be sent again."""
        envelope = self._outbox.first_unsent()
        self._put(envelope)
        self.needs_seal = True
        self._serializer.append(envelope)
        self._outbox.sent_again()

    def _put(self, envelope: bytes) -> None:
        self.envelopes.append(envelope)
        self.places -= 1
        self.room -= len(envelope) + ENVELOPE_OVERHEAD


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
        "items_sent",
        "streams",
    )

    _serializer: MessageSerializer

    def __init__(self, outgoing: OutgoingCalls, timers: Timers, limits: Limits) -> None:
        self._outgoing = outgoing
        self._timers = timers
        self._limits = limits
        self._answers: Lanes[tuple[bytes, IncomingCall]] = Lanes()
        self.streams: Streams = Streams(limits)
        """Items that wait."""
        self._outbox: Outbox[IncomingCall] = Outbox()
        self._ack_sent = 0
        self._ack_due = False
        self._seal_due = False
        self.items_sent: int = 0
        """Items in the last flight."""

    def bind(self, serializer: MessageSerializer, limits: Limits) -> None:
        """The peer is known."""
        self._serializer = serializer
        self._limits = limits
        self._outbox = Outbox(serializer.chain)

    def position(self) -> Position:
        """The last message that has a number."""
        outbox = self._outbox
        chain = outbox.chain_at(outbox.last)
        assert chain is not None
        return Position(outbox.last, chain, self._serializer.position.sealed)

    def chain_at(self, number: int) -> bytes | None:
        """The chain's value at that number; None where it is below the last ack, or above all that was sent."""
        return self._outbox.chain_at(number)

    def resume(self, received: Position) -> None:
        """There is a new transport, and the peer has received so much over the old ones."""
        self._serializer = self._serializer.at(received)
        self._outbox.rewind(received.number)
        self._seal_due = self._serializer.unsealed > 0
        self._ack_due = True

    def answer(self, call: IncomingCall, envelope: bytes) -> None:
        """Queue the terminal answer to a request of the peer's, behind the items that wait."""
        self.streams.finish(call)
        if call.items:
            call.terminal = envelope
        else:
            self._answers.put((envelope, call), urgent=call.urgent)

    @property
    def most_controls(self) -> int:
        """Controls that one flight has room for, beside the longest envelope."""
        limits = self._limits
        room = limits.record_bytes - FLIGHT_OVERHEAD - REASON_BYTES - limits.envelope_bytes - ENVELOPE_OVERHEAD
        return min(limits.controls, room // CONTROL_BYTES)

    @property
    def bytes_held(self) -> int:
        """Bytes of answers and items that wait, and of what is not acknowledged."""
        return self._outbox.bytes + self.streams.bytes_waiting + sum(len(envelope) for envelope, _ in self._answers)

    @property
    def acked(self) -> int:
        """The highest number that the peer acknowledged."""
        return self._outbox.acked

    def acknowledge(self, number: int) -> list[IncomingCall]:
        """The peer acknowledged; returns the calls whose terminal answer it has. Raises ProtocolFault."""
        return self._outbox.acknowledge(number)

    @property
    def sends_again(self) -> bool:
        """Whether the peer still lacks what was sent over an old transport."""
        return self._outbox.unsent > 0

    @property
    def done(self) -> bool:
        """Whether no answer waits, and everything is acknowledged."""
        return not (self._answers.count or len(self._outbox))

    def build(
        self, now: Now, controls: list[v1.Control], delivered: int, answering: int, *, seal: bool
    ) -> bytes | None:
        """The next flight; None when there is nothing to say.

        ``answering``: requests of the peer's that are open. ``seal`` asks for a seal over a flight of any content.
        """
        self.items_sent = 0
        due = controls or self._ack_due or self._seal_due
        if not (due or self._answers.count or self._outgoing.queued or len(self.streams) or self._outbox.unsent):
            return None
        serializer, timers = self._serializer, self._timers
        first = serializer.number + 1
        draft = self._fill(now.mono, answering, len(controls))
        if not (draft.envelopes or due):
            return None
        flight = v1.Flight(
            first_number=first, envelopes=draft.envelopes, hops=draft.hops, ack=delivered, controls=controls
        )
        unsealed = serializer.unsealed
        full = unsealed > self._limits.span_messages - (LEAST_SHARE if self.items_sent else 1)
        if draft.needs_seal or seal or self._seal_due or full:
            flight.seal.CopyFrom(serializer.seal(now.wall_ms))
            self._seal_due = False
            timers.stop(Timer.SEAL)
        elif unsealed and Timer.SEAL not in timers:
            timers.set(Timer.SEAL, now.mono + self._limits.seal_delay)
        self._ack_sent = delivered
        self._ack_due = False
        timers.stop(Timer.ACK)
        return flight.SerializeToString()

    def _fill(self, now: float, answering: int, controls: int) -> _Draft:
        """Number what goes into one flight."""
        limits = self._limits
        share = max(LEAST_SHARE, (self._outgoing.in_flight + answering) // 2, self._outbox.unsent)
        places = min(limits.flight_messages, limits.span_messages - self._serializer.unsealed, share)
        room = limits.record_bytes - FLIGHT_OVERHEAD - (controls * CONTROL_BYTES + REASON_BYTES if controls else 0)
        draft = _Draft(self._serializer, self._outbox, places, room)
        if self._outbox.unsent:
            self._fill_again(draft, now)
            return draft
        self._fill_answers(draft)
        if not self._answers.count:
            self._fill_requests(draft, now)
        if len(self.streams):
            self._fill_items(draft)
            self._fill_answers(draft)
        return draft

    def _fill_again(self, draft: _Draft, now: float) -> None:
        outbox, outgoing = self._outbox, self._outgoing
        while outbox.unsent and draft.fits(len(outbox.first_unsent())):
            call = outgoing.with_number(outbox.sent + 1)
            if call is not None:
                self._tell_hop(draft, call, now)
                call.tell_credit()
            draft.again()

    def _tell_hop(self, draft: _Draft, call: OutgoingCall, now: float) -> None:
        hop = _hop(call, len(draft.envelopes), now)
        if hop is not None:
            draft.hops.append(hop)

    def _fill_answers(self, draft: _Draft) -> None:
        answers = self._answers
        while (first := answers.first()) is not None and draft.fits(len(first[0])):
            envelope, call = answers.pop()
            draft.add(envelope, call, sealed=call.sealed)

    def _fill_requests(self, draft: _Draft, now: float) -> None:
        outgoing = self._outgoing
        while draft.places and (call := outgoing.next(draft.room - ENVELOPE_OVERHEAD)) is not None:
            self._tell_hop(draft, call, now)
            leaf = draft.add(call.envelope(), None, sealed=call.kind.sealed)
            outgoing.opened(call, self._serializer.number, leaf)

    def _fill_items(self, draft: _Draft) -> None:
        streams, outbox = self.streams, self._outbox
        share = ITEM_BYTES
        while len(streams) and outbox.has_room(self._limits):
            size = streams.first_size()
            if not draft.fits(size) or (self.items_sent and size > share):
                return
            share -= size
            call, envelope = streams.pop()
            draft.add(envelope, None, sealed=call.sealed)
            self.items_sent += 1
            if call.terminal is not None and not call.items:
                self._answers.put((call.terminal, call), urgent=call.urgent)

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
        self.streams.clear()


def _hop(call: OutgoingCall, index: int, now: float) -> v1.Hop | None:
    """What is said of a request beside its envelope; None where that is what no hop means."""
    timeout_ms = max(1, ceil((call.deadline - now) * 1000 - 0.001))  # not less: the caller gives up first
    credit = 0 if call.granted == DEFAULT_CREDIT else call.granted
    if timeout_ms == DEFAULT_TIMEOUT_MS and not credit and not call.attempt:
        return None
    return v1.Hop(index=index, timeout_ms=timeout_ms, attempt=call.attempt, credit=credit)
