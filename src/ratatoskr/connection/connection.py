"""Connection: the machine of one transport. Bytes in; events and outbound bytes out.

The driver's whole duty::

    while True:
        match connection.poll(now()):
            case Transmit(data):        write data, then connection.sent()
            case Disconnect(...):       close the transport, then connection.receive_eof()
            case Wait(until):           read with that deadline: connection.receive(data), or connection.receive_eof()
            case Closed():              done
            case event:                 give it to the application

Poll until ``Wait`` after any call, and between reads. While a write is under way go on reading and polling.
"""

from __future__ import annotations

from collections import deque
from math import inf

from google.protobuf.message import Message

from ratatoskr.channel import Alert, RecordReader, RecordType, encode_alert, parse_alert
from ratatoskr.config import Config
from ratatoskr.connection.client import ClientSide
from ratatoskr.connection.liveness import Liveness
from ratatoskr.connection.machine import Machine
from ratatoskr.connection.server import ServerSide
from ratatoskr.connection.states import RECORD_INPUTS, Input, State
from ratatoskr.errors import Failure, Fault, FaultClass, LocalProtocolError, ProtocolFault
from ratatoskr.events import Closed, ConnectionRequested, Disconnect, Opened, Output, RequestId, Transmit, Wait
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import AnyKind, Direction, NonceSource
from ratatoskr.session import Session
from ratatoskr.timers import Now, Timer, Timers


class Connection:
    """One end of one transport. Make it with :meth:`client` or :meth:`server`.

    No method but :meth:`poll` takes the time, and none performs I/O. No bytes that the peer sends make a method raise.
    Misuse raises :class:`~ratatoskr.errors.LocalProtocolError` and changes nothing.
    """

    def __init__(self, config: Config, side: ClientSide | ServerSide) -> None:
        self._config = config
        self._side = side
        own = Direction.FROM_CLIENT if isinstance(side, ClientSide) else Direction.FROM_SERVER
        self._session = Session(own, config.kinds, config.limits, NonceSource(config.entropy))
        self._reader = RecordReader()
        self._timers = Timers()
        self._machine = Machine(side, config.limits, self._timers)
        self._liveness = Liveness(config.limits, self._timers, config.entropy)
        self._outbound: deque[bytes] = deque()
        self._unread = False
        self._partial = False
        self._on_loan = False
        self._write_until = inf
        self._reference = 0
        self._urged = False
        self._eof: str | None = None
        self._decision: Failure | bool | None = None
        self._abandoned = False
        self._started = False
        self._disconnect: Disconnect | None = None
        self._closed: Closed | None = None
        """What is to be told at the very end, once that is known and until it is told."""
        self._peer: VerifiedPeer | None = None

    @classmethod
    def client(cls, config: Config, *, server_name: str) -> Connection:
        """A client's end. The server must prove to be ``server_name``."""
        return cls(config, ClientSide(config, server_name))

    @classmethod
    def server(cls, config: Config) -> Connection:
        """A server's end."""
        return cls(config, ServerSide(config))

    @property
    def state(self) -> State:
        """Where the connection is; always matches what poll returned last."""
        return self._machine.state

    @property
    def peer(self) -> VerifiedPeer | None:
        """Who the other end proved to be; None before ``ConnectionRequested`` or ``Opened``."""
        return self._peer

    @property
    def session_id(self) -> bytes:
        """32 bytes; empty before ``Opened``."""
        return self._session.session_id

    @property
    def round_trip(self) -> float | None:
        """Seconds from the last ping to its answer. Until a quiet line is pinged it is the handshake's; None before."""
        return self._liveness.round_trip

    @property
    def takes_requests(self) -> bool:
        """Whether a request that is made now may still be sent: nobody has said that the connection is to end."""
        return self._session.takes_requests

    # From the transport

    def receive(self, data: bytes) -> None:
        """Bytes came, in any chunking; none prove nothing. They are judged by the next poll."""
        if data and self._machine.state not in (State.CLOSING, State.CLOSED):
            self._reader.feed(data)
            self._unread = True
            self._liveness.heard = True

    def receive_eof(self, error: str | None = None) -> None:
        """No more bytes will come; ``error`` says why, for the log. Idempotent."""
        if self._eof is None:
            self._eof = error or "the transport ended"
            self._urged = True

    def sent(self) -> None:
        """The data of the last Transmit is written. Ignored where none is on loan."""
        self._on_loan = False

    # From the application

    def accept(self) -> None:
        """Let the client of ``ConnectionRequested`` in."""
        self._decide(True)

    def reject(self, failure: Failure) -> None:
        """Send the client of ``ConnectionRequested`` away; it is told the failure."""
        self._decide(failure)

    def _decide(self, decision: Failure | bool) -> None:
        if self._machine.state in (State.CLOSING, State.CLOSED):
            return
        if self._machine.state is not State.DECIDING or self._decision is not None:
            raise LocalProtocolError("accept() or reject() answers ConnectionRequested, once")
        self._decision = decision
        self._urged = True

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
    ) -> RequestId:
        """Ask the peer. Exactly one outcome will carry the returned id: ResponseReceived, or StreamEnded after any
        number of ItemReceived where the kind is a stream, or RequestFailed.

        ``timeout``: seconds from the next poll, default ``Limits.request_timeout``. ``key``: the business key of a
        kind declared ``once=True``. ``expires_at``: seconds since the epoch, from when on the peer must not execute it.
        ``credit``: items of a stream that may come before any :meth:`grant`, default ``Limits.stream_credit``.

        May be called before ``Opened``. Raises WouldBlock when the queue is full, LocalProtocolError for misuse.
        """
        self._check_open()
        return self._session.request(
            kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata, credit=credit
        )

    def retry(self, id: RequestId, *, timeout: float | None = None) -> RequestId:
        """Make a request that has failed once more, under an id of its own; of this connection or another one.

        Nonce, issue time, expiry and content stay, so what runs at most once is the same operation to the peer.
        Raises as :meth:`request` does.
        """
        self._check_open()
        return self._session.retry(id, timeout)

    def _check_open(self) -> None:
        if self._machine.state is State.CLOSED and self._closed is None:
            raise LocalProtocolError("the connection is closed: make a new one")

    def cancel(self, id: RequestId) -> None:
        """Ask the peer to end a request of ours. No-op where its outcome has come.

        It decides nothing: the outcome is what the peer answers, and may be the answer that was asked for. Items that
        come from now on are dropped. A request that has no number yet fails at once, surely not processed. Raises
        LocalProtocolError for the id of anything else.
        """
        self._session.cancel(id)

    def grant(self, id: RequestId, items: int) -> None:
        """Let so many more items of a stream come. No-op where its outcome has come.

        Raises LocalProtocolError for misuse, and where more than ``Limits.stream_credit_ahead`` would be granted and
        not yet have come.
        """
        self._session.grant(id, items)

    def respond(
        self, id: RequestId, message: Message | None = None, *, last: bool = True, replayed: bool = False
    ) -> None:
        """Answer a request. Dropped where the request has expired or the session ended.

        With ``last=False`` this sends an item of a stream. It raises WouldBlock where the caller takes no more for now,
        or too much waits to be sent; the event ``Writable`` with that id says when to try again. Without a message
        it ends a stream. The last answer never blocks.

        ``replayed`` says that a stored outcome is repeated. Raises LocalProtocolError for misuse, or an answer that
        exceeds ``Limits.envelope_bytes``.
        """
        self._session.respond(id, message, last=last, replayed=replayed)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request without an answer. Never blocks. Dropped where :meth:`respond` would be."""
        self._session.fail(id, failure, replayed=replayed)

    def close(self, *, drain: bool = True, reason: str = "") -> None:
        """End the connection. With ``drain``, open calls complete first, for up to ``Limits.drain_timeout``."""
        if drain and self._machine.state in (State.OPEN, State.DRAINING):
            self._session.drain(reason)
        else:
            self._abandoned = True
        self._urged = True

    # The only output, the only door for time

    def poll(self, now: Now) -> Output:
        """The next thing to do. Events first, then received records, due timers, at most one Transmit, Wait."""
        session = self._session
        if not self._started:
            self._begin(now)
        if session.fresh:
            session.start(now)
        mono = now.mono
        liveness = self._liveness
        if mono - liveness.due > liveness.patience:
            self._stalled(mono)
        liveness.due = mono
        if liveness.heard:
            liveness.touch(mono)
        while True:
            event = session.take()
            if event is not None:
                return event
            if self._unread and self._read(now):
                continue
            if self._urged and self._obey(now):
                continue
            if self._timers.earliest <= mono or session.timers.earliest <= mono:
                self._fire(now)
                continue
            output = self._output(now)
            if output is not None:
                return output

    def _begin(self, now: Now) -> None:
        self._started = True
        if isinstance(self._side, ClientSide):
            self._outbound.append(self._side.hello())
            self._liveness.ask(now)
        self._machine.start(now)

    # Records

    def _read(self, now: Now) -> bool:
        """Take in one record. False where there is no whole one."""
        try:
            record = self._reader.next(self._machine.allowed.get)
            if record is None:
                self._unread = False
                if self._reader.partial and not self._partial:
                    self._partial = True
                    self._timers.set(Timer.RECORD, now.mono + self._machine.limits.record_timeout)
                return False
            if self._partial:
                self._partial = False
                self._timers.stop(Timer.RECORD)
            self._handle(*record, now)
        except ProtocolFault as fault:
            self._fault(fault, now)
        return True

    def _handle(self, type: RecordType, header: bytes, body: bytes, now: Now) -> None:
        input, side = RECORD_INPUTS[type], self._side
        match input:
            case Input.DATA:
                self._handle_flight(side.established.receive.open(type, header, body), now)
                return
            case Input.M1 if isinstance(side, ServerSide):
                self._outbound.append(side.challenge(body, now))
                self._liveness.ask(now)
            case Input.M2 if isinstance(side, ClientSide):
                self._outbound.append(side.request(body, now))
                self._liveness.answered(now)
            case Input.M3 if isinstance(side, ServerSide):
                self._peer = side.admit(body, now)
                self._liveness.answered(now)
                self._session.tell(ConnectionRequested(self._peer, side.token))
            case Input.RESPONSE if isinstance(side, ClientSide):
                side.answered(type, header, body)
            case _:
                self._refused(parse_alert(body), now)
                return
        self._machine.move(input, now)
        if input is Input.RESPONSE:
            self._open(now)

    def _refused(self, alert: Alert, now: Now) -> None:
        """The peer refuses the handshake; its log says why, under the reference."""
        self._reference = alert.reference
        detail = f"refused by the peer (ref {alert.reference:08x}); its operator finds the reason under this reference"
        self._close(ProtocolFault(Fault.REFUSED, "alert", detail), Input.ALERT, now)

    def _open(self, now: Now) -> None:
        """Both ends are known: bind the session, and tell."""
        side = self._side
        self._peer = peer = side.peer
        self._machine.limits = side.limits
        self._session.bind(side.established.session_id, self._config.identity, peer.verify_key, side.limits)
        self._liveness.start(now)
        self._session.tell(Opened(peer, self._session.session_id))

    def _handle_flight(self, plaintext: bytes, now: Now) -> None:
        for control in self._session.receive(plaintext, now):
            self._liveness.receive(control, now)
        self._urged = self._urged or self._session.draining

    # What was decided between polls

    def _obey(self, now: Now) -> bool:
        """Act on what the application or the peer decided, and on the end of the transport. False if all is done."""
        state = self._machine.state
        if state is State.CLOSED:
            self._urged = False
        elif self._decision is not None and state is State.DECIDING:
            self._answer(self._decision, now)
        elif self._session.draining and state is State.OPEN:
            self._machine.move(Input.DRAIN, now)
        elif self._abandoned and state is not State.CLOSING:
            self._fault(ProtocolFault(Fault.ABANDONED, "close", "closed without draining"), now)
        elif self._eof is not None:
            self._end(now)
        else:
            self._urged = False
        return self._urged

    def _answer(self, decision: Failure | bool, now: Now) -> None:
        side = self._side
        assert isinstance(side, ServerSide)
        failure = decision if isinstance(decision, Failure) else None
        self._outbound.append(side.answer(failure))
        if failure is None:
            self._machine.move(Input.ACCEPT, now)
            self._open(now)
        else:
            self._close(ProtocolFault(Fault.REJECTED, "admission.rejected", str(failure)), Input.REJECT, now)

    # Time

    def _stalled(self, mono: float) -> None:
        """The driver came late; whoever is connected is told, and what its peer owed meanwhile is not overdue."""
        liveness = self._liveness
        stalled = liveness.stall(mono)
        if self._machine.state in (State.OPEN, State.DRAINING):
            self._session.tell(stalled)
            liveness.postpone(Timer.RECORD, self._timers, mono)
            liveness.postpone(Timer.WRITE, self._timers, mono)
            liveness.postpone(Timer.SPAN, self._session.timers, mono)

    def _fire(self, now: Now) -> None:
        """Act on one due timer."""
        try:
            timer = self._session.timers.due(now.mono)
            if timer is not None:
                self._session.fire(timer, now)
            else:
                self._expire(self._timers.due(now.mono), now)
        except ProtocolFault as fault:
            self._fault(fault, now)

    def _expire(self, timer: Timer | None, now: Now) -> None:
        match timer:
            case Timer.HEARTBEAT:
                self._liveness.heartbeat(now)
            case Timer.LIVENESS:
                self._liveness.expire(now)
            case Timer.CLOSE:
                self._give_up(now)
            case Timer.WRITE if not self._on_loan:
                pass  # it is set at the first write and left alone; the next write sets it again
            case Timer.WRITE if now.mono < self._write_until:
                self._timers.set(Timer.WRITE, self._write_until)
            case _:
                assert timer is not None
                raise ProtocolFault(_TIMEOUTS[timer], f"timer.{timer.name.lower()}", f"not in time: {timer.value}")

    # The end

    def _fault(self, fault: ProtocolFault, now: Now) -> None:
        """A rule was broken or a deadline passed: tell the peer what it may know, and close."""
        state = self._machine.state
        if state in _BEFORE_AUTHENTICATION and fault.fault is not Fault.ABANDONED:
            self._reference = int.from_bytes(self._config.entropy(4), "big") or 1
            self._outbound.append(encode_alert(ALERT_REFUSED, self._reference))
        elif state in (State.OPEN, State.DRAINING) and fault.fault.cls is FaultClass.SESSION:
            last = self._session.last_flight(now, fault.fault.code, fault.rule)
            self._outbound.append(self._side.established.send.protect(RecordType.DATA, last))
        self._close(fault, Input.FAULT, now)

    def _close(self, fault: ProtocolFault, input: Input, now: Now) -> None:
        """Nothing more will be read. What is outbound goes out, then the transport ends."""
        row = fault.fault
        self._closed = Closed(row, fault.rule, fault.detail, self._reference, self._side.failure)
        self._reader = RecordReader()
        self._unread = False
        if row in _ABORTING:
            self._outbound.clear()
        if row is not Fault.CLEAN or isinstance(self._side, ServerSide):  # at a clean end the client waits for EOF
            self._disconnect = Disconnect(row.code, row.name, abort=row in _ABORTING)
        self._session.end(row)
        self._timers.clear()
        self._machine.move(input, now)

    def _end(self, now: Now) -> None:
        """The transport has ended, and all that it brought is read."""
        if self._closed is None:
            over = self._session.over
            row = Fault.CLEAN if over else Fault.TRANSPORT_LOST
            self._closed = Closed(row, "transport.eof", self._eof or "", self._reference)
            self._session.end(row)
        self._timers.clear()
        self._outbound.clear()
        self._disconnect = None
        self._machine.move(Input.EOF, now)

    def _give_up(self, now: Now) -> None:
        """CLOSE is due: the transport did not end, so it is cut."""
        closed = self._closed
        assert closed is not None
        self._outbound.clear()
        self._timers.clear()
        self._disconnect = Disconnect(closed.code, closed.fault.name, abort=True)
        self._machine.move(Input.EOF, now)

    # Output

    def _output(self, now: Now) -> Output | None:
        """A Transmit, a Disconnect, Closed or Wait; None where something else is to be done first."""
        state = self._machine.state
        if not self._on_loan and state is not State.CLOSED:
            data = self._outbound.popleft() if self._outbound else self._flight(now)
            if data is not None:
                self._on_loan = True
                if state is not State.CLOSING:
                    self._write_until = now.mono + self._machine.limits.write_timeout
                    if Timer.WRITE not in self._timers:
                        self._timers.set(Timer.WRITE, self._write_until)
                return Transmit(data)
            if self._session.over and state is State.DRAINING:
                self._close(ProtocolFault(Fault.CLEAN, "disconnect", "both sides are done"), Input.OVER, now)
                return None
        disconnect = self._disconnect
        if disconnect is not None and (disconnect.abort or not self._on_loan):
            self._disconnect = None
            return disconnect
        if state is not State.CLOSED:
            return self._wait(now)
        closed, self._closed = self._closed, None
        return closed or Wait(inf, None)

    def _flight(self, now: Now) -> bytes | None:
        """The next flight as a record; None where there is nothing to say, or nobody to say it to."""
        if self._machine.state not in (State.OPEN, State.DRAINING):
            return None
        plaintext = self._session.build(now, self._liveness.controls(now))
        return None if plaintext is None else self._side.established.send.protect(RecordType.DATA, plaintext)

    def _wait(self, now: Now) -> Wait:
        session = self._session
        if self._closed is None:
            session.schedule_ack(now)
        timers = session.timers if session.timers.earliest < self._timers.earliest else self._timers
        self._liveness.due = timers.earliest
        return Wait(*timers.next())


ALERT_REFUSED = 1
"""The only code of an alert: whoever is not authenticated learns nothing else."""

_BEFORE_AUTHENTICATION = frozenset({State.GREETED, State.LISTENING, State.CHALLENGED})
_ABORTING = frozenset({Fault.WRITE_STALLED, Fault.PEER_SILENT})
_TIMEOUTS = {
    Timer.HANDSHAKE: Fault.HANDSHAKE_TIMEOUT,
    Timer.ACCEPT: Fault.ACCEPT_TIMEOUT,
    Timer.RECORD: Fault.RECORD_STALLED,
    Timer.WRITE: Fault.WRITE_STALLED,
    Timer.DRAIN: Fault.DRAIN_TIMEOUT,
}
