"""What is retried, after how long, and how much of it: tables of decisions, and what holds whatever happens."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from math import inf, nan
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Fault, LocalProtocolError, Status
from ratatoskr.messages import AnyKind, Kind, Rule
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.service import NO_RETRIES, RetryBudget, RetryPolicy, verdict
from ratatoskr.service.once import CONFLICT, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE, STORE_UNAVAILABLE
from ratatoskr.session.failures import GOING_AWAY, TOO_LONG, ended
from ratatoskr.testing.clock import seeded
from tests.unit.service.support import NOTE, REDEEM

NOT_PROCESSED, MAYBE, FAILED = Disposition.NOT_PROCESSED, Disposition.MAYBE, Disposition.FAILED
BUSY = Failure(Status.UNAVAILABLE, "BUSY", "busy", NOT_PROCESSED)
WATCH = Kind(1002, 3, "acme.Watch", v1.Search, v1.GoAway, stream=True)
KINDS = [NOTE, REDEEM, PAYMENT_AUTHORIZE, WATCH]
DAY = 24 * 3600.0


def drawing(fraction: float) -> Any:
    """Entropy of which that fraction is drawn, or the next below 1."""
    return lambda size: min(int(fraction * (1 << 8 * size)), (1 << 8 * size) - 1).to_bytes(size, "big")


def no_entropy(size: int) -> bytes:
    raise AssertionError("drawn for nothing")


def policy_with(**changes: Any) -> RetryPolicy:
    """A policy with values that the types would not let pass."""
    return RetryPolicy(**changes)


def budget(fraction: float = 0.5, **changes: Any) -> RetryBudget:
    return RetryBudget(policy_with(**changes), drawing(fraction))


def decide(
    kind: AnyKind,
    failure: Failure,
    *,
    of: RetryBudget | None = None,
    attempt: int = 0,
    remaining: float = 30.0,
    takes_requests: bool = True,
    items: int = 0,
    moved: bool = False,
) -> float | None:
    return (of or budget()).delay(
        kind,
        failure,
        attempt=attempt,
        remaining=remaining,
        takes_requests=takes_requests,
        items=items,
        moved=moved,
    )


def retries(of: RetryBudget, calls: int, kind: AnyKind = NOTE) -> int:
    """How many of these calls, which all fail, are made again."""
    return sum(decide(kind, BUSY, of=of) is not None for _ in range(calls))


# The policy


def test_the_defaults_retry_and_none_means_none() -> None:
    policy = RetryPolicy()
    assert (policy.attempts, policy.first_delay, policy.growth, policy.longest_delay) == (4, 0.1, 2.0, 5.0)
    assert (policy.tokens, policy.token_ratio) == (10, 0.1)
    assert replace(policy, attempts=1) == NO_RETRIES
    with pytest.raises(FrozenInstanceError):
        policy.attempts = 5  # type: ignore[misc]


@pytest.mark.parametrize("name", [field.name for field in fields(RetryPolicy)])
@pytest.mark.parametrize("value", [0, -1, nan, inf])
def test_every_value_is_above_zero_and_finite(name: str, value: float) -> None:
    with pytest.raises(LocalProtocolError, match=rf"RetryPolicy\.{name} must be from"):
        policy_with(**{name: value})


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"attempts": 1}, True),
        ({"attempts": 100}, True),
        ({"attempts": 101}, False),
        ({"first_delay": 0.001}, True),
        ({"first_delay": 0.0009}, False),
        ({"first_delay": 5.0}, True),
        ({"first_delay": 5.1}, False),
        ({"longest_delay": 0.1}, True),
        ({"longest_delay": 0.09}, False),
        ({"longest_delay": DAY, "first_delay": DAY}, True),
        ({"longest_delay": DAY + 1}, False),
        ({"growth": 1}, True),
        ({"growth": 0.99}, False),
        ({"growth": 10}, True),
        ({"growth": 10.1}, False),
        ({"tokens": 3}, True),
        ({"tokens": 2}, False),
        ({"tokens": 1000}, True),
        ({"tokens": 1001}, False),
        ({"token_ratio": 0.001}, True),
        ({"token_ratio": 0.0009}, False),
        ({"token_ratio": 1}, True),
        ({"token_ratio": 1.1}, False),
    ],
    ids=str,
)
def test_values_are_checked_at_their_bounds(changes: dict[str, Any], allowed: bool) -> None:
    if allowed:
        made = policy_with(**changes)
        assert {name: getattr(made, name) for name in changes} == changes
        return
    with pytest.raises(LocalProtocolError, match=r"RetryPolicy\."):
        policy_with(**changes)


# What is retried

RETRIED = {
    *((NOT_PROCESSED, status, once) for status in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED") for once in (0, 1)),
    (MAYBE, "UNAVAILABLE", 1),
    (MAYBE, "ABORTED", 1),
}
"""(disposition, status, whether the kind runs at most once)."""


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("disposition", Disposition)
@pytest.mark.parametrize("status", Status)
def test_only_what_is_safe_and_can_get_better_is_retried(
    kind: AnyKind, disposition: Disposition, status: Status
) -> None:
    failure = Failure(status, "REASON", "", disposition)
    expected = (disposition, status.name, bool(kind.once)) in RETRIED
    assert (decide(kind, failure) is not None) == expected
    assert (decide(kind, replace(failure, retry_delay=1.0)) is not None) == expected  # advice is no permission


@pytest.mark.parametrize(
    ("failure", "retried"),
    [
        (RUNNING_ELSEWHERE, True),
        (STORE_UNAVAILABLE, True),
        (OUTCOME_UNKNOWN, False),
        (CONFLICT, False),
        (TOO_LONG, False),
        (GOING_AWAY, True),
    ],
    ids=lambda value: value.reason if isinstance(value, Failure) else "",
)
def test_what_the_protocol_itself_fails_with(failure: Failure, retried: bool) -> None:
    """GOING_AWAY on a connection that takes requests is another one's, passed on."""
    assert (decide(REDEEM, failure) is not None) == retried


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule.fault is None])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_same_bytes_break_the_same_rule_again(rule: Rule, kind: AnyKind) -> None:
    assert decide(kind, rule.failure("no")) is None


def test_a_payload_with_too_many_fields_is_told_from_a_busy_peer() -> None:
    too_many = Rule.PAYLOAD_BUDGET.failure("Search holds more than 50000 fields")
    assert too_many.status is Status.RESOURCE_EXHAUSTED
    assert decide(NOTE, too_many) is None
    assert decide(NOTE, replace(too_many, reason="TOO_MANY_CALLS")) is not None


@pytest.mark.parametrize(
    "failure",
    [GOING_AWAY, BUSY, STORE_UNAVAILABLE, ended(Fault.PEER_SILENT, sent=True), ended(Fault.PEER_SILENT, sent=False)],
    ids=lambda failure: f"{failure.reason}-{failure.disposition.name}",
)
def test_nothing_is_retried_on_a_connection_that_takes_no_requests(failure: Failure) -> None:
    assert decide(REDEEM, failure) is not None
    assert decide(REDEEM, failure, takes_requests=False) is None


def test_a_stream_of_which_an_item_has_come_is_not_begun_again() -> None:
    assert decide(WATCH, BUSY, items=0) is not None
    assert decide(WATCH, BUSY, items=1) is None


@pytest.mark.parametrize(("attempts", "again"), [(1, []), (2, [0]), (4, [0, 1, 2])])
def test_a_request_is_made_so_many_times_in_all(attempts: int, again: list[int]) -> None:
    assert [n for n in range(10) if decide(NOTE, BUSY, of=budget(attempts=attempts), attempt=n) is not None] == again


# After how long


@pytest.mark.parametrize(
    ("attempt", "fraction", "advice", "delay"),
    [
        (0, 0.0, None, 0.0),
        (0, 0.5, None, 0.05),
        (0, 1.0, None, 0.1),
        (1, 0.5, None, 0.1),
        (2, 0.5, None, 0.2),
        (5, 0.5, None, 1.6),
        (6, 0.5, None, 2.5),
        (98, 0.5, None, 2.5),
        (0, 0.0, 1.0, 1.0),
        (0, 0.5, 1.0, 1.05),
        (6, 0.5, 1.0, 3.5),
        (6, 0.5, 3.0, 5.0),
        (6, 0.5, 5.0, 5.0),
        (0, 0.5, 20.0, 20.0),
        (0, 0.5, 0.0, 0.05),
        (0, 0.5, -1.0, 0.05),
    ],
)
def test_the_delay_is_drawn_and_comes_after_the_advice(
    attempt: int, fraction: float, advice: float | None, delay: float
) -> None:
    found = decide(NOTE, replace(BUSY, retry_delay=advice), of=budget(fraction, attempts=100), attempt=attempt)
    assert found == pytest.approx(delay, abs=1e-9)


def test_the_longest_delay_stops_any_growth() -> None:
    steep = budget(1.0, attempts=100, growth=10, longest_delay=DAY)
    assert decide(NOTE, BUSY, of=steep, attempt=98, remaining=inf) == pytest.approx(DAY)


@pytest.mark.parametrize(
    ("remaining", "delay"), [(0.0, None), (-1.0, None), (1.0, None), (1.001, 1.0), (inf, 1.0), (nan, None)]
)
def test_a_retry_leaves_time_for_an_answer(remaining: float, delay: float | None) -> None:
    assert decide(NOTE, replace(BUSY, retry_delay=1.0), of=budget(0.0), remaining=remaining) == delay


@pytest.mark.parametrize("advice", [DAY, inf, nan])
def test_advice_beyond_the_calls_time_ends_it(advice: float) -> None:
    assert decide(NOTE, replace(BUSY, retry_delay=advice), remaining=0.01) is None


def test_callers_that_fail_together_come_back_one_by_one() -> None:
    of = RetryBudget(RetryPolicy(tokens=1000), seeded("jitter"))
    for advice in (None, 1.0):
        drawn = [decide(NOTE, replace(BUSY, retry_delay=advice), of=of) for _ in range(200)]
        assert len(set(drawn)) == 200
        least, most = min(filter(None, drawn)), max(filter(None, drawn))
        assert (least, most) == pytest.approx((advice or 0.0, (advice or 0.0) + 0.1), abs=0.01)


def test_entropy_is_drawn_for_retries_alone() -> None:
    of = RetryBudget(RetryPolicy(), no_entropy)
    assert decide(NOTE, CONFLICT, of=of) is None
    assert decide(NOTE, BUSY, of=of, takes_requests=False) is None
    assert decide(NOTE, BUSY, of=of, attempt=3) is None
    with pytest.raises(AssertionError, match="drawn for nothing"):
        decide(NOTE, BUSY, of=of)


# How much


@pytest.mark.parametrize(("tokens", "most"), [(3, 1), (4, 1), (5, 2), (9, 4), (10, 4), (11, 5), (1000, 499)])
def test_a_peer_that_only_fails_gets_fewer_retries_than_half_the_tokens(tokens: int, most: int) -> None:
    of = budget(tokens=tokens)
    assert retries(of, 2000) == most < tokens / 2


def test_ten_successes_pay_for_one_retry() -> None:
    of = budget()
    assert retries(of, 5) == 4
    for _ in range(9):
        of.succeeded()
    assert decide(NOTE, BUSY, of=of) is None  # and takes one again
    for _ in range(21):
        of.succeeded()
    assert retries(of, 5) == 1


def test_an_outage_of_any_length_is_paid_off_as_if_it_were_short() -> None:
    of = budget()
    retries(of, 1000)
    for _ in range(59):
        of.succeeded()
    assert retries(of, 1) == 0
    for _ in range(12):
        of.succeeded()
    assert retries(of, 1) == 1


def test_no_number_of_successes_saves_more_than_all_tokens() -> None:
    of = budget()
    for _ in range(1000):
        of.succeeded()
    assert retries(of, 1000) == 4


def test_what_cannot_be_retried_takes_no_tokens() -> None:
    of = budget()
    for _ in range(100):
        decide(NOTE, CONFLICT, of=of)
        decide(NOTE, STORE_UNAVAILABLE, of=of)
        decide(REDEEM, BUSY, of=of, takes_requests=False)
        decide(WATCH, BUSY, of=of, items=3)
    assert retries(of, 1000) == 4


def test_what_executes_elsewhere_takes_no_tokens_but_needs_them() -> None:
    """All that a killed server executed waits for the end of its lease, and says nothing about load."""
    of = budget()
    assert all(decide(REDEEM, RUNNING_ELSEWHERE, of=of) is not None for _ in range(1000))
    assert retries(of, 1000) == 4
    assert decide(REDEEM, RUNNING_ELSEWHERE, of=of) is None
    lost_race = replace(RUNNING_ELSEWHERE, disposition=NOT_PROCESSED)
    fresh = budget()
    assert sum(decide(REDEEM, lost_race, of=fresh) is not None for _ in range(1000)) == 4


@pytest.mark.parametrize("given_up", [{"attempt": 3}, {"remaining": 0.0}])
def test_a_failure_that_comes_too_late_for_a_retry_still_shows_how_the_peer_is(given_up: dict[str, Any]) -> None:
    of = budget()
    for _ in range(4):
        assert decide(NOTE, BUSY, of=of, **given_up) is None
    assert retries(of, 1000) == 0


# What holds whatever happens

policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 100),
    first_delay=st.floats(0.001, 1.0),
    growth=st.floats(1, 10),
    longest_delay=st.floats(1.0, 10.0) | st.floats(1.0, DAY),
    tokens=st.integers(3, 1000),
    token_ratio=st.floats(0.001, 1),
)
failures = st.builds(
    Failure,
    st.sampled_from([Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.ABORTED]) | st.sampled_from(Status),
    st.sampled_from(["BUSY", "GOING_AWAY"]) | st.sampled_from([rule.failure("").reason for rule in Rule]),
    st.just(""),
    st.sampled_from(Disposition),
    st.none() | st.floats(),
)
entropies = st.integers(0, 1 << 64).map(seeded) | st.sampled_from([0.0, 0.5, 1.0]).map(drawing)
advices = st.none() | st.floats(0, 1) | st.floats(0, 20) | st.floats()
remainings = st.floats(0, 20) | st.just(inf) | st.floats()


@settings(max_examples=500)
@given(st.sampled_from(KINDS), failures, st.integers(0, 4), st.sampled_from([True, True, False]), st.integers(0, 1))
def test_what_may_have_had_an_effect_is_retried_only_where_it_cannot_have_a_second(
    kind: AnyKind, failure: Failure, attempt: int, takes_requests: bool, items: int
) -> None:
    delay = decide(
        kind, failure, attempt=attempt, remaining=inf, takes_requests=takes_requests, items=items if kind.stream else 0
    )
    if delay is not None:
        assert failure.disposition is NOT_PROCESSED or (failure.disposition is MAYBE and kind.once)
        assert failure.status in {Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.ABORTED}
        assert takes_requests
        assert attempt < 3
        assert not (kind.stream and items)


@settings(max_examples=500)
@given(policies, entropies, advices, st.integers(0, 8) | st.integers(0, 100), remainings)
@example(RetryPolicy(), drawing(1.0), None, 0, inf)
def test_a_retry_comes_in_time_and_not_before_the_peer_wants_it(
    policy: RetryPolicy, entropy: Any, advice: float | None, attempt: int, remaining: float
) -> None:
    failure = replace(BUSY, retry_delay=advice)
    delay = decide(NOTE, failure, of=RetryBudget(policy, entropy), attempt=attempt, remaining=remaining)
    if delay is None:
        return
    assert attempt + 2 <= policy.attempts
    assert 0 <= delay < remaining
    assert remaining - delay > 0
    if advice is None or not advice > 0:
        assert delay < min(policy.longest_delay, policy.first_delay * policy.growth**attempt)
    else:
        assert advice <= delay <= max(advice, policy.longest_delay)


@given(policies, entropies, st.lists(st.integers(0, 100), max_size=60))
@example(RetryPolicy(attempts=100, tokens=3, token_ratio=1), drawing(0), [])
def test_a_peer_that_only_fails_is_left_alone_soon(policy: RetryPolicy, entropy: Any, late: list[int]) -> None:
    """Whatever the number of its calls, and of the attempts that they have behind them."""
    of = RetryBudget(policy, entropy)
    attempts = [*late, *([0] * 1100)]
    made = sum(decide(REDEEM, BUSY, of=of, attempt=attempt, remaining=inf) is not None for attempt in attempts)
    assert made < policy.tokens / 2
    if policy.attempts > 1 and len(late) < policy.tokens / 2 - 1:
        assert made + len(late) >= policy.tokens / 2 - 1, "and no sooner"


@given(policies, st.lists(st.booleans() | st.just(False), max_size=400))
def test_retries_are_paid_for_by_successes(policy: RetryPolicy, history: list[bool]) -> None:
    of = RetryBudget(policy, drawing(0.0))
    made = successes = 0
    for success in history:
        if success:
            of.succeeded()
            successes += 1
        elif decide(NOTE, BUSY, of=of) is not None:
            made += 1
        assert made < policy.tokens / 2 + policy.token_ratio * successes + 1e-9


# What is told in the end


@pytest.mark.parametrize(
    ("dispositions", "told"),
    [
        ([NOT_PROCESSED], NOT_PROCESSED),
        ([NOT_PROCESSED, NOT_PROCESSED], NOT_PROCESSED),
        ([MAYBE, NOT_PROCESSED], MAYBE),
        ([MAYBE, NOT_PROCESSED, NOT_PROCESSED], MAYBE),
        ([NOT_PROCESSED, MAYBE], MAYBE),
        ([MAYBE, FAILED], FAILED),
        ([NOT_PROCESSED, MAYBE, FAILED], FAILED),
        ([FAILED], FAILED),
    ],
)
def test_a_call_ends_no_surer_than_its_least_sure_attempt(dispositions: list[Disposition], told: Disposition) -> None:
    attempts = [replace(BUSY, disposition=each, reason=f"NUMBER_{n}") for n, each in enumerate(dispositions)]
    assert verdict(*attempts) == replace(attempts[-1], disposition=told)


def test_a_retry_that_the_end_of_the_connection_stops_does_not_deny_what_came_before() -> None:
    """The payment may be under way elsewhere; *not processed* would invite to pay in another way."""
    of = budget()
    assert decide(PAYMENT_AUTHORIZE, RUNNING_ELSEWHERE, of=of, attempt=0) is not None
    assert decide(PAYMENT_AUTHORIZE, GOING_AWAY, of=of, attempt=1, takes_requests=False) is None
    assert verdict(RUNNING_ELSEWHERE, GOING_AWAY) == replace(GOING_AWAY, disposition=MAYBE)


def test_what_failed_with_a_session_is_made_at_once_in_the_next_one_and_costs_nothing() -> None:
    of = RetryBudget(RetryPolicy(), no_entropy)
    lost = ended(Fault.SESSION_UNKNOWN, sent=True)
    for _ in range(100):
        assert decide(NOTE, GOING_AWAY, of=of, attempt=9, moved=True) == 0.0
        assert decide(REDEEM, lost, of=of, attempt=9, moved=True) == 0.0
        assert decide(NOTE, lost, of=of, moved=True) is None, "it may have had an effect, and could have another one"
    assert decide(NOTE, GOING_AWAY, of=of, remaining=0.0, moved=True) is None
    assert decide(WATCH, GOING_AWAY, of=of, items=1, moved=True) is None
    assert decide(NOTE, BUSY, of=budget(1.0, tokens=3, attempts=2)) is not None
    for attempt in (-1, 0):  # those that count, none of which may have failed
        assert decide(NOTE, GOING_AWAY, of=RetryBudget(NO_RETRIES, no_entropy), attempt=attempt, moved=True) is None
