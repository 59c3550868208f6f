"""Reconnecting: when a client dials, when it does not, and what it says of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from ratatoskr.errors import CallError, CallRefused, Fault, OutcomeUnknown
from ratatoskr.service import Attempt, Level, Redial, Redialing
from ratatoskr.testing.clock import seeded
from tests.unit.service.lasting import SOON, World
from tests.unit.service.lines import Strand
from tests.unit.service.support import NOTE, Cancelled, Gate, ask, echo_router, say

LOST = Attempt(Fault.TRANSPORT_LOST, "nobody listens")
REFUSED = Attempt(Fault.REFUSED, "not you")


def asked(world: World, text: str = "x", **options: Any) -> Strand:
    return world.start(world.calls.exchange(NOTE, ask(text), **options))


def notes(world: World) -> list[tuple[Level, str, str]]:
    return [(note.level, note.event, note.text) for note in world.host.notes]


def scripted(policy: Redial, *attempts: Attempt) -> World:
    """A client whose tries end so, at once; the last one again and again."""
    script = list(attempts)

    async def dial(world: World) -> Attempt:
        world.dialled.append(world.clock.now.mono)
        return script.pop(0) if len(script) > 1 else script[0]

    return World(policy=policy, dial=dial)


def expected(policy: Redial, number: int, first: Attempt = LOST) -> list[float]:
    """When a client dials whose every try fails at once, as the policy alone says."""
    redialing = Redialing(policy, seeded("redial 0"))
    at = [0.0]
    attempt = first
    while len(at) < number:
        delay = redialing.after(attempt.fault, at[-1], going_away=attempt.going_away, advice=attempt.advice)
        assert delay is not None
        at.append(at[-1] + delay)
        attempt = LOST
    return at


@pytest.mark.parametrize("policy", [SOON, Redial(), Redial(first_delay=3.0, growth=2.0, longest_delay=20.0)], ids=str)
def test_it_dials_when_the_policy_says(policy: Redial) -> None:
    times = expected(policy, 8)
    world = scripted(policy, LOST)
    world.run(times[-1] + 0.001)
    assert world.dialled == pytest.approx(times)
    slept = [seconds for seconds in world.host.slept if seconds]
    assert slept[: len(times) - 1] == pytest.approx([after - before for before, after in pairwise(times)])


def test_advice_is_passed_on() -> None:
    rejected = Attempt(Fault.REJECTED, "too many", advice=100.0)
    world = scripted(SOON, rejected, LOST)
    times = expected(SOON, 2, rejected)
    world.run(times[1] + 0.001)
    assert times[1] > 100.0
    assert world.dialled == pytest.approx(times)


def test_lines_that_were_open_are_told_apart_from_those_that_were_not() -> None:
    """One that was steady is dialled again at once; one that was not goes on where the backoff was."""
    world = World(policy=SOON)
    world.run(20.0)
    world.line.cut()
    world.run(0.001)
    assert world.dialled == pytest.approx([0.0, 20.0])
    world.run(5.0)
    world.line.cut()
    world.run(0.0)
    assert len(world.dialled) == 2, "it was open for 5 seconds only"
    world.run(1.0)
    assert len(world.dialled) == 3


def test_the_moment_in_which_a_line_opened_is_told_once() -> None:
    world = World()
    world.run(1.0)
    world.line.cut()
    world.settle()
    assert world.calls.take_opened() is None, "it was asked for when the line was lost"
    world.run(5.0)
    assert len(world.opened) == 2
    assert world.calls.take_opened() == pytest.approx(world.dialled[1])
    assert world.calls.take_opened() is None


def test_what_forbids_another_try_is_the_end() -> None:
    world = scripted(SOON, LOST, REFUSED)
    strand = asked(world)
    world.run(20.0)
    assert world.running.result is REFUSED
    assert len(world.dialled) == 2
    assert world.calls.closed is not None
    assert (world.calls.closed.fault, world.calls.closed.rule) == (Fault.REFUSED, "redial")
    assert isinstance(strand.error, CallRefused)
    assert world.ended == 1
    assert [note[:2] for note in notes(world)] == [(Level.INFO, "line.lost"), (Level.WARNING, "line.given_up")]
    assert notes(world)[1][2] == "not you; there is no other try"


def test_what_was_lost_and_cannot_be_dialled_again_has_an_unknown_outcome() -> None:
    world = World(echo_router(), policy=replace(SOON, give_up_after=30.0))
    gate = Gate()
    assert world.platform is not None
    world.run(20.0)
    world.line.drop()
    strand = asked(world)
    world.run(0.5)
    world.lose()
    gate.open = True
    world.run(40.0)
    assert world.running.is_over()
    assert isinstance(strand.error, OutcomeUnknown)
    assert world.calls.closed is not None


def test_each_loss_is_noted_with_the_delay() -> None:
    world = World(policy=SOON)
    world.run(20.0)
    world.lose()
    assert notes(world)[0] == (Level.INFO, "line.lost", "the transport ended; the next try is in 0.0 s")
    assert notes(world)[1][2].startswith("nobody listens; the next try is in 0.")


# Who asks for something


def test_who_asks_while_the_server_cannot_be_found_changes_nothing() -> None:
    """A thousand clients that all ask would all dial at once."""
    times = expected(Redial(), 5)
    world = scripted(Redial(), LOST)
    for _ in range(20):
        asked(world, timeout=3.0)
        world.run(times[-1] / 20)
    assert world.dialled == pytest.approx(times[: len(world.dialled)])


def goodbye(world: World, *, back: bool = True) -> None:
    """The server goes away."""
    assert world.platform is not None
    world.platform.close()
    if back:
        world.start_platform()


LATE = replace(SOON, spread=1000.0, longest_delay=1000.0)


@pytest.mark.parametrize("after", [0.0, 0.5, 30.0])
def test_who_asks_after_a_goodbye_is_connected_at_once(after: float) -> None:
    world = World(echo_router(), policy=LATE)
    world.run(20.0)
    goodbye(world)
    world.run(after)
    strand = asked(world)
    world.settle()
    assert strand.result.message == say("x")
    assert world.dialled == [0.0, 20.0 + after]
    assert world.at_rest()


def test_who_asks_in_the_moment_of_the_goodbye_is_connected_at_once() -> None:
    """The goodbye is read, and nobody has begun to wait for anything yet."""
    world = World(echo_router(), policy=LATE)
    world.run(20.0)
    goodbye(world)
    while world.calls.waiting is None:
        world.line.move(world.clock.now.mono)
    strand = asked(world)
    world.settle()
    assert strand.result.message == say("x")
    assert world.dialled == [0.0, 20.0]


def test_who_came_early_and_in_vain_comes_again_soon() -> None:
    """The server needs three seconds for its restart. The long window after a goodbye is for those who need nothing."""
    world = World(echo_router(), policy=Redial())
    world.run(20.0)
    goodbye(world, back=False)
    world.run(1.0)
    strand = asked(world)
    world.run(3.0)
    assert not strand.is_over()
    world.start_platform()
    world.run(10.0)
    assert strand.result.message == say("x")


def test_who_was_hurried_once_is_not_hurried_by_those_that_ask_later() -> None:
    world = World(echo_router(), policy=replace(LATE, first_delay=4.0))
    world.run(20.0)
    goodbye(world, back=False)
    world.run(1.0)
    for _ in range(10):
        asked(world)
        world.settle()
    assert len(world.dialled) == 2


def test_what_was_asked_without_a_line_does_not_hurry_the_next_goodbye() -> None:
    """It is sent by then; a goodbye is hurried by what waits."""
    world = World(echo_router(), policy=LATE)
    world.run(20.0)
    world.lose()
    strand = asked(world, timeout=2000.0)
    world.find_again(1000.0)
    assert strand.is_over()
    dialled = len(world.dialled)
    goodbye(world)
    world.run(1.0)
    assert len(world.dialled) == dialled


# Stopping it


def test_stopped_while_it_waits_it_leaves_nothing() -> None:
    world = scripted(SOON, LOST)
    world.run(3.0)
    dialled = len(world.dialled)
    world.running.cancel()
    world.run(0.0)
    assert isinstance(world.running.error, Cancelled)
    assert world.host.unfinished == []
    world.run(50.0)
    assert len(world.dialled) == dialled
    world.reconnecting.hurry()
    world.reconnecting.asked()


def test_stopped_while_it_dials_it_leaves_nothing() -> None:
    gate = Gate()

    async def dial(world: World) -> Attempt:
        world.dialled.append(0.0)
        await gate
        return LOST

    world = World(dial=dial)
    world.run(3.0)
    world.running.cancel()
    gate.open = True
    world.run(50.0)
    assert isinstance(world.running.error, Cancelled)
    assert len(world.dialled) == 1
    assert world.host.unfinished == []


def test_stopped_while_a_line_is_open_it_leaves_the_line() -> None:
    world = World(echo_router())
    world.run(3.0)
    world.running.cancel()
    world.run(1.0)
    strand = asked(world)
    world.run(1.0)
    assert strand.result.message == say("x")
    world.lose()
    world.find_again()
    assert len(world.lines) == 1


@pytest.mark.parametrize("seconds", [0.0, 5.0, 40.0])
def test_the_first_connection_is_waited_for(seconds: float) -> None:
    world = World(echo_router(), policy=SOON, found=False)
    strand = asked(world, timeout=100.0)
    world.run(seconds)
    assert not strand.is_over()
    world.start_platform()
    world.run(20.0)
    assert strand.result.message == say("x")


def test_it_waits_no_longer_than_it_is_to() -> None:
    policy = replace(SOON, give_up_after=20.0)
    times = [at for at in expected(SOON, 8) if at <= 20.0]
    world = World(policy=policy, found=False)
    world.run(times[-1] - 0.001)
    assert not world.running.is_over()
    world.run(0.002)
    assert world.running.is_over(), "the next try would begin too late"
    assert world.dialled == pytest.approx(times)
    with pytest.raises(CallError, match="connect again"):
        raise asked(world).error or AssertionError


def test_a_goodbye_ends_nothing_however_short_the_patience_is() -> None:
    """Who waits for 5 seconds at most comes back within 5 seconds of a goodbye, and not never."""
    policy = Redial(give_up_after=5.0)
    for seed in range(20):
        world = World(policy=policy, seed=seed)
        world.run(20.0)
        goodbye(world)
        world.run(5.0)
        assert len(world.lines) == 2
        assert world.fault() is None


def test_patience_has_no_end_by_itself() -> None:
    world = scripted(replace(Redial(), give_up_after=inf), LOST)
    world.run(24 * 3600.0)
    assert not world.running.is_over()
