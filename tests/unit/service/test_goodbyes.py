"""Goodbyes: a server goes away, another one takes its place, and no call is lost between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import CallError, CallRefused, Disposition, Fail, Fault, Status
from ratatoskr.events import Closed
from ratatoskr.limits import Limits
from ratatoskr.messages.standard import MARKETPLACE_SEARCH
from ratatoskr.service import NO_RETRIES, Call, RetryPolicy, Router
from tests.unit.service.lasting import SOON, Line, Platform, World
from tests.unit.service.lines import COUNT, Strand
from tests.unit.service.support import NOTE, ask, echo_router, say
from tests.unit.service.work import Work

RETRIES = RetryPolicy(attempts=2, first_delay=8.0, longest_delay=8.0)
LATE = replace(SOON, spread=1000.0, longest_delay=1000.0)
"""Whoever needs nothing does not come back soon."""


@pytest.fixture
def work() -> Work:
    return Work()


def asked(world: World, text: str = "x", kind: Any = NOTE, **options: Any) -> Strand:
    return world.start(world.calls.exchange(kind, ask(text), **options))


def failure_of(strand: Strand) -> Any:
    assert isinstance(strand.error, CallError)
    return strand.error.failure


def replaced(world: World) -> tuple[Line, Platform]:
    """The server says goodbye, and another one is there already. Returns the line to the old one, and it."""
    line, platform = world.line, world.platform
    assert platform is not None
    platform.close()
    world.start_platform()
    world.settle()
    return line, platform


def test_what_is_open_completes_where_it_was_asked_and_the_rest_goes_elsewhere(work: Work) -> None:
    world = World(work.router, policy=LATE)
    old = asked(world, "old")
    world.run(1.0)
    line, platform = replaced(world)
    new = asked(world, "new")
    world.run(1.0)
    assert world.line is not line
    assert work.begun == ["old", "new"]
    assert line.client.fault() is None
    assert [each.resumed for each in world.opened] == [False, False]
    work.gate.open = True
    world.run(1.0)
    assert [each.result.message for each in (old, new)] == [say("old"), say("new")]
    assert line.client.fault() is Fault.CLEAN
    assert (len(platform.kept), len(platform.table)) == (0, 0)
    assert world.fault() is None
    assert not world.calls.going_away, "not for whoever has another place to ask"
    assert world.ended == 0
    assert world.at_rest()


def test_who_needs_nothing_comes_back_at_its_time() -> None:
    world = World(policy=LATE)
    world.run(20.0)
    replaced(world)
    world.run(1.0)
    assert world.dialled == [0.0]
    world.run(1000.0)
    (_, back) = world.dialled
    assert 21.0 < back <= 1020.0


@pytest.mark.parametrize("policy", [RETRIES, NO_RETRIES], ids=["retries", "no retries"])
def test_what_had_not_been_sent_is_made_again_at_once_and_costs_nothing(work: Work, policy: RetryPolicy) -> None:
    world = World(work.router, policy=LATE, retry=policy, limits=Limits(requests_open=1))
    held = asked(world, "held")
    waiting = [asked(world, str(n)) for n in range(3)]
    world.run(1.0)
    replaced(world)
    work.gate.open = True
    world.settle()
    if policy is NO_RETRIES:
        assert {failure_of(each).reason for each in waiting} == {"GOING_AWAY"}
        assert all(isinstance(each.error, CallRefused) for each in waiting)
        return
    assert [each.result.message.reason for each in waiting] == ["0", "1", "2"], "and no time has passed"
    assert held.result.message == say("held")
    assert world.calls._asker.retries._tokens == RETRIES.tokens
    assert world.at_rest()


def test_a_request_that_crossed_the_goodbye_is_made_again(work: Work) -> None:
    world = World(echo_router(), policy=LATE, retry=RETRIES)
    world.run(1.0)
    line = world.line
    line.client.link.latency = 0.5
    strand = asked(world)
    world.run(0.1)
    replaced(world)
    world.run(2.0)
    assert strand.result.message == say("x")
    assert len(world.lines) == 2
    assert world.at_rest()


def test_what_fails_there_for_another_reason_waits_as_it_is_told_to(work: Work) -> None:
    """That the caller has moved on does not make a busy server's advice void."""
    at: list[float] = []
    router = Router()

    @router.on(NOTE)
    async def busy(message: v1.Search, call: Call) -> v1.GoAway:
        await work.gate
        at.append(world.clock.now.mono)
        if len(at) == 1:
            raise Fail(Status.UNAVAILABLE, "BUSY", retry_delay=5.0, disposition=Disposition.NOT_PROCESSED)
        return say(message.query)

    world = World(router, policy=LATE, retry=RETRIES)
    strand = asked(world)
    world.run(1.0)
    replaced(world)
    work.gate.open = True
    world.run(4.0)
    assert not strand.is_over()
    world.run(10.0)
    assert strand.result.message == say("x")
    assert at[1] - at[0] >= 5.0
    assert world.calls._asker.retries._tokens == RETRIES.tokens - 1 + RETRIES.token_ratio


def test_a_stream_completes_on_the_old_session(work: Work) -> None:
    world = World(work.router, policy=LATE)

    async def read() -> list[str]:
        async with world.calls.stream(COUNT, ask("s")) as items:
            return [item.reason async for item in items]

    reader = world.start(read())
    world.run(1.0)
    line, _ = replaced(world)
    asked(world, "new")
    world.run(1.0)
    work.gate.open = True
    world.run(1.0)
    assert reader.result == ["first", "s"]
    assert line.client.fault() is not None
    assert world.at_rest()


def test_the_old_server_s_calls_are_answered_there_and_the_new_one_s_here(work: Work) -> None:
    world = World(echo_router(), answers=work.router, policy=LATE)
    world.run(1.0)
    old = world.start(world.server.exchange(NOTE, ask("old")))
    world.run(1.0)
    line, _ = replaced(world)
    asked(world)
    world.run(1.0)
    new = world.start(world.server.exchange(NOTE, ask("new")))
    world.run(1.0)
    assert work.begun == ["old", "new"]
    work.gate.open = True
    world.run(1.0)
    assert [each.result.message for each in (old, new)] == [say("old"), say("new")]
    assert line.server.fault() is Fault.CLEAN
    assert world.at_rest()


def test_the_end_of_the_old_session_stops_no_handler_of_the_new_one(work: Work) -> None:
    world = World(echo_router(), answers=work.router, policy=LATE)
    world.run(1.0)
    old = world.start(world.server.exchange(NOTE, ask("old"), timeout=5.0))
    world.run(1.0)
    line, _ = replaced(world)
    asked(world)
    world.run(1.0)
    new = world.start(world.server.exchange(NOTE, ask("new")))
    world.run(5.0)
    assert line.server.fault() is Fault.CLEAN
    assert isinstance(old.error, CallError)
    assert work.ended == ["old stopped"]
    work.gate.open = True
    world.run(1.0)
    assert new.result.message == say("new")


def test_the_receipt_of_an_answer_from_before_comes_from_the_old_session(work: Work) -> None:
    router = Router()

    @router.on(MARKETPLACE_SEARCH)
    async def search(message: v1.Search, call: Call) -> v1.SearchResult:
        return v1.SearchResult()

    router.include(work.router)
    world = World(router, policy=LATE, limits=Limits(seal_delay=2.0))
    held = asked(world, "held")
    strand = asked(world, kind=MARKETPLACE_SEARCH)
    world.run(0.5)
    waiting = [world.start(world.calls.receipt(strand.result))]
    replaced(world)
    asked(world, "new")
    world.run(1.0)
    waiting.append(world.start(world.calls.receipt(strand.result)))
    assert not any(each.is_over() for each in waiting)
    world.run(1.0)
    assert all(each.result is not None for each in waiting)
    work.gate.open = True
    world.run(1.0)
    assert held.result.message == say("held")


def test_one_goodbye_after_the_other(work: Work) -> None:
    """Three servers, each of which still completes something."""
    world = World(work.router, policy=LATE)
    strands = [asked(world, "0")]
    world.run(1.0)
    for number in (1, 2):
        replaced(world)
        strands.append(asked(world, str(number)))
        world.run(1.0)
    assert len(world.lines) == 3
    assert all(line.client.fault() is None for line in world.lines)
    work.gate.open = True
    world.run(1.0)
    assert [each.result.message.reason for each in strands] == ["0", "1", "2"]
    assert [line.client.fault() is None for line in world.lines] == [False, False, True]
    assert len(world.calls._asker.sessions) == 1
    assert world.at_rest()


def test_giving_up_behind_a_goodbye_lets_the_old_line_complete(work: Work) -> None:
    world = World(work.router, policy=LATE)
    old = asked(world, "old")
    world.run(1.0)
    line, _ = replaced(world)
    world.platform = None
    new = asked(world, "new")
    why = Closed(Fault.ABANDONED, "test", "enough")
    world.calls.give_up(why)
    world.settle()
    assert failure_of(new).reason == "SESSION_ABANDONED"
    assert isinstance(new.error, CallRefused)
    assert world.calls.closed is why
    assert world.ended == 1
    work.gate.open = True
    world.run(1.0)
    assert old.result.message == say("old")
    assert line.client.fault() is not None
    assert world.ended == 1


def test_a_line_that_is_lost_behind_its_goodbye_is_dialled_like_any_that_says_goodbye(work: Work) -> None:
    world = World(work.router, policy=LATE, retry=RETRIES)
    old = asked(world, "old")
    world.run(1.0)
    line, platform = replaced(world)
    line.cut()
    world.run(1.0)
    assert failure_of(old).disposition is Disposition.MAYBE
    assert work.ended == ["old stopped"]
    assert (len(platform.kept), len(platform.table)) == (0, 0)
    assert world.dialled == [0.0]
    new = asked(world, "new")
    work.gate.open = True
    world.run(1.0)
    assert new.result.message == say("new")
    assert world.at_rest()


def test_who_does_not_last_is_told_of_the_goodbye(work: Work) -> None:
    """The server's own calls have no other place to go to."""
    world = World(work.router, answers=echo_router())
    held = asked(world)
    world.run(1.0)
    calls = world.server
    leaving = world.start(calls.departure())
    world.line.client.close()
    world.run(1.0)
    assert leaving.is_over()
    assert calls.going_away
    late = world.start(calls.exchange(NOTE, ask("late")))
    world.run(1.0)
    assert failure_of(late).reason == "GOING_AWAY"
    work.gate.open = True
    world.run(1.0)
    assert held.result.message == say("x")
