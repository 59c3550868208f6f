"""Tasks for tests: what a handler waits for, who runs it meanwhile, and how it is stopped."""

from __future__ import annotations

from collections.abc import Coroutine
from math import inf
from typing import Any

import pytest

from ratatoskr.errors import LocalProtocolError
from ratatoskr.testing import Stopped, run
from ratatoskr.testing.tasks import Signal, Task, Tasks
from tests.unit.testing.runtime import Trap, drive


class World:
    """Tasks in a world where signals come at their time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Signal]] = []
        self.done: list[str] = []
        self.tasks = Tasks(self._advance, self._next_in)

    def _advance(self, seconds: float) -> None:
        self.now += seconds
        for at, signal in self.due:
            if at <= self.now and not signal.is_set:
                signal.set()

    def _next_in(self) -> float:
        return min((at for at, signal in self.due if not signal.is_set), default=inf) - self.now

    def signal(self, at: float | None = None) -> Signal:
        signal = Signal(self.tasks)
        if at is not None:
            self.due.append((at, signal))
        return signal

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> Task:
        return self.tasks.spawn(coroutine, lambda: self.done.append(name))


@pytest.fixture
def world() -> World:
    return World()


def test_who_waits_runs_the_handlers_meanwhile_in_their_order(world: World) -> None:
    seen, bell = list[str](), world.signal()

    async def handler(name: str) -> None:
        seen.append(name)
        await world.tasks.pause()
        seen.append(name)
        if name == "b":
            bell.set()

    for name in ("a", "b"):
        world.spawn(name, handler(name))
    assert seen == []
    run(bell.wait())
    assert seen == ["a", "b", "a", "b"]
    assert world.done == ["a", "b"]


def test_time_passes_when_nobody_can_go_on(world: World) -> None:
    bells = [world.signal(at=seconds) for seconds in (5.0, 3.0)]
    seen: list[float] = []

    async def handler() -> None:
        await bells[1].wait()
        seen.append(world.now)

    world.spawn("a", handler())
    run(bells[0].wait())
    assert seen == [3.0]
    assert world.now == 5.0


def test_what_has_happened_is_not_waited_for(world: World) -> None:
    bell, seen = world.signal(), list[str]()
    bell.set()

    async def handler() -> None:
        await bell.wait()
        seen.append("a")

    world.spawn("a", handler())
    run(bell.wait())
    assert seen == []
    run(world.tasks.settle())
    assert seen == ["a"]


def test_a_signal_that_comes_while_time_passes_is_enough(world: World) -> None:
    bell = world.signal(at=0.0)
    run(bell.wait())
    assert bell.is_set


def test_a_wait_for_ever_says_so(world: World) -> None:
    with pytest.raises(LocalProtocolError, match="waits for ever"):
        run(world.signal().wait())


def test_a_pause_of_the_test_itself_is_nothing(world: World) -> None:
    run(world.tasks.pause())


def test_what_is_awaited_of_a_runtime_goes_through_and_back(world: World) -> None:
    bell, seen = world.signal(), list[Any]()

    async def handler() -> None:
        seen.append(await Trap("one"))
        try:
            await Trap("two")
        except ValueError as error:
            seen.append(str(error))
        await world.tasks.pause()
        seen.append(await Trap("three"))
        bell.set()

    def answer(name: str) -> str:
        if name == "two":
            raise ValueError("no two")
        return name.upper()

    world.spawn("a", handler())
    drive(bell.wait(), answer)
    assert seen == ["ONE", "no two", "THREE"]
    assert world.done == ["a"]


def test_what_a_handler_lets_out_reaches_who_ran_it(world: World) -> None:
    async def handler() -> None:
        raise KeyboardInterrupt

    world.spawn("a", handler())
    with pytest.raises(KeyboardInterrupt):
        run(world.signal().wait())
    assert world.done == ["a"]
    world.tasks.stop()


def test_who_waits_for_what_another_one_runs_is_told_so(world: World) -> None:
    """Two tasks of a runtime: the first one's handler waits for it, and the second waits for that handler."""
    bell = world.signal()

    async def handler() -> None:
        await Trap("a while")
        bell.set()

    world.spawn("a", handler())
    first, second = bell.wait(), bell.wait()
    first.send(None)
    with pytest.raises(LocalProtocolError, match="one that another task has made"):
        second.send(None)
    with pytest.raises(StopIteration):
        first.send(None)


# Stopping


class Handler:
    """Waits for a signal, a trap or its turn, and remembers how that ended."""

    def __init__(self, world: World, waits_for: Any) -> None:
        self.seen: list[str] = []
        self.world = world
        self.task = world.spawn("a", self._run(waits_for))

    async def _run(self, waits_for: Any) -> None:
        try:
            self.seen.append("begun")
            await (waits_for.wait() if isinstance(waits_for, Signal) else waits_for)
            self.seen.append("over")
        except Stopped:
            self.seen.append("stopped")
            await self.world.tasks.pause()
            self.seen.append("clean")
            raise


def test_a_handler_that_waits_is_stopped_at_its_next_turn(world: World) -> None:
    bell = world.signal()
    handler = Handler(world, bell)
    run(world.tasks.settle())
    handler.task.cancel()
    handler.task.cancel()
    assert handler.seen == ["begun"]
    run(world.tasks.settle())
    assert handler.seen == ["begun", "stopped", "clean"]
    assert world.done == ["a"]
    assert bell.waiting == []
    bell.set()
    run(world.tasks.settle())
    assert world.done == ["a"]


def test_a_handler_that_has_not_begun_never_does(world: World) -> None:
    handler = Handler(world, world.signal())
    handler.task.cancel()
    run(world.tasks.settle())
    assert handler.seen == []
    assert world.done == ["a"]


def test_a_handler_that_waits_for_the_runtime_is_stopped_when_that_comes(world: World) -> None:
    handler = Handler(world, Trap("a while"))

    def answer(name: str) -> None:
        handler.task.cancel()

    drive(world.tasks.settle(), answer)
    assert handler.seen == ["begun", "stopped", "clean"]
    assert world.done == ["a"]


def test_a_handler_that_brings_about_its_own_end_learns_of_it_where_it_waits(world: World) -> None:
    seen: list[str] = []

    async def handler() -> None:
        tasks[0].cancel()
        seen.append("goes on")
        try:
            await world.signal().wait()
        except Stopped:
            seen.append("stopped")

    tasks = [world.spawn("a", handler())]
    run(world.tasks.settle())
    assert seen == ["goes on", "stopped"]
    assert world.done == ["a"]


def test_stopping_all_waits_for_nothing(world: World) -> None:
    """What parks, what is about to go on, and what has not begun. What the runtime holds is stopped when it goes on."""
    bell = world.signal()
    parked, ready, held = (Handler(world, each) for each in (world.signal(), bell, Trap("a while")))
    fresh: list[Handler] = []

    def answer(name: str) -> None:
        bell.set()
        fresh.append(Handler(world, world.signal()))
        world.tasks.stop()
        assert [each.seen for each in (parked, ready)] == [["begun", "stopped"]] * 2
        assert fresh[0].seen == []
        assert held.seen == ["begun"]
        assert world.done == ["a"] * 3
        assert not world.tasks.ready

    drive(world.tasks.settle(), answer)
    assert held.seen == ["begun", "stopped", "clean"]
    assert world.done == ["a"] * 4
    world.tasks.stop()
    assert world.done == ["a"] * 4


def test_a_handler_that_ends_in_order_when_it_is_stopped(world: World) -> None:
    seen: list[str] = []

    async def handler() -> None:
        try:
            await world.signal().wait()
        except Stopped:
            seen.append("in order")

    world.spawn("a", handler())
    run(world.tasks.settle())
    world.tasks.stop()
    assert seen == ["in order"]
    assert world.done == ["a"]


def test_a_handler_neither_stops_nor_settles_all(world: World) -> None:
    """It would run inside itself."""
    seen: list[str] = []

    async def handler() -> None:
        await world.tasks.settle()
        world.tasks.stop()
        seen.append("goes on")

    async def other() -> None:
        seen.append("other")

    world.spawn("a", handler())
    world.spawn("b", other())
    run(world.tasks.settle())
    assert seen == ["goes on", "other"]
    assert world.done == ["a", "b"]
