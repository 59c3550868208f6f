"""Asking: our requests, from the application's call to their outcome."""

from __future__ import annotations

from math import inf

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Failure, Fault, LocalProtocolError, ProtocolFault
from ratatoskr.events import (
    Event,
    ItemReceived,
    RequestFailed,
    RequestId,
    ResponseReceived,
    StreamEnded,
    Writable,
)
from ratatoskr.limits import MAX_CREDIT, MAX_REQUEST_TIMEOUT, Limits
from ratatoskr.messages import AnyKind, KindRegistry, NonceSource, Received, business_nonce
from ratatoskr.messages.envelopes import failure_from_error
from ratatoskr.session.bucket import Bucket
from ratatoskr.session.failures import CANCELLED_HERE, TOO_LONG, ended, timed_out
from ratatoskr.session.inbox import Inbox
from ratatoskr.session.metadata import check_metadata
from ratatoskr.session.outgoing import OutgoingCall, OutgoingCalls, serialize_payload
from ratatoskr.session.states import Asking, AskingInput
from ratatoskr.timers import Now, Timer, Timers

_NEVER = 1e16
"""Seconds since the epoch that no time reaches, so that its milliseconds fit into 64 bits."""
_PENDING = frozenset({Asking.QUEUED, Asking.OPEN, Asking.CANCELLED})
_READING = frozenset({Asking.QUEUED, Asking.OPEN})


class Asker:
    """Makes requests, and decides what becomes of them.

    Cancels are held back where the peer would take them for a flood: we use at most half of what it takes, since a
    network may deliver late what was sent in time, up to a minute. A line that stands still for longer is given up.

    Grants wait for an item: the peer charges nothing for one Grant an item that it sent. None waits in vain, since the
    credit that the peer knows of is not used up before that item.
    """

    def __init__(self, kinds: KindRegistry, limits: Limits, nonces: NonceSource, inbox: Inbox, timers: Timers) -> None:
        self._kinds = kinds
        self._limits = limits
        self._nonces = nonces
        self._inbox = inbox
        self._timers = timers
        self._cancels: dict[OutgoingCall, None] = {}
        self._grants: dict[OutgoingCall, None] = {}
        self._cancel_bucket = _half(limits)
        self.calls: OutgoingCalls = OutgoingCalls(limits)
        self.fresh: list[OutgoingCall] = []
        """Requests that wait for :meth:`start`."""
        self.refusal: Failure | None = None
        """Why there are no new requests any more."""

    def bind(self, limits: Limits) -> None:
        """The limits were negotiated."""
        self._limits = limits
        self._cancel_bucket = _half(limits)
        self.calls.bind(limits)
        for call in self.calls.all_queued():
            self._check_length(call)

    # From the application

    def request(
        self,
        kind: AnyKind,
        message: Message,
        *,
        timeout: float | None,
        key: str | bytes | None,
        expires_at: float | None,
        metadata: dict[str, str] | None,
        credit: int | None,
        issued_at: float | None,
    ) -> OutgoingCall:
        """Queue a request."""
        if kind not in self._kinds:
            raise LocalProtocolError(f"{kind} is not known here: Config(kinds=STANDARD_KINDS | [{kind.name}])")
        payload = serialize_payload(kind, message)
        business_key = kind.business_key(message, key)
        nonce = (
            self._nonces.fresh() if business_key is None else business_nonce(kind.type, kind.operation, business_key)
        )
        call = OutgoingCall(
            self,
            kind,
            payload,
            nonce,
            timeout=self._timeout(timeout),
            expires_at_ms=_time_ms("expires_at", expires_at),
            issued_at_ms=_time_ms("issued_at", issued_at),
            metadata=dict(check_metadata(metadata, self._limits)) if metadata else {},
            credit=self._credit(kind, credit),
        )
        return self._enqueue(call)

    def retry(self, id: RequestId, timeout: float | None) -> OutgoingCall:
        """Queue a request that has failed once more."""
        if not isinstance(id, OutgoingCall):
            raise LocalProtocolError(f"{id!r} is no request of ours: retry what request() or retry() returned")
        if id.state in _PENDING or id.answered:
            has = "its answer" if id.answered else "no outcome yet"
            raise LocalProtocolError(f"{id!r} has {has}: retry a request that has failed")
        if id.kind not in self._kinds:
            raise LocalProtocolError(f"{id.kind} is not known here: Config(kinds=STANDARD_KINDS | [{id.kind.name}])")
        check_metadata(id.metadata, self._limits)  # another peer may take less
        return self._enqueue(id.again(self, self._timeout(timeout)))

    def cancel(self, id: RequestId) -> None:
        """Ask the peer to end a request, or end one that it does not know of. No-op where the outcome has come."""
        call = self._own(id)
        if call.state is Asking.QUEUED:
            self._take_out(call, AskingInput.CANCEL, CANCELLED_HERE)
            return
        if call.state is Asking.OPEN:
            self._cancels[call] = None
        call.move(AskingInput.CANCEL)

    def grant(self, id: RequestId, items: int) -> None:
        """Let so many more items of a stream come. No-op where none is delivered any more."""
        call = self._own(id)
        if not call.credit:
            raise LocalProtocolError(f"{call.kind} is no stream: it has one answer, and no credit")
        if items < 1:
            raise LocalProtocolError(f"grant {items} items: at least one, and never less than before")
        if call.state not in _READING:
            return
        granted = call.granted + int(items)
        if granted - call.items > self._limits.stream_credit_ahead or granted > MAX_CREDIT:
            raise LocalProtocolError(
                f"{granted - call.items} items would be granted and have not come; "
                f"Limits.stream_credit_ahead is {self._limits.stream_credit_ahead}"
            )
        call.granted = granted
        if call.grant_due:
            self._grants[call] = None

    def _own(self, id: RequestId) -> OutgoingCall:
        if not isinstance(id, OutgoingCall):
            raise LocalProtocolError(f"{id!r} is no request of ours: name what request() or retry() returned")
        if id.owner is not self:
            raise LocalProtocolError(f"{id!r} belongs to another session: name it to the connection that it came from")
        return id

    def _enqueue(self, call: OutgoingCall) -> OutgoingCall:
        if self.refusal is not None:
            call.move(AskingInput.REFUSE)
            self._inbox.put(RequestFailed(call, self.refusal))
        else:
            self.calls.enqueue(call)
            self.fresh.append(call)
        return call

    def _timeout(self, timeout: float | None) -> float:
        timeout = self._limits.request_timeout if timeout is None else timeout
        if not 0 < timeout <= MAX_REQUEST_TIMEOUT:
            raise LocalProtocolError(f"timeout={timeout} s; it must be above 0 and at most a day")
        return timeout

    def _credit(self, kind: AnyKind, credit: int | None) -> int:
        if not kind.stream:
            if credit is not None:
                raise LocalProtocolError(f"{kind} is no stream: it has one answer, and no credit")
            return 0
        credit = self._limits.stream_credit if credit is None else credit
        if not 0 < credit <= self._limits.stream_credit_ahead:
            raise LocalProtocolError(
                f"credit={credit}; at least one item, and at most Limits.stream_credit_ahead, "
                f"{self._limits.stream_credit_ahead}"
            )
        return int(credit)

    # From the peer

    def answer(self, received: Received, response: v1.RatatoskrResponse, acked: int) -> None:
        """An item or a terminal answer came; ``acked`` is what the peer has acknowledged. Raises ProtocolFault."""
        call = self.calls.answered(received, response)
        before = call.state
        if response.last:
            self.calls.close(call)
            self._cancels.pop(call, None)
            call.move(AskingInput.ANSWER)
            event = None if before is Asking.GIVEN_UP else self._outcome(call, received, response, before)
        else:
            call.move(AskingInput.ITEM)
            event = self._item(call, received) if before is Asking.OPEN else None
            if call.grant_due:
                self._grants[call] = None
        self._inbox.put(event, received.number)
        if call.number > acked:  # else a peer that answers and never acknowledges fills the outbox
            raise ProtocolFault(Fault.ACK_INVALID, "flight.ack", f"answers {call.number} and acknowledges {acked}")

    def _outcome(self, call: OutgoingCall, received: Received, response: v1.RatatoskrResponse, before: Asking) -> Event:
        if response.HasField("error"):
            return RequestFailed(call, failure_from_error(response.error), received)
        if received.failure is not None:
            return RequestFailed(call, received.failure, received)
        if not call.credit:
            assert received.payload is not None
            call.answered = True
            return ResponseReceived(call, received.payload, received)
        if received.payload is not None and before is Asking.OPEN:
            self._inbox.put(ItemReceived(call, received.payload, received))
        call.answered = True
        return StreamEnded(call, received)

    def _item(self, call: OutgoingCall, received: Received) -> Event:
        """An item; or the end of the call, where it is nonsense."""
        if received.payload is not None:
            return ItemReceived(call, received.payload, received)
        assert received.failure is not None
        call.move(AskingInput.GIVE_UP)
        self._cancels[call] = None
        return RequestFailed(call, received.failure, received)

    def take_back(self, event: Event) -> None:
        """The event came with a flight that breaks a rule: its call has no outcome yet."""
        if isinstance(event, ResponseReceived | StreamEnded | RequestFailed):
            assert isinstance(event.id, OutgoingCall)
            self.calls.reopen(event.id)

    # To the peer

    def controls(self, now: float, room: int) -> list[v1.Control]:
        """Cancels and grants that are due, at most ``room`` of them."""
        due: list[v1.Control] = []
        cancels, grants = self._cancels, self._grants
        while cancels and len(due) < room and Timer.CANCEL not in self._timers:
            if not self._cancel_bucket.take(now):
                self._timers.set(Timer.CANCEL, now + max(0.001, self._cancel_bucket.next_in))
                break
            call = next(iter(cancels))
            del cancels[call]
            due.append(v1.Control(cancel=v1.Cancel(request_number=call.number)))
        while grants and len(due) < room:
            call = next(iter(grants))
            del grants[call]
            if call.grant_due:
                call.tell_credit()
                due.append(v1.Control(grant=v1.Grant(request_number=call.number, items=call.granted)))
        return due

    @property
    def has_controls(self) -> bool:
        """Whether there may be controls to send."""
        return bool(self._cancels or self._grants)

    # Time and the end

    def start(self, now: Now) -> None:
        """Issue time and timeout of requests that were made since the last poll begin now."""
        mono, wall_ms = now.mono, now.wall_ms
        earliest = self._timers.get(Timer.REQUEST)
        for call in self.fresh:
            call.issued_at_ms = call.issued_at_ms or wall_ms
            call.deadline = deadline = mono + call.timeout
            earliest = min(earliest, deadline)
        self.fresh.clear()
        self._timers.set(Timer.REQUEST, earliest)

    def sweep(self, now: float) -> float:
        """Give up the calls whose time has run out. Returns the next deadline, or infinity."""
        earliest = inf
        for call in self.calls.unresolved():
            if call.deadline > now:
                earliest = min(earliest, call.deadline)
            elif call.number:
                call.move(AskingInput.GIVE_UP)
                self._inbox.put(RequestFailed(call, timed_out(call)))
            else:
                self._take_out(call, AskingInput.GIVE_UP, timed_out(call))
        return earliest

    def refuse(self, failure: Failure, input: AskingInput = AskingInput.REFUSE) -> None:
        """There are no new requests from now on, and those without a number are not sent any more."""
        self.refusal = failure
        for call in self.calls.all_queued():
            self._take_out(call, input, failure)
        self.fresh.clear()

    # Over another transport, or in another session

    def restate(self) -> None:
        """Controls may be lost with the old transport: say again which calls are to end, and what streams may bring.

        Both say what holds, so what was not lost changes nothing.
        """
        for call in self.calls.open_calls():
            if call.state is not Asking.OPEN:
                self._cancels[call] = None
            elif call.told > call.credit:
                call.forget_told()
                self._grants[call] = None

    def adopt(self, other: Asker) -> None:
        """Take over the requests that have no number in another session; their ids stay. They are refused as here."""
        for call in self.calls.adopt(other.calls):
            call.owner = self
            if self.refusal is not None:
                self._take_out(call, AskingInput.REFUSE, self.refusal)
                continue
            self._check_length(call)
            if call.deadline < self._timers.get(Timer.REQUEST):
                self._timers.set(Timer.REQUEST, call.deadline)
        self.fresh.extend(other.fresh)
        other.fresh.clear()

    def end(self, fault: Fault) -> None:
        """The session is over: every request without an outcome gets one."""
        lost = ended(fault, sent=True)
        for call in self.calls.take_open():
            if call.state is not Asking.GIVEN_UP:
                self._inbox.put(RequestFailed(call, lost))
            call.move(AskingInput.END)
        self.refuse(ended(fault, sent=False), AskingInput.END)
        self._cancels.clear()
        self._grants.clear()

    def _check_length(self, call: OutgoingCall) -> None:
        """Take a request out of the queue that is longer than the peer reads."""
        if call.size > self._limits.envelope_bytes or not _carries(self._limits, call.metadata):
            self._take_out(call, AskingInput.REFUSE, TOO_LONG)

    def _take_out(self, call: OutgoingCall, input: AskingInput, failure: Failure) -> None:
        """End a request that has no number."""
        self.calls.drop_queued(call)
        call.move(input)
        self._inbox.put(RequestFailed(call, failure))
        self.tell_writable()

    def tell_writable(self) -> None:
        """The queue of requests may have become shorter."""
        if self.calls.unblocked():
            self._inbox.put(Writable())


def _half(limits: Limits) -> Bucket:
    return Bucket(limits.cancels_per_minute / 120, max(1, limits.cancels_per_minute // 2))


def _carries(limits: Limits, metadata: dict[str, str]) -> bool:
    """Whether the peer takes that metadata."""
    try:
        check_metadata(metadata, limits)
    except LocalProtocolError:
        return False
    return True


def _time_ms(name: str, time: float | None) -> int:
    """Milliseconds since the epoch; 0 where nothing is said."""
    if time is None:
        return 0
    if not 0 < time < _NEVER:
        raise LocalProtocolError(f"{name}={time}; it is in seconds since the epoch, and above 0")
    return max(1, int(time * 1000))
