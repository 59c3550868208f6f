"""Session: calls, numbers, chains and acknowledgements of one conversation. It knows no bytes of the transport.

Flights come in through :meth:`Session.receive` and go out through :meth:`Session.build`; what the application must know
is taken from :attr:`Session.take`. Its parts: ``asking`` our requests, ``answering`` the peer's, ``sending`` our
direction of numbers, ``inbox`` the events, ``draining`` the end, ``charges`` what a peer may cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Failure, Fault, ProtocolFault
from ratatoskr.events import Event, GoingAway, RequestId, SpanSealed
from ratatoskr.identity import VerifyKey
from ratatoskr.limits import Limits
from ratatoskr.messages import (
    AnyKind,
    Direction,
    KindRegistry,
    MessageSerializer,
    MessageValidator,
    NonceSource,
    Position,
    Received,
    Signer,
)
from ratatoskr.messages.envelopes import cut
from ratatoskr.session.answering import Answerer
from ratatoskr.session.asking import Asker
from ratatoskr.session.charges import Charges
from ratatoskr.session.draining import Draining
from ratatoskr.session.failures import GOING_AWAY
from ratatoskr.session.inbox import Inbox
from ratatoskr.session.outgoing import OutgoingCall
from ratatoskr.session.sending import REASON_BYTES, Sender
from ratatoskr.timers import Now, Timer, Timers


class Session:
    """One side of one conversation. Requests may be made before it is bound to a peer; they wait in the queue."""

    def __init__(self, own: Direction, kinds: KindRegistry, limits: Limits, nonces: NonceSource) -> None:
        self.timers: Timers = Timers()
        self._own = own
        self._kinds = kinds
        self._limits = limits
        self._inbox = Inbox()
        self.take: Callable[[], Event | None] = self._inbox.take
        """The next event, for the application. What it is about counts as delivered from then on."""
        self._charges = Charges(limits)
        self._asking = Asker(kinds, limits, nonces, self._inbox, self.timers)
        self.fresh: list[OutgoingCall] = self._asking.fresh
        """Requests that wait for :meth:`start`."""
        self._sender = Sender(self._asking.calls, self.timers, limits)
        self._answering = Answerer(limits, self._inbox, self._sender, self._charges, self.timers)
        self._draining = Draining()
        self._validator: MessageValidator
        self.session_id: bytes = b""

    def bind(self, session_id: bytes, signer: Signer, peer: VerifyKey, limits: Limits) -> None:
        """The peer is known: ``limits`` are the negotiated ones, ``signer`` is this side's identity."""
        self.session_id = session_id
        self._limits = limits
        self._charges.bind(limits)
        self._asking.bind(limits)
        self._answering.bind(limits)
        self._sender.bind(MessageSerializer(signer, session_id, self._own, peer.kid), limits)
        self._validator = MessageValidator(peer, session_id, self._own.other, self._kinds, limits, own_kid=signer.kid)

    # Calls, from the application; see the methods of ratatoskr.Connection

    def request(
        self,
        kind: AnyKind,
        message: Message,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
        credit: int | None = None,
        issued_at: float | None = None,
    ) -> RequestId:
        """Queue a request."""
        return self._asking.request(
            kind,
            message,
            timeout=timeout,
            key=key,
            expires_at=expires_at,
            metadata=metadata,
            credit=credit,
            issued_at=issued_at,
        )

    def retry(self, id: RequestId, timeout: float | None = None) -> RequestId:
        """Queue a request that has failed once more."""
        return self._asking.retry(id, timeout)

    def cancel(self, id: RequestId) -> None:
        """Ask the peer to end a request of ours."""
        self._asking.cancel(id)

    def grant(self, id: RequestId, items: int) -> None:
        """Let so many more items of a stream come."""
        self._asking.grant(id, items)

    def respond(
        self, id: RequestId, message: Message | None = None, *, last: bool = True, replayed: bool = False
    ) -> None:
        """Answer a request of the peer's, or send an item of its stream."""
        self._answering.respond(id, message, last=last, replayed=replayed)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request of the peer's without an answer."""
        self._answering.fail(id, failure, replayed=replayed)

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return self._asking.calls.queued

    @property
    def bytes_held(self) -> int:
        """Bytes of all that waits to be sent or acknowledged."""
        return self._asking.calls.queued_bytes + self._sender.bytes_held

    @property
    def limits(self) -> Limits:
        """This side's limits, and the negotiated ones once it is bound."""
        return self._limits

    @property
    def takes_requests(self) -> bool:
        """Whether requests may still be sent."""
        return self._asking.refusal is None

    # Events, to the application

    def tell(self, event: Event) -> None:
        """Queue an event of the connection, in order with the session's own."""
        self._inbox.put(event)

    # Flights

    def receive(self, plaintext: bytes, now: Now) -> list[v1.Control]:
        """Take in one flight. Returns the controls that concern the connection. Raises ProtocolFault."""
        validator = self._validator
        before = validator.unsealed
        flight = validator.open(plaintext)
        messages, controls = flight.messages, flight.controls
        acked = self._sender.acked
        for call in self._sender.acknowledge(flight.ack):
            self._answering.calls.release(call)
        if messages and self._draining.disconnect_received:
            raise ProtocolFault(Fault.FLIGHT_INVALID, "disconnect.final", "a message after DISCONNECT")
        if not (messages or controls or flight.sealed is not None or self._sender.acked > acked):
            self._charges.control(now.mono)
        for control in controls:
            self._judge(control, now.mono)
        self._deliver(messages, now)
        for control in controls:
            self._obey(control)
        if flight.sealed is not None:
            self.timers.stop(Timer.SPAN)
            if before:
                self._inbox.put(SpanSealed(before))
        elif messages and Timer.SPAN not in self.timers:
            self.timers.set(Timer.SPAN, now.mono + self._limits.span_timeout)
        return [each for each in controls if each.WhichOneof("control") in _OF_THE_CONNECTION] if controls else []

    def _judge(self, control: v1.Control, now: float) -> None:
        """Charge one control, and see whether it ends the session. Raises ProtocolFault."""
        match control.WhichOneof("control"):
            case "cancel":
                self._check_asked(control.cancel.request_number)
                self._charges.cancel(now)
            case "grant":
                self._check_asked(control.grant.request_number)
                self._charges.grant(now)
            case "disconnect":
                self._charges.control(now)
                said = control.disconnect
                if said.code:
                    raise ProtocolFault(Fault.DISCONNECTED, "disconnect.fault", f"{said.code} {said.reason[:64]!r}")
                if self._validator.unsealed:
                    raise ProtocolFault(Fault.SEAL_MISSING, "disconnect.seal", "DISCONNECT before the last seal")
            case _:
                self._charges.control(now)

    def _check_asked(self, number: int) -> None:
        if not 0 < number <= self._validator.position.number:
            raise ProtocolFault(Fault.FLIGHT_INVALID, "control.number", f"a control names message {number}")

    def _deliver(self, messages: Sequence[Received], now: Now) -> None:
        """Take in all messages of one flight, or none."""
        before = len(self._inbox)
        try:
            for received in messages:
                if isinstance(received.message, v1.RatatoskrRequest):
                    self._answering.ask(received, received.message, now)
                else:
                    self._asking.answer(received, received.message, self._sender.acked)
        except ProtocolFault:
            for event in self._inbox.cut(before):
                self._asking.take_back(event)
            raise

    def _obey(self, control: v1.Control) -> None:
        """Act on a control, where it concerns the session."""
        match control.WhichOneof("control"):
            case "cancel":
                self._answering.cancel(control.cancel.request_number)
            case "grant":
                self._answering.grant(control.grant.request_number, control.grant.items)
            case "go_away":
                if self._draining.go_away_received():
                    self._refuse_new()
                    self._inbox.put(GoingAway(control.go_away.reason))
            case "disconnect":
                self._draining.disconnect_received = True
                if self._draining.go_away_received():
                    self._refuse_new()

    def build(self, now: Now, controls: list[v1.Control]) -> bytes | None:
        """The next flight, numbered, chained and sealed; None when there is nothing to say."""
        draining = self._draining
        if (draining.announced or self._asking.has_controls) and not self._sender.sends_again:
            controls = [*controls, *self._controls(now, len(controls))]
        flight = self._sender.build(
            now, controls, self._inbox.delivered, self._answering.calls.open, seal=draining.disconnect_sent
        )
        self._asking.tell_writable()
        if self._sender.items_sent:
            self._charges.items_sent(self._sender.items_sent)
            self._answering.tell_writable()
        return flight

    def _controls(self, now: Now, others: int) -> list[v1.Control]:
        """What is to be said beside messages. It names what was sent before, or ends it, so the peer lacks nothing."""
        due = self._draining.controls(self._quiet()) if self._draining.announced else []
        return [*due, *self._asking.controls(now.mono, self._sender.most_controls - others - len(due))]

    # Time

    def start(self, now: Now) -> None:
        """Issue time and timeout of requests that were made since the last poll begin now."""
        self._asking.start(now)

    def schedule_ack(self, now: Now) -> None:
        """Nothing else is to be sent: what was delivered is acknowledged alone, a little later."""
        self._sender.schedule_ack(now, self._inbox.delivered)

    def fire(self, timer: Timer, now: Now) -> None:
        """A timer of the session is due. Raises ProtocolFault where the peer let it run out."""
        match timer:
            case Timer.ACK:
                self._sender.acknowledge_now()
            case Timer.SEAL:
                self._sender.seal_now()
            case Timer.SPAN:
                raise ProtocolFault(Fault.SEAL_OVERDUE, "span.time", "the peer did not seal what it sent")
            case Timer.CANCEL:
                pass  # the next flight takes what was held back
            case _:
                earliest = min(self._asking.sweep(now.mono), self._answering.sweep(now.mono))
                if earliest < inf:
                    self.timers.set(Timer.REQUEST, earliest)

    # Without a transport, and over another one

    def detach(self) -> None:
        """The transport is lost. Until another one comes only calls run out of time."""
        for each in _OF_A_TRANSPORT:
            self.timers.stop(each)

    def positions(self) -> tuple[Position, Position]:
        """What this side has received, and what it has sent."""
        return self._validator.position, self._sender.position()

    def divergence(self, received: Position, sent: Position) -> str | None:
        """How the peer's account, of what it has received and sent, contradicts this side's; None where it does not."""
        chain = self._sender.chain_at(received.number)
        own = self._validator.position
        if chain is None:
            return f"it has received up to {received.number}, which is not among what waits here"
        if chain != received.chain:
            return f"what it has received up to {received.number} is not what was sent"
        if received.number - received.sealed > self._limits.span_messages:
            return f"it lacks a seal since {received.sealed}, and has received up to {received.number}"
        if sent.number < own.number:
            return f"it has sent up to {sent.number}, and {own.number} messages came"
        if sent.number == own.number and sent.chain != own.chain:
            return f"what it has sent up to {sent.number} is not what came"
        return None

    def resume(self, received: Position) -> None:
        """The peer goes on with the session, and has received so much. :meth:`divergence` has found none."""
        self._sender.resume(received)
        self._asking.restate()
        self._draining.restate()
        self._charges.resumed(self._answering.calls.open)

    def resumed(self, now: Now) -> None:
        """The new transport is open: what the peer has not sealed is due again."""
        if self._validator.unsealed:
            self.timers.set(Timer.SPAN, now.mono + self._limits.span_timeout)

    def adopt(self, other: Session) -> None:
        """Take over what waits in another session: requests without a number, news of others, the wish to end."""
        while (event := other.take()) is not None:
            self._inbox.put(event)
        self._asking.adopt(other._asking)
        if other._draining.began:
            self.drain(other._draining.reason)

    # The end

    @property
    def said_disconnect(self) -> bool:
        """Whether this side has said that it has nothing more to say."""
        return self._draining.disconnect_sent

    def drain(self, reason: str) -> None:
        """Take no new requests, say so, and say DISCONNECT when all is done."""
        self._draining.begin(cut(reason, REASON_BYTES))
        self._refuse_new()

    @property
    def draining(self) -> bool:
        """Whether either side announced the end."""
        return self._draining.announced

    @property
    def over(self) -> bool:
        """Whether both sides have said DISCONNECT."""
        return self._draining.over

    def _quiet(self) -> bool:
        return (
            self._asking.calls.empty and not self._answering.calls.open and self._sender.done and not len(self._inbox)
        )

    def _refuse_new(self) -> None:
        self._asking.refuse(GOING_AWAY)
        self._answering.refusal = GOING_AWAY

    def last_flight(self, now: Now, code: int, reason: str) -> bytes:
        """A sealed flight whose DISCONNECT names the fault that ended the session."""
        control = v1.Control(disconnect=v1.Disconnect(code=code, reason=reason))
        return self._sender.last(now, self._inbox.delivered, control)

    def end(self, fault: Fault) -> None:
        """The session is over: every request without an outcome gets one."""
        self._asking.end(fault)
        self._answering.end()
        self._sender.clear()
        self.timers.clear()


_OF_A_TRANSPORT = (Timer.ACK, Timer.SEAL, Timer.SPAN, Timer.CANCEL)
"""Timers that mean nothing while there is none."""
_OF_THE_CONNECTION = frozenset({"ping", "pong"})
