"""Whether a client dials again, and after how long: tables of decisions, and what holds whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr.errors import Fault, LocalProtocolError
from ratatoskr.service import Redial, Redialing
from ratatoskr.testing.clock import seeded

DAY = 24 * 3600.0
LOST = Fault.TRANSPORT_LOST
HOUR = 3600.0


def drawing(fraction: float) -> Callable[[int], bytes]:
    """Entropy that draws that fraction of a window, or nearly nothing where it is 0."""
    return lambda size: max(0, int(fraction * (1 << 8 * size)) - 1).to_bytes(size, "big")


def no_entropy(size: int) -> bytes:
    raise AssertionError("drawn for nothing")


def policy_with(**changes: Any) -> Redial:
    """A policy with values that the types would not let pass."""
    return Redial(**changes)


def client(fraction: float = 0.5, *, open_for: float = HOUR, at: float = 0.0, **changes: Any) -> Redialing:
    """A client whose line has been open for so long at this time."""
    made = Redialing(policy_with(**changes), drawing(fraction))
    made.opened(at - open_for)
    return made


def tries(redialing: Redialing, number: int, *, took: float = 0.0, **lost: Any) -> list[float | None]:
    """When it tries after a line that is lost at 0, each try failing after that many seconds."""
    found: list[float | None] = [redialing.after(LOST, 0.0, **lost)]
    while len(found) < number:
        assert found[-1] is not None
        end = found[-1] + took
        delay = redialing.after(LOST, end)
        found.append(None if delay is None else end + delay)
    return found


# The policy


def test_the_defaults() -> None:
    policy = Redial()
    assert (policy.first_delay, policy.growth, policy.longest_delay, policy.spread) == (1.0, 4.0, 45.0, 45.0)
    assert (policy.steady_after, policy.give_up_after, policy.session_timeout) == (10.0, inf, 300.0)
    with pytest.raises(FrozenInstanceError):
        policy.growth = 5  # type: ignore[misc]


@pytest.mark.parametrize("name", [field.name for field in fields(Redial)])
@pytest.mark.parametrize("value", [-1, -inf, nan])
def test_no_value_is_negative(name: str, value: float) -> None:
    with pytest.raises(LocalProtocolError, match=rf"Redial\.{name} must be from"):
        policy_with(**{name: value})


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"first_delay": 0.001}, True),
        ({"first_delay": 0.0009}, False),
        ({"first_delay": 45.0}, True),
        ({"first_delay": 45.1}, False),
        ({"growth": 1}, True),
        ({"growth": 0.99}, False),
        ({"growth": 10}, True),
        ({"growth": 10.1}, False),
        ({"longest_delay": 1.0}, True),
        ({"longest_delay": 0.9}, False),
        ({"longest_delay": DAY}, True),
        ({"longest_delay": DAY + 1}, False),
        ({"spread": 0.001}, True),
        ({"spread": 0}, False),
        ({"spread": DAY}, True),
        ({"spread": DAY + 1}, False),
        ({"steady_after": 1}, True),
        ({"steady_after": 0.9}, False),
        ({"steady_after": inf}, False),
        ({"give_up_after": 0.001}, True),
        ({"give_up_after": 0}, False),
        ({"give_up_after": inf}, True),
        ({"session_timeout": 0}, True),
        ({"session_timeout": DAY}, True),
        ({"session_timeout": inf}, False),
    ],
    ids=str,
)
def test_values_are_checked_at_their_bounds(changes: dict[str, Any], allowed: bool) -> None:
    if allowed:
        made = policy_with(**changes)
        assert {name: getattr(made, name) for name in changes} == changes
        return
    with pytest.raises(LocalProtocolError, match=r"Redial\."):
        policy_with(**changes)


# Whether


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("lost", [True, False], ids=["an open line", "a try"])
def test_a_fault_says_whether_a_client_may_dial_again(fault: Fault, lost: bool) -> None:
    redialing = client() if lost else Redialing(Redial(), drawing(0.5))
    assert (redialing.after(fault, 0.0) is not None) == fault.may_reconnect


def test_what_is_forbidden_draws_nothing() -> None:
    assert Redialing(Redial(), no_entropy).after(Fault.REFUSED, 0.0) is None


@pytest.mark.parametrize("fault", Fault)
def test_whom_the_servers_goodbye_sends_away_may_come_back(fault: Fault) -> None:
    """A fault that forbids it does so after a goodbye too."""
    again = client().after(fault, 0.0, going_away=True)
    assert (again is not None) == (fault.may_reconnect or fault is Fault.CLEAN)


@pytest.mark.parametrize("fault", Fault)
def test_a_rejection_may_invite(fault: Fault) -> None:
    again = Redialing(Redial(), drawing(0.5)).after(fault, 0.0, advice=3.0)
    assert (again is not None) == (fault.may_reconnect or fault is Fault.REJECTED)


@pytest.mark.parametrize("advice", [None, 0.0, -1.0, -inf, nan])
def test_no_advice_is_no_invitation(advice: float | None) -> None:
    assert Redialing(Redial(), drawing(0.5)).after(Fault.REJECTED, 0.0, advice=advice) is None


# After how long


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        # 0 to 1, 1 to 5, 5 to 21, 21 to 66, 66 to 111
        (0.0, [0, 0, 1, 5, 21, 66]),
        (0.25, [0, 0.25, 2, 9, 32.25, 77.25]),
        (0.5, [0, 0.5, 3, 13, 43.5, 88.5]),
        (1.0, [0, 1, 5, 21, 66, 111]),
    ],
)
def test_at_once_and_then_at_the_same_place_of_each_window(place: float, expected: list[float]) -> None:
    assert tries(client(place), 6) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"first_delay": 2.0, "growth": 3.0}, [0, 1, 5, 17, 48.5]),  # 0 to 2, to 8, to 26, to 71
        ({"growth": 1}, [0, 0.5, 1.5, 2.5, 3.5]),
        ({"longest_delay": 1.0}, [0, 0.5, 1.5, 2.5, 3.5]),
        ({"growth": 10, "longest_delay": DAY}, [0, 0.5, 6, 61, 611]),
    ],
    ids=str,
)
def test_windows_grow_as_the_policy_says(changes: dict[str, Any], expected: list[float]) -> None:
    assert tries(client(**changes), 5) == pytest.approx(expected)


def test_windows_stop_growing_for_good() -> None:
    found = tries(client(growth=10), 3000)
    assert found[-1] is not None
    assert all(b is not None and a is not None and b - a == pytest.approx(45) for a, b in pairwise(found[4:]))


@pytest.mark.parametrize(("open_for", "delay"), [(HOUR, 0.0), (10.0, 0.0), (9.999, 0.5), (0.0, 0.5)])
def test_only_a_line_that_was_steady_is_dialled_again_at_once(open_for: float, delay: float) -> None:
    assert client(open_for=open_for).after(LOST, 0.0) == delay


def test_a_server_that_lets_clients_in_and_fails_is_dialled_less_and_less() -> None:
    redialing, now = client(), 0.0
    delays = []
    for _ in range(6):
        delay = redialing.after(LOST, now)
        assert delay is not None
        delays.append(delay)
        now += delay
        redialing.opened(now)
        now += 9.9
    assert delays == pytest.approx([0, 0.5, 2, 8, 22.5, 22.5])


def test_a_steady_line_forgets_what_was_before_it() -> None:
    redialing = client()
    tries(redialing, 5)
    redialing.opened(100.0)
    assert redialing.after(LOST, 110.0) == 0.0
    assert redialing.after(LOST, 110.0) == 0.5


def test_a_steady_line_forgets_it_before_a_goodbye_too() -> None:
    redialing = client(spread=2.0)
    tries(redialing, 5)
    redialing.opened(100.0)
    assert redialing.after(Fault.CLEAN, 110.0, going_away=True) == 1.0


def test_a_place_is_drawn_for_each_loss() -> None:
    """Or those that a crash of the server finds in one place would stay together for ever."""
    redialing = Redialing(Redial(), seeded("places"))
    places = set()
    for start in range(0, 100_000, 1000):
        redialing.opened(start)
        assert redialing.after(LOST, start + 500.0) == 0.0
        places.add(redialing.after(LOST, start + 500.0))
    assert len(places) == 100


def test_a_line_that_was_not_steady_gets_a_new_place() -> None:
    """They came back one after the other, and are lost together."""
    drawn = iter([0.5, 0.125])

    def changing(size: int) -> bytes:
        return drawing(next(drawn))(size)

    redialing = Redialing(Redial(), changing)
    assert redialing.after(LOST, 0.0) == 0.5
    redialing.opened(0.5)
    assert redialing.after(LOST, 3.0) == 0.5  # an eighth of the second window


def test_a_try_that_takes_long_skips_the_windows_that_are_over() -> None:
    # 0 to 1, to 5, to 21, to 66, to 111: each try of 12 s ends behind some of them
    assert tries(client(), 5, took=12.0) == pytest.approx([0, 13, 43.5, 88.5, 133.5])
    assert tries(client(), 5, took=100.0) == pytest.approx([0, 133.5, 268.5, 403.5, 538.5])


def test_a_device_that_slept_for_a_year_goes_on_at_its_place() -> None:
    redialing = client(first_delay=0.001, longest_delay=0.001)
    assert redialing.after(LOST, 0.0) == 0.0
    assert redialing.after(LOST, 365 * DAY + 0.00075) == pytest.approx(0.00075, abs=1e-6)


def test_a_first_try_ever_that_fails_is_followed_by_one_in_the_first_window() -> None:
    redialing = Redialing(Redial(), drawing(0.5))
    assert redialing.after(LOST, 1000.0) == pytest.approx(0.5)
    assert redialing.after(LOST, 1000.5) == pytest.approx(2.5)


# What the server says


@pytest.mark.parametrize("fault", [Fault.CLEAN, Fault.TRANSPORT_LOST, Fault.DRAIN_TIMEOUT])
@pytest.mark.parametrize("open_for", [HOUR, 0.0])
def test_after_a_goodbye_nobody_comes_at_once(fault: Fault, open_for: float) -> None:
    redialing = client(1 / 3, open_for=open_for)
    assert redialing.after(fault, 0.0, going_away=True) == pytest.approx(15)
    assert redialing.after(LOST, 15.0) == pytest.approx(45)
    assert redialing.after(LOST, 60.0) == pytest.approx(45)


def test_the_fault_itself_is_a_goodbye_where_the_line_was_open() -> None:
    assert client(1 / 3).after(Fault.GOING_AWAY, 0.0) == pytest.approx(15)


def test_a_door_that_is_shut_is_a_try_that_failed() -> None:
    """HTTP 503: who lost a line without a word and finds nobody there does not wait for a whole spread."""
    redialing = client()
    assert redialing.after(LOST, 0.0) == 0.0
    assert redialing.after(Fault.GOING_AWAY, 0.0) == 0.5
    assert redialing.after(Fault.GOING_AWAY, 0.5) == 2.5


@pytest.mark.parametrize(("spread", "expected"), [(10.0, [5, 30, 72.5]), (2.0, [1, 6, 26]), (100.0, [50, 122.5])])
def test_the_spread_is_a_window_from_which_the_others_grow(spread: float, expected: list[float]) -> None:
    assert tries(client(spread=spread), len(expected), going_away=True) == pytest.approx(expected)


def test_a_spread_is_no_shorter_than_the_backoff_was() -> None:
    redialing = client(spread=2.0)
    tries(redialing, 5)
    redialing.opened(50.0)
    assert redialing.after(Fault.CLEAN, 51.0, going_away=True) == 22.5


@pytest.mark.parametrize("open_for", [HOUR, 0.0])
def test_a_try_that_is_needed_and_fails_is_followed_by_the_shortest_window(open_for: float) -> None:
    """Not by the rest of the spread, nor by the window behind that: whoever needs something waits for 30 seconds."""
    redialing = client(open_for=open_for)
    assert redialing.after(Fault.CLEAN, 0.0, going_away=True) == 22.5
    redialing.hurried(3.0)
    assert redialing.after(LOST, 3.0) == 0.5
    assert redialing.after(LOST, 3.5) == 2.5


def test_a_try_that_is_needed_gets_a_place_of_its_own() -> None:
    drawn = iter([0.5, 0.125])

    def changing(size: int) -> bytes:
        return drawing(next(drawn))(size)

    redialing = Redialing(Redial(), changing)
    redialing.opened(-HOUR)
    redialing.after(Fault.CLEAN, 0.0, going_away=True)
    redialing.hurried(3.0)
    assert redialing.after(LOST, 3.0) == 0.125


@pytest.mark.parametrize("fault", [Fault.REJECTED, Fault.GOING_AWAY, Fault.TRANSPORT_LOST])
def test_the_window_begins_where_the_advice_ends(fault: Fault) -> None:
    redialing = Redialing(Redial(), drawing(0.5))
    assert redialing.after(fault, 0.0, advice=60.0) == pytest.approx(60.5)
    assert redialing.after(fault, 60.5, advice=60.0) == pytest.approx(62)
    assert redialing.after(LOST, 122.5) == pytest.approx(2 + 8), "the rest of this window, and half of the next"


def test_advice_takes_away_what_is_at_once() -> None:
    assert client().after(LOST, 0.0, advice=5.0) == 5.5


@pytest.mark.parametrize("advice", [DAY, DAY + 1, inf])
def test_advice_is_obeyed_for_a_day_at_most(advice: float) -> None:
    assert Redialing(Redial(), drawing(0.5)).after(Fault.REJECTED, 0.0, advice=advice) == pytest.approx(DAY + 0.5)


# For how long


def test_it_gives_up_before_a_try_that_would_begin_too_late() -> None:
    assert tries(client(give_up_after=43.4), 5) == [0, 0.5, 3, 13, None]
    assert tries(client(give_up_after=43.5), 6) == [0, 0.5, 3, 13, 43.5, None]


@pytest.mark.parametrize("place", [0.01, 0.5, 1.0])
@pytest.mark.parametrize("before", [0, 5])
def test_no_goodbye_is_the_end_however_soon_it_gives_up(place: float, before: int) -> None:
    """Or of those that wait for 20 seconds at most, five of nine would never come back from a restart."""
    redialing = client(place, give_up_after=20.0)
    for at in range(before):
        redialing.after(LOST, at)
    redialing.opened(100.0)
    assert redialing.after(Fault.CLEAN, 105.0, going_away=True) == pytest.approx(place * 20.0)


def test_advice_does_not_stretch_it() -> None:
    assert Redialing(Redial(give_up_after=60), drawing(0.5)).after(Fault.REJECTED, 0.0, advice=59.6) is None


def test_time_is_counted_from_the_first_failure_where_no_line_was_ever_open() -> None:
    redialing = Redialing(Redial(give_up_after=5), drawing(0.5))
    assert redialing.after(LOST, 100.0) == pytest.approx(0.5)
    assert redialing.after(LOST, 100.5) == pytest.approx(2.5)
    assert redialing.after(LOST, 103.0) is None


@pytest.mark.parametrize("open_for", [HOUR, 0.5])
def test_every_line_that_opens_gives_it_that_long_again(open_for: float) -> None:
    redialing = client(give_up_after=43.5)
    assert tries(redialing, 6)[-1] is None
    for start in (1000.0, 9000.0):
        redialing.opened(start)
        assert redialing.after(LOST, start + open_for) is not None


# What holds whatever happens

policies = st.builds(
    Redial,
    first_delay=st.floats(0.001, 1.0),
    growth=st.floats(1, 10),
    longest_delay=st.floats(1.0, 100.0) | st.floats(1.0, DAY),
    spread=st.floats(0.001, 100.0),
    steady_after=st.floats(1.0, 100.0),
    give_up_after=st.floats(0.001, 1000.0) | st.just(inf),
)
steps = st.tuples(
    st.sampled_from(Fault) | st.just(LOST),
    st.none() | st.floats(0, 100),  # how long the line was open; None for a try that failed
    st.floats(0, 30),  # how long a try took
    st.booleans(),
    st.none() | st.floats(),
)


@given(policies, st.integers(0, 1 << 32), st.lists(steps, max_size=30))
def test_a_try_is_never_early_and_never_later_than_two_windows(policy: Redial, seed: int, history: list[Any]) -> None:
    redialing, now = Redialing(policy, seeded(seed)), 0.0
    lost_at: float | None = None
    for fault, open_for, took, going_away, advice in history:
        now += took
        if open_for is not None:
            redialing.opened(now)
            now += open_for
        delay = redialing.after(fault, now, going_away=going_away, advice=advice)
        if open_for is not None or lost_at is None:
            lost_at = now
        if delay is None:
            return
        floor = min(advice, DAY) if advice is not None and advice > 0 else 0.0
        window = max(policy.spread, policy.longest_delay)
        assert floor <= delay <= floor + 2 * window
        assert now + delay <= lost_at + policy.give_up_after
        steady = open_for is not None and open_for >= policy.steady_after * 1.001
        if delay == 0.0:
            assert open_for is not None
            assert not going_away
            assert fault is not Fault.GOING_AWAY
        elif steady and not going_away and fault is not Fault.GOING_AWAY:
            assert floor
        now += delay


@given(policies, st.integers(0, 1 << 32), st.integers(1, 20))
def test_of_tries_that_fail_at_once_there_is_one_in_each_window(policy: Redial, seed: int, number: int) -> None:
    redialing = Redialing(Redial(first_delay=policy.first_delay, growth=policy.growth), seeded(seed))
    redialing.opened(-HOUR)
    begins, length = 0.0, policy.first_delay
    for at in tries(redialing, number)[1:]:
        assert at is not None
        assert begins <= at <= (begins + length) * (1 + 1e-9)
        begins, length = begins + length, min(45.0, length * policy.growth)
