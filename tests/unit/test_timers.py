"""Timers against a model that keeps a dictionary and looks through it every time."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ratatoskr.timers import Now, Timer, Timers

NAMES = st.sampled_from([Timer.ACK, Timer.SEAL, Timer.SPAN, Timer.REQUEST])
TIMES = st.integers(0, 6).map(float) | st.just(inf)


class AgainstADictionary(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.model: dict[Timer, float] = {}

    @rule(timer=NAMES, deadline=TIMES)
    def set(self, timer: Timer, deadline: float) -> None:
        self.timers.set(timer, deadline)
        self.model[timer] = deadline

    @rule(timer=NAMES)
    def stop(self, timer: Timer) -> None:
        self.timers.stop(timer)
        self.model.pop(timer, None)

    @rule()
    def clear(self) -> None:
        self.timers.clear()
        self.model.clear()

    @rule(now=st.integers(0, 6).map(float))
    def due(self, now: float) -> None:
        timer = self.timers.due(now)
        due = {each: at for each, at in self.model.items() if at <= now}
        if timer is None:
            assert not due
        else:
            assert self.model.pop(timer) == min(due.values())

    @invariant()
    def agrees(self) -> None:
        assert self.timers.earliest == min(self.model.values(), default=inf)
        for timer in Timer:
            assert self.timers.get(timer) == self.model.get(timer, inf)
            assert (timer in self.timers) == (timer in self.model)
        deadline, name = self.timers.next()
        assert deadline == self.timers.earliest
        if name is not None:
            assert self.model[name] == deadline
        else:
            assert not self.model


TestAgainstADictionary = AgainstADictionary.TestCase


@given(st.lists(st.tuples(NAMES, TIMES), max_size=8))
def test_timers_come_due_in_order_and_once(deadlines: list[tuple[Timer, float]]) -> None:
    timers = Timers()
    for timer, deadline in deadlines:
        timers.set(timer, deadline)
    model = {timer: deadline for timer, deadline in dict(deadlines).items() if deadline < inf}
    seen = []
    while (due := timers.due(1e9)) is not None:
        seen.append(due)
    assert sorted(seen, key=lambda each: each.name) == sorted(model, key=lambda each: each.name)
    assert [model[timer] for timer in seen] == sorted(model.values())


def test_a_deadline_is_due_at_its_time_and_not_before() -> None:
    timers = Timers()
    timers.set(Timer.ACK, 5.0)
    assert timers.due(4.999) is None
    assert timers.due(5.0) is Timer.ACK
    assert timers.due(5.0) is None


def test_an_empty_table_is_due_at_no_time() -> None:
    assert Timers().next() == (inf, None)
    assert Timers().due(inf) is None


def test_every_deadline_says_what_it_waits_for() -> None:
    assert all(timer.value for timer in Timer)
    assert len({timer.value for timer in Timer}) == len(Timer)


@pytest.mark.parametrize(
    ("wall", "milliseconds"),
    [(0.0, 0), (1.0005, 1000), (1.9999, 1999), (-5.0, 0), (1_700_000_000.25, 1_700_000_000_250)],
)
def test_the_wall_clock_in_milliseconds(wall: float, milliseconds: int) -> None:
    assert Now(0.0, wall).wall_ms == milliseconds
