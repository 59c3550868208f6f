"""Engine: what poll does. Bytes, decisions and time become events and outbound bytes, in one order.

Events in hand come first, then the next record until no whole one is left, then what was decided between polls, then
due timers, then at most one Transmit, Disconnect, Closed, Wait. It reads everything before it speaks, or it would
sign where it could have waited, and let calls expire whose answer lies in the buffer.

The session may outlive all this. What the connection itself has to tell never waits in the session, or it would come
out of another connection; and once ``Closed`` is told, or another connection has taken the session over, this one
leaves it alone.
"""

from __future__ import annotations

from collections import deque
from math import inf

from ratatoskr.channel import Alert, RecordType, encode_alert, parse_alert
from ratatoskr.config import Config
from ratatoskr.connection.client import ClientSide
from ratatoskr.connection.closing import ALERT_REFUSED, TIMEOUTS, Ending
from ratatoskr.connection.liveness import Liveness
from ratatoskr.connection.machine import Machine
from ratatoskr.connection.reading import Reader
from ratatoskr.connection.server import ServerSide
from ratatoskr.connection.states import RECORD_INPUTS, Input, State
from ratatoskr.connection.writing import Writer
from ratatoskr.errors import Failure, Fault, FaultClass, ProtocolFault
from ratatoskr.events import ConnectionRequested, Event, Opened, Output, Wait
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import Direction, NonceSource
from ratatoskr.session import ResumableSession, Session, Verdict
from ratatoskr.timers import Now, Timer, Timers


class Engine:
    """The machine of one transport; :class:`~ratatoskr.connection.connection.Connection` is its surface."""

    def __init__(self, config: Config, side: ClientSide | ServerSide, session: ResumableSession | None = None) -> None:
        self._config = config
        self._side = side
        self._resumable = session
        self._session = self._new_session() if session is None else session.hold(self, config.identity.kid)
        self._news: deque[Event] = deque()
        self._resumes = False
        self._released = False
        self._timers = Timers()
        self._reader = Reader(self._timers)
        self._writer = Writer(self._timers)
        self._ending = Ending()
        self._machine = Machine(side, config.limits, self._timers)
        self._liveness = Liveness(config.limits, self._timers, config.entropy)
        self._urged = False
        self._eof: str | None = None
        self._decision: Failure | bool | None = None
        self._abandoned = False
        self._started = False
        self._peer: VerifiedPeer | None = None

    def _new_session(self) -> Session:
        is_client = isinstance(self._side, ClientSide)
        return make_session(self._config, Direction.FROM_CLIENT if is_client else Direction.FROM_SERVER)

    # The only output, the only door for time

    def poll(self, now: Now) -> Output:
        """The next thing to do. Events first, then received records, due timers, at most one Transmit, Wait."""
        if self._released:
            return self._ending.take_disconnect(on_loan=False) or self._ending.take_closed() or Wait(inf, None)
        if not self._started:
            self._begin(now)
        session = self._session
        if session.fresh:
            session.start(now)
        mono = now.mono
        liveness = self._liveness
        if mono - liveness.due > liveness.patience:
            self._stalled(mono)
        liveness.due = mono
        if liveness.heard:
            liveness.touch(mono)
        if self._urged and self._resumes and self._machine.state is State.DECIDING:
            self._obey(now)  # before the events of the session that goes on
        while True:
            if self._news:
                return self._news.popleft()
            event = session.take()
            if event is not None:
                return event
            if self._reader.unread and self._read(now):
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
            self._writer.add(self._side.hello())
            self._liveness.ask(now)
        self._machine.start(now)

    # Records

    def _read(self, now: Now) -> bool:
        """Take in one record. False where there is no whole one."""
        try:
            machine = self._machine
            record = self._reader.next(machine.allowed.get, now.mono + machine.limits.record_timeout)
            if record is None:
                return False
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
                self._writer.add(side.challenge(body, now))
                self._liveness.ask(now)
            case Input.M2 if isinstance(side, ClientSide):
                self._writer.add(side.request(body, now))
                self._liveness.answered(now)
            case Input.M3 if isinstance(side, ServerSide):
                self._peer = side.admit(body, now)
                self._liveness.answered(now)
                wish = side.resume
                self._news.append(ConnectionRequested(self._peer, side.token, wish.session_id if wish else b""))
            case Input.RESPONSE if isinstance(side, ClientSide):
                side.answered(type, header, body)
                self._confirm(side)
            case _:
                self._refused(parse_alert(body), now)
                return
        self._machine.move(input, now)
        if input is Input.RESPONSE:
            self._open(now)

    def _refused(self, alert: Alert, now: Now) -> None:
        """The peer refuses the handshake; its log says why, under the reference."""
        self._ending.reference = alert.reference
        detail = f"refused by the peer (ref {alert.reference:08x}); its operator finds the reason under this reference"
        self._close(ProtocolFault(Fault.REFUSED, "alert", detail), Input.ALERT, now)

    def _open(self, now: Now) -> None:
        """Both ends are known: begin a session, or go on with one, and tell."""
        side = self._side
        self._peer = side.peer
        if self._resumes:
            side.limits = self._session.limits
            self._session.resumed(now)
        else:
            self._begin_session()
        self._machine.open(side.limits)
        self._liveness.start(now)
        self._urged = self._urged or self._session.draining
        self._news.append(Opened(side.peer, self._session.session_id, self._resumes))

    def _begin_session(self) -> None:
        side, identity, old = self._side, self._config.identity, self._resumable
        if old is not None and old.began:
            self._end_session(old)
        established, peer = side.established, side.peer
        self._session.bind(established.session_id, identity, peer.verify_key, side.limits)
        if self._resumable is None and side.session_timeout:
            self._resumable = ResumableSession(self._session, identity.kid, is_client=isinstance(side, ClientSide))
        if self._resumable is not None:
            self._resumable.begin(self, established.resume_secret, peer, side.session_timeout)

    def _end_session(self, old: ResumableSession) -> None:
        """The server has begun a new session instead of going on with the old one: tell what becomes of its calls."""
        ended, self._session, self._resumable = self._session, self._new_session(), None
        self._session.adopt(ended)
        old.finish(Fault.SESSION_UNKNOWN)
        while (event := ended.take()) is not None:
            self._news.append(event)

    def _confirm(self, side: ClientSide) -> None:
        """See whether the server goes on with the session. Raises ProtocolFault where it says so and is not to."""
        if side.resumed is None:
            return
        if self._resumable is None or not side.asked:
            raise ProtocolFault(Fault.REFUSED, "resume.unasked", "the server goes on with a session that nobody named")
        self._resumable.confirm(side.resumed, side.established.h)
        self._resumes = True

    def _grant(self, wanted: ResumableSession) -> tuple[Verdict | Failure, Engine | None]:
        """Go on with a session, where its client may. Returns what the connection is that it was on, too."""
        side = self._side
        assert isinstance(side, ServerSide)
        if side.resume is None:
            return Verdict.UNKNOWN, None
        before = wanted.transport
        verdict = wanted.judge(side.resume, side.peer, self._config.identity.kid, side.resume_h, self)
        if verdict is not Verdict.GRANTED:
            return verdict, None
        wanted.session.adopt(self._session)
        self._session, self._resumable, self._resumes = wanted.session, wanted, True
        return verdict, before if isinstance(before, Engine) else None

    def replaced(self) -> None:
        """Another connection has taken the session over: this one ends here and now, unless it has ended."""
        self._released = True
        self._resumable = None
        if self._machine.state is State.CLOSED:
            return
        self._reader.stop()
        self._writer.clear()
        self._timers.clear()
        self._news.clear()
        self._ending.begin(
            ProtocolFault(Fault.SESSION_REPLACED, "session.replaced", Fault.SESSION_REPLACED.meaning),
            None,
            awaits_peer=False,
        )
        self._ending.give_up()
        self._machine.replaced()

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
        resumed = self._resumable.account(side.established.h) if self._resumes and self._resumable else None
        self._writer.add(side.answer(failure, resumed))
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
            self._news.append(stalled)
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
            case Timer.WRITE:
                self._writer.expire(now)
            case _:
                assert timer is not None
                raise ProtocolFault(TIMEOUTS[timer], f"timer.{timer.name.lower()}", f"not in time: {timer.value}")

    # The end

    def _fault(self, fault: ProtocolFault, now: Now) -> None:
        """A rule was broken or a deadline passed: tell the peer what it may know, and close."""
        state = self._machine.state
        stranger = state in _BEFORE_AUTHENTICATION and fault.fault is not Fault.ABANDONED
        if stranger:
            self._ending.reference = int.from_bytes(self._config.entropy(4), "big") or 1
            self._writer.add(encode_alert(ALERT_REFUSED, self._ending.reference))
        elif state in (State.OPEN, State.DRAINING) and fault.fault.cls is FaultClass.SESSION:
            last = self._session.last_flight(now, fault.fault.code, fault.rule)
            self._writer.add(self._side.established.send.protect(RecordType.DATA, last))
        self._close(fault, Input.FAULT, now, stranger=stranger)

    def _close(self, fault: ProtocolFault, input: Input, now: Now, *, stranger: bool = False) -> None:
        """Nothing more will be read. What is outbound goes out, then the transport ends."""
        side = self._side
        self._reader.stop()
        awaits_peer = fault.fault is Fault.CLEAN and isinstance(side, ClientSide)
        if self._ending.begin(fault, side.failure, awaits_peer=awaits_peer, stranger=stranger):
            self._writer.clear()
        self._leave_session(fault.fault, now)
        self._timers.clear()
        self._machine.move(input, now)

    def _leave_session(self, fault: Fault, now: Now) -> None:
        """The session ends with its transport, or waits for another one."""
        if self._resumable is None:
            self._session.end(fault)
        else:
            self._resumable.lost(fault, now)

    def _end(self, now: Now) -> None:
        """The transport has ended, and all that it brought is read."""
        row = self._ending.lost(self._eof or "", clean=self._session.over)
        if row is not None:
            self._leave_session(row, now)
        self._timers.clear()
        self._writer.clear()
        self._machine.move(Input.EOF, now)

    def _give_up(self, now: Now) -> None:
        """CLOSE is due: the transport did not end, so it is cut."""
        self._ending.give_up()
        self._writer.clear()
        self._timers.clear()
        self._machine.move(Input.EOF, now)

    # Output

    def _output(self, now: Now) -> Output | None:
        """A Transmit, a Disconnect, Closed or Wait; None where something else is to be done first."""
        state, writer = self._machine.state, self._writer
        if not writer.on_loan and state is not State.CLOSED:
            data = writer.take() or self._flight(now)
            if data is not None:
                if state is not State.CLOSING:
                    writer.limit(now.mono + self._machine.limits.write_timeout)
                return writer.lend(data)
            if self._session.over and state is State.DRAINING:
                self._close(ProtocolFault(Fault.CLEAN, "disconnect", "both sides are done"), Input.OVER, now)
                return None
        disconnect = self._ending.take_disconnect(on_loan=writer.on_loan)
        if disconnect is not None:
            return disconnect
        if state is not State.CLOSED:
            return self._wait(now)
        self._released = True
        if self._resumable is not None:
            self._resumable.release()
        return self._ending.take_closed() or Wait(inf, None)

    def _flight(self, now: Now) -> bytes | None:
        """The next flight as a record; None where there is nothing to say, or nobody to say it to."""
        if self._machine.state not in (State.OPEN, State.DRAINING):
            return None
        plaintext = self._session.build(now, self._liveness.controls(now))
        return None if plaintext is None else self._side.established.send.protect(RecordType.DATA, plaintext)

    def _wait(self, now: Now) -> Wait:
        session = self._session
        if self._ending.closed is None:
            session.schedule_ack(now)
        timers = session.timers if session.timers.earliest < self._timers.earliest else self._timers
        self._liveness.due = timers.earliest
        return Wait(*timers.next())


def make_session(config: Config, own: Direction) -> Session:
    """A session that knows no peer yet."""
    return Session(own, config.kinds, config.limits, NonceSource(config.entropy))


_BEFORE_AUTHENTICATION = frozenset({State.GREETED, State.LISTENING, State.CHALLENGED})
