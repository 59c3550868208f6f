"""Session: calls, numbers, chains and acknowledgements of one conversation. It knows no bytes of the transport.

Flights come in through :meth:`Session.receive` and go out through :meth:`Session.build`; what the application must know
is taken from :meth:`Session.take`. A number is acknowledged when its event has been taken, not when it arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Failure, Fault, LocalProtocolError, ProtocolFault
from ratatoskr.events import (
    Event,
    GoingAway,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    ResponseReceived,
    SpanSealed,
    Writable,
)
from ratatoskr.identity import VerifyKey
from ratatoskr.limits import MAX_REQUEST_TIMEOUT, Limits
from ratatoskr.messages import (
    AnyKind,
    Direction,
    KindRegistry,
    MessageSerializer,
    MessageValidator,
    NonceSource,
    Received,
    Rule,
    Signer,
    business_nonce,
)
from ratatoskr.messages.envelopes import cut, failure_from_error, failure_to_error
from ratatoskr.session.bucket import Bucket
from ratatoskr.session.draining import Draining
from ratatoskr.session.failures import EXPIRED_HERE, GOING_AWAY, TOO_LONG, ended, timed_out
from ratatoskr.session.incoming import IncomingCall, IncomingCalls
from ratatoskr.session.metadata import check_metadata
from ratatoskr.session.outgoing import OutgoingCall, OutgoingCalls, serialize_payload
from ratatoskr.session.sending import DEFAULT_TIMEOUT_MS, Sender
from ratatoskr.timers import Now, Timer, Timers

_REASON_BYTES = 128
"""What is said of a reason to go away."""
_NEVER = 1e16
"""Seconds since the epoch that no expiry reaches, so that its milliseconds fit into 64 bits."""


class Session:
    """One side of one conversation. Requests may be made before it is bound to a peer; they wait in the queue."""

    def __init__(self, own: Direction, kinds: KindRegistry, limits: Limits, nonces: NonceSource) -> None:
        self.timers: Timers = Timers()
        self._own = own
        self._kinds = kinds
        self._limits = limits
        self._nonces = nonces
        self._events: deque[tuple[int, Event | None]] = deque()
        self._outgoing = OutgoingCalls(limits)
        self._incoming = IncomingCalls(limits)
        self._sender = Sender(self._outgoing, self.timers, limits)
        self._draining = Draining()
        self._charges = Bucket(limits.control_rate, limits.control_burst)
        self.fresh: list[OutgoingCall] = []
        """Requests that wait for :meth:`start`."""
        self._delivered = 0
        self._ended: Failure | None = None
        self._validator: MessageValidator
        self.session_id: bytes = b""

    def bind(self, session_id: bytes, signer: Signer, peer: VerifyKey, limits: Limits) -> None:
        """The peer is known: ``limits`` are the negotiated ones, ``signer`` is this side's identity."""
        self.session_id = session_id
        self._limits = limits
        self._outgoing.bind(limits)
        self._incoming.bind(limits)
        self._sender.bind(MessageSerializer(signer, session_id, self._own, peer.kid), limits)
        self._validator = MessageValidator(peer, session_id, self._own.other, self._kinds, limits, own_kid=signer.kid)
        for call in self._outgoing.take_longer_than(limits.envelope_bytes):
            self._resolve(call, TOO_LONG)

    # Calls, from the application

    def request(
        self,
        kind: AnyKind,
        message: Message,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> RequestId:
        """Queue a request; see :meth:`ratatoskr.Connection.request`."""
        if kind not in self._kinds:
            raise LocalProtocolError(f"{kind} is not known here: Config(kinds=STANDARD_KINDS | [{kind.name}])")
        payload = serialize_payload(kind, message)
        business_key = kind.business_key(message, key)
        nonce = (
            self._nonces.fresh() if business_key is None else business_nonce(kind.type, kind.operation, business_key)
        )
        call = OutgoingCall(
            kind,
            payload,
            nonce,
            self._limits.request_timeout if timeout is None else timeout,
            _expiry_ms(expires_at),
            check_metadata(metadata, self._limits) if metadata else {},
        )
        if not 0 < call.timeout <= MAX_REQUEST_TIMEOUT:
            raise LocalProtocolError(f"timeout={call.timeout} s; it must be above 0 and at most a day")
        failure = self._ended or (GOING_AWAY if self._draining.announced else None)
        if failure is not None:
            self._resolve(call, failure)
        else:
            self._outgoing.enqueue(call)
            self.fresh.append(call)
        return call

    def respond(self, id: RequestId, message: Message, *, replayed: bool = False) -> None:
        """Answer a request; see :meth:`ratatoskr.Connection.respond`."""
        call = _incoming(id)
        kind = call.kind
        assert kind is not None
        if not isinstance(message, kind.response):
            raise LocalProtocolError(
                f"{kind.name} is answered by a {kind.response.DESCRIPTOR.name}; this is a {type(message).__name__}"
            )
        if self._incoming.awaits(call):
            payload = message.SerializeToString(deterministic=True)
            self._answer(call, call.envelope(payload=payload, replayed=replayed), sealed=kind.sealed)
        call.answered = True

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request without an answer; see :meth:`ratatoskr.Connection.fail`."""
        call = _incoming(id)
        if self._incoming.awaits(call):
            self._refuse(call, failure, replayed=replayed)
        call.answered = True

    def _refuse(self, call: IncomingCall, failure: Failure, *, replayed: bool = False) -> None:
        envelope = call.envelope(error=failure_to_error(failure), replayed=replayed)
        self._answer(call, envelope, sealed=call.kind is None or call.kind.sealed)

    def _answer(self, call: IncomingCall, envelope: bytes, *, sealed: bool) -> None:
        if len(envelope) > self._limits.envelope_bytes:
            raise LocalProtocolError(
                f"the answer has {len(envelope)} bytes; Limits.envelope_bytes is {self._limits.envelope_bytes}"
            )
        self._incoming.answer(call)
        self._sender.answer(envelope, call, sealed=sealed)

    def _resolve(self, call: OutgoingCall, failure: Failure) -> None:
        call.resolved = True
        self._events.append((0, RequestFailed(call, failure)))

    # Events, to the application

    def take(self) -> Event | None:
        """The next event. What it is about counts as delivered from now on."""
        events = self._events
        while events:
            number, event = events.popleft()
            if number:
                self._delivered = number
            if event is not None:
                return event
        return None

    def tell(self, event: Event) -> None:
        """Queue an event of the connection, in order with the session's own."""
        self._events.append((0, event))

    # Flights

    def receive(self, plaintext: bytes, now: Now) -> list[v1.Control]:
        """Take in one flight. Returns the controls that concern the connection. Raises ProtocolFault."""
        validator = self._validator
        before = validator.unsealed
        flight = validator.open(plaintext)
        messages, controls = flight.messages, flight.controls
        acked = self._sender.acked
        for call in self._sender.acknowledge(flight.ack):
            self._incoming.release(call)
        if messages and self._draining.disconnect_received:
            raise ProtocolFault(Fault.FLIGHT_INVALID, "disconnect.final", "a message after DISCONNECT")
        if controls or not (messages or flight.sealed is not None or self._sender.acked > acked):
            self._judge(controls, now)
        self._deliver(messages, now)
        if flight.sealed is not None:
            self.timers.stop(Timer.SPAN)
            if before:
                self._events.append((0, SpanSealed(before)))
        elif messages and Timer.SPAN not in self.timers:
            self.timers.set(Timer.SPAN, now.mono + self._limits.span_timeout)
        return self._controls_in(controls) if controls else []

    def _judge(self, controls: Sequence[v1.Control], now: Now) -> None:
        """Charge every control, and a flight that brought nothing; see what ends the session."""
        for _ in range(max(1, len(controls))):
            if not self._charges.take(now.mono):
                raise ProtocolFault(
                    Fault.LIMIT_EXCEEDED, "controls.rate", f"more than {self._limits.control_rate} controls a second"
                )
        for control in controls:
            if control.HasField("disconnect"):
                said = control.disconnect
                if said.code:
                    raise ProtocolFault(Fault.DISCONNECTED, "disconnect.fault", f"{said.code} {said.reason[:64]!r}")
                if self._validator.unsealed:
                    raise ProtocolFault(Fault.SEAL_MISSING, "disconnect.seal", "DISCONNECT before the last seal")

    def _deliver(self, messages: Sequence[Received], now: Now) -> None:
        """Queue the events of one flight: of all its messages, or of none."""
        before = len(self._events)
        try:
            for received in messages:
                if isinstance(received.message, v1.RatatoskrRequest):
                    self._request_in(received, received.message, now)
                else:
                    self._response_in(received, received.message)
        except ProtocolFault:
            while len(self._events) > before:
                _, event = self._events.pop()
                if isinstance(event, ResponseReceived | RequestFailed) and isinstance(event.id, OutgoingCall):
                    self._outgoing.reopen(event.id)
            raise

    def _request_in(self, received: Received, request: v1.RatatoskrRequest, now: Now) -> None:
        hop = received.hop
        timeout_ms = (hop.timeout_ms if hop is not None else 0) or DEFAULT_TIMEOUT_MS
        call = IncomingCall(self._incoming, received, now.mono + timeout_ms / 1000)
        self._incoming.accept(call)
        failure = received.failure
        if self._draining.announced:
            failure = GOING_AWAY
        elif failure is None and _has_expired(request, received.kind, now):
            failure = Rule.REQUEST_EXPIRED.failure("the request expired before it arrived")
        if failure is not None:
            self._refuse(call, failure)
            self._events.append((received.number, None))
            return
        kind, payload = received.kind, received.payload
        assert kind is not None
        assert payload is not None
        if call.deadline < self.timers.get(Timer.REQUEST):
            self.timers.set(Timer.REQUEST, call.deadline)
        self._events.append((received.number, RequestReceived(call, kind, payload, received, call.deadline)))

    def _response_in(self, received: Received, response: v1.RatatoskrResponse) -> None:
        call = self._outgoing.answered(response.request_number, response.request_leaf, received.kind)
        event: Event | None = None
        if not call.resolved:
            call.resolved = True
            if received.payload is not None:
                event = ResponseReceived(call, received.payload, received)
            else:
                event = RequestFailed(call, received.failure or failure_from_error(response.error), received)
        self._events.append((received.number, event))
        if call.number > self._sender.acked:  # else a peer that answers and never acknowledges fills the outbox
            raise ProtocolFault(
                Fault.ACK_INVALID, "flight.ack", f"answers {call.number} and acknowledges {self._sender.acked}"
            )

    def _controls_in(self, controls: Sequence[v1.Control]) -> list[v1.Control]:
        """Act on what concerns the session, return the rest."""
        others = []
        for control in controls:
            which = control.WhichOneof("control")
            if which == "go_away":
                if self._draining.go_away_received():
                    self._fail_queued()
                    self._events.append((0, GoingAway(control.go_away.reason)))
            elif which == "disconnect":
                self._draining.disconnect_received = True
                if self._draining.go_away_received():
                    self._fail_queued()
            elif which is not None:
                others.append(control)
        return others

    def build(self, now: Now, controls: list[v1.Control]) -> bytes | None:
        """The next flight, numbered, chained and sealed; None when there is nothing to say."""
        draining = self._draining
        if draining.announced:
            controls = [*controls, *draining.controls(self._quiet())]
        flight = self._sender.build(now, controls, self._delivered, seal=draining.disconnect_sent)
        self._tell_writable()
        return flight

    def _tell_writable(self) -> None:
        """The queue of requests may have become shorter."""
        if self._outgoing.unblocked():
            self._events.append((0, Writable()))

    # Time

    def start(self, now: Now) -> None:
        """Issue time and timeout of requests that were made since the last poll begin now."""
        mono, wall_ms = now.mono, now.wall_ms
        earliest = self.timers.get(Timer.REQUEST)
        for call in self.fresh:
            call.issued_at_ms = wall_ms
            call.deadline = deadline = mono + call.timeout
            earliest = min(earliest, deadline)
        self.fresh.clear()
        self.timers.set(Timer.REQUEST, earliest)

    def schedule_ack(self, now: Now) -> None:
        """Nothing else is to be sent: what was delivered is acknowledged alone, a little later."""
        self._sender.schedule_ack(now, self._delivered)

    def fire(self, timer: Timer, now: Now) -> None:
        """A timer of the session is due. Raises ProtocolFault where the peer let it run out."""
        if timer is Timer.ACK:
            self._sender.acknowledge_now()
        elif timer is Timer.SEAL:
            self._sender.seal_now()
        elif timer is Timer.SPAN:
            raise ProtocolFault(Fault.SEAL_OVERDUE, "span.time", "the peer did not seal what it sent")
        else:
            self._sweep(now)

    def _sweep(self, now: Now) -> None:
        """End the calls whose time has run out, and find the next deadline."""
        earliest = inf
        for call in list(self._outgoing.unresolved()):
            if call.deadline > now.mono:
                earliest = min(earliest, call.deadline)
                continue
            if not call.number:
                self._outgoing.drop_queued(call)
            self._resolve(call, timed_out(call))
        self._tell_writable()
        for incoming in self._incoming.due(now.mono):
            self._refuse(incoming, EXPIRED_HERE)
            self._events.append((0, RequestExpired(incoming)))
        earliest = min(earliest, self._incoming.earliest())
        if earliest < inf:
            self.timers.set(Timer.REQUEST, earliest)

    # The end

    def drain(self, reason: str) -> None:
        """Take no new requests, say so, and say DISCONNECT when all is done."""
        self._draining.begin(cut(reason, _REASON_BYTES))
        self._fail_queued()

    @property
    def draining(self) -> bool:
        """Whether either side announced the end."""
        return self._draining.announced

    @property
    def over(self) -> bool:
        """Whether both sides have said DISCONNECT."""
        return self._draining.over

    def _quiet(self) -> bool:
        return self._outgoing.empty and not self._incoming.open and self._sender.done and not self._events

    def _fail_queued(self) -> None:
        self.fresh.clear()
        for call in self._outgoing.take_queued():
            self._resolve(call, GOING_AWAY)
        self._tell_writable()

    def last_flight(self, now: Now, code: int, reason: str) -> bytes:
        """A sealed flight whose DISCONNECT names the fault that ended the session."""
        control = v1.Control(disconnect=v1.Disconnect(code=code, reason=reason))
        return self._sender.last(now, self._delivered, control)

    def end(self, fault: Fault) -> None:
        """The session is over: every request without an outcome gets one."""
        self._ended = ended(fault, sent=False)
        lost = ended(fault, sent=True)
        self.fresh.clear()
        for call in list(self._outgoing.unresolved()):
            self._resolve(call, lost if call.number else self._ended)
        self._outgoing.take_queued()
        self._incoming.clear()
        self._sender.clear()
        self.timers.clear()


def _expiry_ms(expires_at: float | None) -> int:
    if expires_at is None:
        return 0
    if not 0 < expires_at < _NEVER:
        raise LocalProtocolError(f"expires_at={expires_at}; it is in seconds since the epoch, and above 0")
    return max(1, int(expires_at * 1000))


def _has_expired(request: v1.RatatoskrRequest, kind: AnyKind | None, now: Now) -> bool:
    """Whether a request is too late by its own words. What runs at most once may have run in time under this nonce,
    so who keeps outcomes judges it.
    """
    return not (kind is not None and kind.once) and 0 < request.expires_at_ms <= now.wall_ms


def _incoming(id: RequestId) -> IncomingCall:
    if not isinstance(id, IncomingCall):
        raise LocalProtocolError(f"{id!r} is no request of the peer's: answer the id of a RequestReceived event")
    return id
