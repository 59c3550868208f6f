"""Answering: the peer's requests, from their arrival to their terminal answer."""

from __future__ import annotations

from math import inf

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Failure, LocalProtocolError
from ratatoskr.events import RequestCancelled, RequestExpired, RequestId, RequestReceived, Writable
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Received, Rule
from ratatoskr.messages.envelopes import failure_to_error
from ratatoskr.session.charges import Charges
from ratatoskr.session.failures import CANCELLED_UNSEEN
from ratatoskr.session.inbox import Inbox
from ratatoskr.session.incoming import IncomingCall, IncomingCalls
from ratatoskr.session.sending import DEFAULT_TIMEOUT_MS, Sender
from ratatoskr.session.states import Answering, AnsweringInput
from ratatoskr.timers import Now, Timer, Timers


class Answerer:
    """Takes requests in, and their answers to the sender."""

    def __init__(self, limits: Limits, inbox: Inbox, sender: Sender, charges: Charges, timers: Timers) -> None:
        self._limits = limits
        self._inbox = inbox
        self._sender = sender
        self._charges = charges
        self._timers = timers
        self.calls: IncomingCalls = IncomingCalls(limits)
        self.refusal: Failure | None = None
        """Why no more requests are taken."""

    def bind(self, limits: Limits) -> None:
        """The limits were negotiated."""
        self._limits = limits
        self.calls.bind(limits)

    # From the peer

    def ask(self, received: Received, request: v1.RatatoskrRequest, now: Now) -> None:
        """A request came. Raises ProtocolFault."""
        hop = received.hop
        timeout_ms = (hop.timeout_ms if hop is not None else 0) or DEFAULT_TIMEOUT_MS
        call = IncomingCall(self.calls, received, now.mono + timeout_ms / 1000)
        self.calls.accept(call)
        failure = received.failure
        if self.refusal is not None:
            failure = self.refusal
        elif failure is not None:
            self._charges.error(now.mono)
        elif _has_expired(request, received.kind, now):
            failure = Rule.REQUEST_EXPIRED.failure("the request expired before it arrived")
        if failure is not None:
            self._fail(call, failure, AnsweringInput.ANSWER)
            self._inbox.put(None, received.number)
            return
        kind, payload = received.kind, received.payload
        assert kind is not None
        assert payload is not None
        if call.deadline < self._timers.get(Timer.REQUEST):
            self._timers.set(Timer.REQUEST, call.deadline)
        self._inbox.put(RequestReceived(call, kind, payload, received, call.deadline), received.number)

    def cancel(self, number: int) -> None:
        """The peer cancels its request. No-op where the terminal answer is decided."""
        call = self.calls.unanswered(number)
        if call is None:
            return
        if self._inbox.withdraw(call):
            self._fail(call, CANCELLED_UNSEEN, AnsweringInput.ANSWER)
        elif call.state is Answering.RUNNING:
            self._sender.streams.drop(call)
            self._inbox.put(RequestCancelled(call))
            call.move(AnsweringInput.CANCEL)
            self.tell_writable()

    def grant(self, number: int, items: int) -> None:
        """The peer takes so many items in all. No-op where it has said so before, or the terminal answer is decided."""
        call = self.calls.unanswered(number)
        if call is not None and items > call.credit:
            call.credit = items
            self.tell_writable()

    # From the application

    def respond(self, id: RequestId, message: Message | None, *, last: bool, replayed: bool) -> None:
        """Answer, or send an item."""
        call = self.calls.check(id)
        kind = call.kind
        assert kind is not None
        if not (last or kind.stream):
            raise LocalProtocolError(f"{kind.name} is no stream: it has one answer, which is the last")
        if message is None and not (last and kind.stream):
            raise LocalProtocolError(f"{kind.name} is answered by a {kind.response.DESCRIPTOR.name}; this is nothing")
        if message is not None and not isinstance(message, kind.response):
            raise LocalProtocolError(
                f"{kind.name} is answered by a {kind.response.DESCRIPTOR.name}; this is a {type(message).__name__}"
            )
        if call.state in _OWED:
            payload = None if message is None else message.SerializeToString(deterministic=True)
            envelope = call.envelope(last=last, payload=payload, replayed=replayed)
            self._check_length(envelope)
            if not last:
                self._item(call, envelope)
                return
            self._answer(call, envelope, AnsweringInput.ANSWER)
        call.closed = last

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool) -> None:
        """End a request without an answer."""
        call = self.calls.check(id)
        if call.state in _OWED:
            self._fail(call, failure, AnsweringInput.ANSWER, replayed=replayed)
        call.closed = True

    def _item(self, call: IncomingCall, envelope: bytes) -> None:
        if call.state is Answering.RUNNING:
            self._sender.streams.check_room(call, len(envelope))
            self._sender.streams.put(call, envelope)
        call.move(AnsweringInput.ITEM)

    def _fail(self, call: IncomingCall, failure: Failure, input: AnsweringInput, *, replayed: bool = False) -> None:
        envelope = call.envelope(last=True, error=failure_to_error(failure), replayed=replayed)
        self._answer(call, envelope, input)

    def _answer(self, call: IncomingCall, envelope: bytes, input: AnsweringInput) -> None:
        call.move(input)
        self.calls.answered(call)
        self._sender.answer(call, envelope)

    def _check_length(self, envelope: bytes) -> None:
        if len(envelope) > self._limits.envelope_bytes:
            raise LocalProtocolError(
                f"the answer has {len(envelope)} bytes; Limits.envelope_bytes is {self._limits.envelope_bytes}"
            )

    def tell_writable(self) -> None:
        """Streams may have room again."""
        for call in self._sender.streams.unblocked():
            self._inbox.put(Writable(call))

    # Time and the end

    def sweep(self, now: float) -> float:
        """Tell of the calls whose time has run out. Returns the next deadline, or infinity."""
        for call in self.calls.due(now):
            call.deadline = inf
            if call.state is Answering.RUNNING:
                self._sender.streams.drop(call)
                self._inbox.put(RequestExpired(call))
            call.move(AnsweringInput.EXPIRE)
        self.tell_writable()
        return self.calls.earliest()

    def end(self) -> None:
        """The session is over: nothing is answered any more."""
        self.calls.clear()


_OWED = frozenset({Answering.RUNNING, Answering.CANCELLED})


def _has_expired(request: v1.RatatoskrRequest, kind: AnyKind | None, now: Now) -> bool:
    """Whether a request is too late by its own words. What runs at most once may have run in time under this nonce,
    so who keeps outcomes judges it.
    """
    return not (kind is not None and kind.once) and 0 < request.expires_at_ms <= now.wall_ms
