"""Footing: what calls stand on, and who polls that when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from ratatoskr.connection import Connection, new_session
from ratatoskr.errors import Fault
from ratatoskr.events import Event, GoingAway, RequestFailed, RequestId, SessionEnded
from ratatoskr.service import Footing
from ratatoskr.session import ResumableSession
from ratatoskr.testing.clock import Clock
from tests.unit.service.lasting import client_config
from tests.unit.service.lines import Hands, Strand
from tests.unit.service.support import NOTE, ask


class Ground:
    """A footing, and all that it tells."""

    def __init__(self, *, eager: bool = False) -> None:
        self.clock = Clock()
        self.host = Hands(self.clock, eager=eager)
        self.session = new_session(client_config())
        self.events: list[Event] = []
        self.told_at: list[float] = []
        self.rests: list[int] = []
        """How many requests the session held whenever it was at rest."""
        self.then: Callable[[Event], Any] = lambda event: None
        self.footing = Footing(self.host, self._on_event, self._on_rest)

    def _on_event(self, footing: Footing, event: Event) -> None:
        assert footing is self.footing
        self.events.append(event)
        self.told_at.append(self.clock.now.mono)
        if isinstance(event, SessionEnded):
            self.footing.end()
        self.then(event)

    def _on_rest(self, session: ResumableSession) -> None:
        assert session is self.session
        self.rests.append(session.queued)

    def request(self, timeout: float) -> RequestId:
        """What the calls of this footing do."""
        id = self.footing.at.request(NOTE, ask(), timeout=timeout)
        self.footing.wake()
        return id

    def run(self, seconds: float) -> None:
        end = self.clock.now.mono + seconds
        self._turn()
        while self.host.next_in <= end - self.clock.now.mono:
            self.clock.advance(self.host.next_in)
            self._turn()
        self.clock.advance(end - self.clock.now.mono)
        self._turn()

    def _turn(self) -> None:
        while self.host.turn():
            pass

    @property
    def sleepers(self) -> list[Strand]:
        return self.host.unfinished

    @property
    def failed(self) -> list[RequestId]:
        return [event.id for event in self.events if isinstance(event, RequestFailed)]

    @property
    def ended(self) -> list[Fault]:
        return [event.fault for event in self.events if isinstance(event, SessionEnded)]


@pytest.fixture(params=[False, True], ids=["soon", "eager"])
def ground(request: pytest.FixtureRequest) -> Ground:
    return Ground(eager=request.param)


def connection() -> Any:
    """What is never looked into."""
    return cast("Connection", object())


def test_a_session_that_waits_is_polled_at_once_and_has_nothing_to_do(ground: Ground) -> None:
    ground.footing.wait(ground.session)
    assert ground.footing.at is ground.footing.waiting is ground.session
    assert ground.rests == [0]
    assert (ground.events, ground.sleepers) == ([], []), "nothing is due, so nobody sleeps"


def test_what_runs_out_of_time_without_a_line_is_told_in_time(ground: Ground) -> None:
    ground.footing.wait(ground.session)
    ids = [ground.request(seconds) for seconds in (5.0, 7.0)]
    assert ground.rests == [0, 1, 2], "whoever counts what is held hears of it"
    ground.run(4.9)
    assert ground.failed == []
    ground.run(0.2)
    assert ground.failed == ids[:1]
    ground.run(10.0)
    assert ground.failed == ids
    assert ground.told_at == [5.0, 7.0]
    assert ground.rests[-1] == 0
    assert ground.sleepers == []


def test_one_sleeps_however_many_wait(ground: Ground) -> None:
    ground.footing.wait(ground.session)
    for seconds in range(20, 30):
        ground.request(seconds)
        ground.run(0.0)
        assert len(ground.sleepers) == 1
    assert ground.host.slept == [20.0], "what is due later changes nothing"


def test_who_is_due_earlier_wakes_it_earlier(ground: Ground) -> None:
    ground.footing.wait(ground.session)
    late, early = ground.request(20.0), ground.request(3.0)
    ground.run(0.0)
    assert len(ground.sleepers) == 1
    ground.run(3.0)
    assert ground.failed == [early]
    ground.run(17.0)
    assert ground.failed == [early, late]
    assert ground.told_at == [3.0, 20.0]


def test_a_deadline_that_has_moved_on_is_slept_for_again(ground: Ground) -> None:
    """The first call is cancelled; its time comes all the same, and then that of the other one is waited for."""
    ground.footing.wait(ground.session)
    first, other = ground.request(5.0), ground.request(9.0)
    ground.footing.at.cancel(first)
    ground.footing.wake()
    assert ground.failed == [first]
    ground.run(5.0)
    assert len(ground.sleepers) == 1
    ground.run(4.0)
    assert (ground.failed, ground.told_at) == ([first, other], [0.0, 9.0])


def test_who_asks_inside_an_event_is_polled_behind_it_and_not_inside(ground: Ground) -> None:
    depth = deepest = 0
    again: list[RequestId] = []

    def then(event: Event) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if isinstance(event, RequestFailed) and len(again) < 3:
            again.append(ground.request(2.0))
            ground.footing.at.cancel(again[-1])
            ground.footing.wake()
        depth -= 1

    ground.then = then
    ground.footing.wait(ground.session)
    first = ground.request(1.0)
    ground.run(1.0)
    assert ground.failed == [first, *again], "each is told, in order"
    assert deepest == 1
    assert ground.rests[-1] == 0


def test_who_gives_up_the_session_at_rest_is_told_what_becomes_of_it(ground: Ground) -> None:
    """As a server does that has no room: in the middle of a poll."""
    on_rest = ground._on_rest

    def give_up(session: ResumableSession) -> None:
        on_rest(session)
        session.abandon()
        ground.footing.wake()

    ground.footing._on_rest = give_up
    ground.footing.wait(ground.session)
    assert ground.ended == [Fault.SESSION_ABANDONED]
    assert ground.rests == [0]


def test_a_session_that_has_ended_is_polled_no_more(ground: Ground) -> None:
    ground.footing.wait(ground.session)
    id = ground.request(5.0)
    ground.session.abandon()
    ground.footing.wake()
    assert ground.failed == [id]
    assert ground.ended == [Fault.SESSION_ABANDONED]
    assert ground.footing.waiting is None
    ground.run(0.0)
    assert ground.sleepers == [], "who slept for its deadlines is stopped"
    ground.footing.wake()
    ground.run(10.0)
    assert (len(ground.events), ground.sleepers, ground.host.next_in > 0) == (2, [], True)


def test_on_a_connection_its_driver_polls(ground: Ground) -> None:
    """Whoever slept for the session is stopped: it is not to be polled beside its connection."""
    ground.footing.wait(ground.session)
    ground.request(5.0)
    woken: list[float] = []
    line = connection()
    ground.footing.stand(line, lambda: woken.append(ground.clock.now.mono))
    assert ground.footing.at is ground.footing.connection is line
    assert ground.footing.waiting is None
    ground.run(0.0)
    assert ground.sleepers == []
    ground.footing.wake()
    ground.run(10.0)
    assert (woken, ground.events, ground.sleepers) == ([0.0], [], [])


def test_only_the_connection_that_it_stands_on_tells_it_anything(ground: Ground) -> None:
    old, new = connection(), connection()
    ground.footing.stand(old, lambda: None)
    told = [GoingAway(""), GoingAway("")]
    ground.footing.handle(old, told[0])
    ground.footing.stand(new, lambda: None)
    ground.footing.handle(old, GoingAway("from the dead"))
    ground.footing.handle(new, told[1])
    assert ground.events == told
    ground.footing.wait(ground.session)
    ground.footing.handle(new, GoingAway("from the dead"))
    assert ground.events == told


def test_what_becomes_of_a_session_between_two_lines_is_told_anew_each_time(ground: Ground) -> None:
    """Lost, found and lost again: the second wait sleeps for its own deadlines."""
    ground.footing.wait(ground.session)
    id = ground.request(5.0)
    ground.run(1.0)
    ground.footing.stand(connection(), lambda: None)
    ground.run(1.0)
    ground.footing.wait(ground.session)
    assert len(ground.sleepers) == 1
    ground.run(3.0)
    assert (ground.failed, ground.told_at) == ([id], [5.0])


def test_a_wake_that_comes_late_is_told_late_and_once(ground: Ground) -> None:
    """The process stood still for a while."""
    ground.footing.wait(ground.session)
    id = ground.request(5.0)
    ground.run(0.0)
    ground.clock.advance(60.0)
    ground.run(0.0)
    assert (ground.failed, ground.told_at) == ([id], [60.0])
    assert ground.sleepers == []
