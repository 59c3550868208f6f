"""Keepers: parties whose sessions outlive their lines, and what they may rely on then."""

from __future__ import annotations

from math import inf

from ratatoskr.connection import Connection, State
from ratatoskr.errors import Fault, FaultClass
from ratatoskr.events import (
    Closed,
    ConnectionRequested,
    Event,
    Opened,
    RequestExpired,
    RequestFailed,
    RequestId,
    RequestReceived,
    SessionEnded,
    Wait,
    Writable,
)
from ratatoskr.session import ResumableSession, Session
from ratatoskr.session.states import Answering
from ratatoskr.testing.clock import Clock
from ratatoskr.timers import Now, Timer
from tests.scenarios.core.bounds import check_bounds
from tests.scenarios.core.driving import MAX_POLLS, Driver, Wire
from tests.scenarios.core.ledger import DECLINED, Call
from tests.scenarios.core.parties import CHANGED_BYTES, Party

BEFORE_OPENED = (ConnectionRequested, Opened, RequestFailed, RequestExpired, Writable, SessionEnded, Closed)
LONG_AGO = Now(0.0, 0.0)


class Left(Driver):
    """An end of a line that is lost, whose other end has gone on to another one. Its keeper hears what it tells."""

    def __init__(self, keeper: Keeper, *, asleep: bool) -> None:
        super().__init__(keeper.name, keeper.connection, keeper.clock)
        self._keeper = keeper
        self._incoming = keeper.incoming
        self.wire, self.loan, self.lent_at = keeper.wire, keeper.loan, keeper.lent_at
        self.due, self.stalls, self.excused, self.came = keeper.due, keeper.stalls, keeper.excused, keeper.came
        self.asleep = asleep
        """Whether nobody polls it."""

    @property
    def incoming(self) -> Wire:
        return self._incoming

    def on_event(self, event: Event) -> None:
        self._keeper.hear(self.connection, event)

    def on_poll(self) -> None:
        pass

    def on_wait(self) -> None:
        pass

    def check_bounds(self) -> None:
        self._keeper.check_bounds()

    def drive(self) -> bool:
        """All that can happen now. Whether anything did."""
        if self.asleep:
            return False
        self.write()
        moved = False
        while self.deliver():
            moved = True
            self.polls()
        return self.polls() or moved


class Keeper(Party):
    """One end, all its lines and sessions, and its application."""

    peer: Keeper

    def __init__(self, name: str, connection: Connection, clock: Clock, calls: list[Call], closers: set[str]) -> None:
        super().__init__(name, connection, clock, calls, closers)
        self.sessions: dict[bytes, ResumableSession] = {}
        """Those that have not ended, by id."""
        self.left: list[Left] = []
        self.knows = True
        """Whether it finds the session that a client asks for."""
        self.lets_in = True
        self.numbers: dict[Session, int] = {}
        """The last request that was told of each session."""
        self._connections = [connection]
        self._told: set[Connection] = set()
        """Connections that have said Opened."""
        self._until: dict[ResumableSession, float] = {}
        self._rests = False

    def renew(self, connection: Connection, *, asleep: bool) -> None:
        """Another line, with nothing on it."""
        if self.closed is None:
            self.left.append(Left(self, asleep=asleep))
        self._connections.append(connection)
        self.connection = connection
        self.closed = self.loan = self.came = None
        self.requested = self.abandoned = self.blocks = False
        self.due, self.stalls, self.excused = inf, 0, 0.0

    # Whose methods are called

    @property
    def speaker(self) -> Connection:
        live = [each for each in self._connections if each.session_id and not _dead(each)]
        return live[-1] if live else self.connection

    def voice(self, id: RequestId) -> Connection:
        owner = id.owner  # type: ignore[attr-defined]
        sessions = ((each, each._session) for each in reversed(self._connections))
        return next(each for each, core in sessions if owner in (core._asking, core._answering.calls))

    @property
    def over(self) -> bool:
        return _dead(self.speaker)

    @property
    def owed(self) -> list[Call]:
        return [call for call in super().owed if call.asked and call.asked.id.state is not Answering.DONE]  # type: ignore[attr-defined]

    def here(self, calls: list[Call]) -> list[Call]:
        return [call for call in calls if self._core(call) is self.connection._session]

    def watched(self, calls: list[Call]) -> list[Call]:
        cores = [left.connection._session for left in self.left if left.asleep and not left.connection._released]
        return [call for call in calls if self._core(call) not in cores] if cores else calls

    def _core(self, call: Call) -> Session:
        """The session that a call belongs to."""
        if call.asker == self.name:
            return self.voice(call.id)._session
        assert call.asked is not None
        return self.voice(call.asked.id)._session

    # Polls

    def polls(self, most: int = MAX_POLLS) -> bool:
        moved = super().polls(most)
        for left in self.left:
            moved = left.drive() or moved
        self.left = [left for left in self.left if left.closed is None]
        for session in list(self.sessions.values()):
            moved = self._poll(session) or moved
        detached = [self._until[each] for each in self.sessions.values() if each.transport is None]
        awake = [left.waits_until for left in self.left if not left.asleep]
        self.waits_until = min(self.waits_until, *detached, *awake, inf)
        if self._rests:
            self._rests = False
            super().on_wait()
        return moved

    def on_wait(self) -> None:
        self._rests = True

    def _poll(self, session: ResumableSession) -> bool:
        """A session without a line."""
        now, moved = self.clock.now, False
        if session.transport is None:
            while not isinstance(output := session.poll(now), Wait):
                moved = True
                self.hear(None, output)
                check_bounds(session.session, ended=session.ended)
            timers = set(session.session.timers._deadlines)
            assert output.until > now.mono
            assert timers <= {Timer.REQUEST, Timer.SESSION}
            assert (Timer.SESSION in timers) is not session.ended
            self._until[session] = output.until
        if session.ended:
            self.sessions.pop(session.session_id, None)
        return moved

    def check_bounds(self) -> None:
        for each in (self.connection, *(left.connection for left in self.left)):
            session = self.sessions.get(each.session_id)
            over = each.state in (State.CLOSING, State.CLOSED) and (session is None or session.ended)
            check_bounds(each._session, ended=over)

    # What it is told

    def on_event(self, event: Event) -> None:
        self.hear(self.connection, event)

    def hear(self, source: Connection | None, event: Event) -> None:
        """A connection told it, or a session without one."""
        assert source is None or source in self._told or isinstance(event, BEFORE_OPENED), "not before Opened"
        match event:
            case ConnectionRequested():
                assert source is not None
                self._decide(source, event)
            case Opened():
                assert source is not None
                self._open(source, event)
            case Closed():
                assert source is not None
                self._judge_line(source, event)
            case SessionEnded():
                assert event.fault in (Fault.SESSION_EXPIRED, Fault.SESSION_ABANDONED, Fault.SESSION_UNKNOWN)
                assert event.fault is not Fault.SESSION_UNKNOWN or self.name == "client"
                self._end(self.sessions.pop(event.session_id).session)
            case _:
                super().on_event(event)

    def _decide(self, source: Connection, event: ConnectionRequested) -> None:
        if not self.lets_in:
            source.reject(DECLINED)
            return
        session = self.sessions.get(event.resume) if self.knows else None
        before = session and session.transport
        left = source.accept(session=session)
        granted = session is not None and session.transport is source
        assert left is (before if granted else None)
        assert session is None or granted or source is not self.connection, "a client comes again and is sent away"

    def _open(self, source: Connection, event: Opened) -> None:
        assert source not in self._told
        self._told.add(source)
        self.opened = True
        if event.resumed:
            assert source.session is self.sessions[event.session_id]
        elif source.session is not None:
            self.sessions[event.session_id] = source.session
        if self.name == "server" and not event.resumed:
            self.waits.pop(None, None)  # in another session
        assert self.name == "server" or set(self.sessions) <= {event.session_id}, "a client has one session"

    def _judge_line(self, source: Connection, closed: Closed) -> None:
        fault = closed.fault
        assert fault.cls is not FaultClass.SESSION, f"{self.name}: {closed}"
        assert closed.rule == "alert" or fault not in CHANGED_BYTES, f"{self.name}: {closed}"
        assert self.abandoned or fault is not Fault.ABANDONED or source is not self.connection
        if fault is Fault.REJECTED:
            assert closed.failure is not None
            stale = closed.failure.reason == "RESUME_STALE"
            assert closed.failure == DECLINED or (stale and self.name == "server"), f"{self.name}: {closed}"
        if fault is Fault.SESSION_REPLACED:
            assert self.name == "server"
            return
        if source.session is None:
            if closed.clean:
                self._judge_clean_end(source._session)
            self._end(source._session)

    def _judge_clean_end(self, core: Session) -> None:
        assert not [call for call in self.owed if call.asked and self.voice(call.asked.id)._session is core]
        others = [each._session for each in self.peer._connections if each.session_id == core.session_id]
        assert core._inbox.delivered == others[-1]._sender._outbox.sent, "a clean end leaves nothing undelivered"

    def _end(self, core: Session) -> None:
        """A session is over: all its calls have their outcome."""
        check_bounds(core, ended=True)
        for call in self.own:
            assert call.outcome or call.id.owner is not core._asking, f"{call} has no outcome"  # type: ignore[attr-defined]
        for call in self.asked:
            if call.asked and call.asked.id.owner is core._answering.calls and call.ended is None:  # type: ignore[attr-defined]
                call.unwanted = True
                self.waits.pop(call.asked.id, None)

    def _request(self, event: RequestReceived) -> None:
        self.came = LONG_AGO  # perhaps over an earlier line
        core = self.voice(event.id)._session
        assert event.received.number > self.numbers.get(core, 0), "in order, and once"
        self.numbers[core] = event.received.number
        super()._request(event)

    def _asked_by(self, event: RequestReceived) -> Call:
        number = event.received.number
        sids = {each.session_id for each in self._connections if each._session is self.voice(event.id)._session}
        *_, call = [
            call
            for call in self.peer.own
            if call.number == number and self.peer.voice(call.id).session_id in sids and call.asked is None
        ]
        return call

    def dropped(self, call: Call) -> bool:
        return call.cancelled or call.outcome is not None  # it ran out of time, and that is said over the next line

    def _writable(self, id: RequestId | None) -> None:
        if id is not None or None in self.waits:
            super()._writable(id)


def _dead(connection: Connection) -> bool:
    """Whether its session is over, or another connection speaks for it."""
    return connection._released and connection.session is None


def check_agreement(one: Keeper, other: Keeper) -> None:
    """What is acknowledged was delivered, what is received was sent, and the chains are the same."""
    for id in one.sessions.keys() & other.sessions.keys():
        cores = [each.sessions[id].session for each in (one, other)]
        for this, that in (cores, reversed(cores)):
            outbox, received = this._sender._outbox, that._validator.position
            assert outbox.acked <= that._inbox.delivered <= received.number <= outbox.last
            assert outbox.chain_at(received.number) == received.chain
