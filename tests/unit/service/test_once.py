"""Every decision about what executes at most once, as tables."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from ratatoskr.errors import Disposition, Failure, LocalProtocolError, Status
from ratatoskr.messages.standard import PAYMENT_AUTHORIZE
from ratatoskr.service import Entry, OnceKey, OncePolicy, operation_digest
from ratatoskr.service.once import (
    CONFLICT,
    NOT_RECOVERED,
    OUTCOME_UNKNOWN,
    RUNNING_ELSEWHERE,
    STORE_FULL,
    STORE_UNAVAILABLE,
    SUBJECT_FULL,
    Operation,
    is_dead,
    judge,
)

NOW = 1_700_000_000.0
POLICY = OncePolicy(retention=1000.0, tolerance=100.0, lease=10.0)
ENTRY = Entry(b"digest", b"owner", lease_until=NOW + 1)


def test_a_digest_covers_type_operation_and_payload() -> None:
    expected = sha256(
        b"ratatoskr-v1 operation\x00" + b"\x00\x00\x00\x0b" + b"\x00\x00\x00\x01" + sha256(b"payload").digest()
    ).digest()
    assert operation_digest(PAYMENT_AUTHORIZE, b"payload") == expected
    others = [
        operation_digest(PAYMENT_AUTHORIZE, b"payloae"),
        operation_digest(replace(PAYMENT_AUTHORIZE, operation=2), b"payload"),
        operation_digest(replace(PAYMENT_AUTHORIZE, type=12), b"payload"),
    ]
    assert len({expected, *others}) == 4


@pytest.mark.parametrize(
    ("age", "fresh"),
    [(0, True), (999, True), (1000, False), (1001, False), (-99, True), (-100, True), (-101, False)],
)
def test_only_a_fresh_request_is_executed(age: float, fresh: bool) -> None:
    failure = POLICY.stale(NOW - age, NOW)
    if fresh:
        assert failure is None
    else:
        assert failure is not None
        assert (failure.status, failure.reason) == (Status.FAILED_PRECONDITION, "STALE")
        assert failure.disposition is (Disposition.MAYBE if age > 0 else Disposition.NOT_PROCESSED)


def test_a_stale_request_is_told_what_is_wrong() -> None:
    old, early = POLICY.stale(NOW - 5000, NOW), POLICY.stale(NOW + 5000, NOW)
    assert old is not None
    assert old.message == "the request was issued 5000 s ago; outcomes are kept for 1000 s"
    assert early is not None
    assert early.message == "the request was issued 5000 s in the future: check the clock of its sender"


def test_an_outcome_is_kept_for_as_long_as_its_request_is_fresh_anywhere() -> None:
    """The request that counts longest was issued as far in the future as is tolerated."""
    kept_until = POLICY.keep_until(NOW)
    issued_at = NOW + POLICY.tolerance
    assert POLICY.stale(issued_at, NOW) is None
    assert POLICY.stale(issued_at, kept_until - 0.001) is None
    assert POLICY.stale(issued_at, kept_until) is not None


def test_a_claim_has_an_owner_and_a_lease() -> None:
    claim = POLICY.claim(OnceKey("tenant", "subject", b"nonce"), b"digest", b"owner", NOW, issued_at=NOW - 5)
    assert (claim.key, claim.digest, claim.owner) == (("tenant", "subject", b"nonce"), b"digest", b"owner")
    assert claim.lease_until == NOW + 10


@pytest.mark.parametrize("age", [-100.0, 0.0, 999.0])
@pytest.mark.parametrize("ahead", [-100.0, 0.0, 100.0])
def test_a_claim_is_kept_for_as_long_as_its_request_is_fresh_anywhere(age: float, ahead: float) -> None:
    """Whatever becomes of its owner. The clock of whoever forgets it may run ahead by the tolerance."""
    issued_at = NOW - age
    claim = POLICY.claim(OnceKey("tenant", "subject", b"nonce"), b"digest", b"owner", NOW, issued_at=issued_at)
    forgotten_at = claim.keep_until - ahead
    assert POLICY.stale(issued_at, forgotten_at) is not None


@pytest.mark.parametrize("field", ["retention", "tolerance", "lease", "per_subject"])
def test_times_are_above_zero(field: str) -> None:
    with pytest.raises(LocalProtocolError, match="above zero"):
        OncePolicy(**{field: 0})


@pytest.mark.parametrize(
    ("changes", "digest", "owner", "verdict"),
    [
        ({"outcome": b"stored"}, b"digest", b"me", b"stored"),
        ({"outcome": b"stored"}, b"digest", b"owner", b"stored"),
        ({"outcome": b""}, b"digest", b"me", b""),
        ({"outcome": b"stored", "lease_until": NOW - 99}, b"digest", b"me", b"stored"),
        ({}, b"digest", b"me", RUNNING_ELSEWHERE),
        ({}, b"digest", b"owner", OUTCOME_UNKNOWN),
        ({"lease_until": NOW}, b"digest", b"me", OUTCOME_UNKNOWN),
        ({"lease_until": NOW + 0.001}, b"digest", b"me", RUNNING_ELSEWHERE),
        ({}, b"other", b"me", CONFLICT),
        ({}, b"other", b"owner", CONFLICT),
        ({"lease_until": NOW}, b"other", b"me", CONFLICT),
        ({"outcome": b"stored"}, b"other", b"me", CONFLICT),
    ],
)
def test_what_is_there_decides(changes: dict[str, Any], digest: bytes, owner: bytes, verdict: bytes | Failure) -> None:
    assert judge(replace(ENTRY, **changes), digest, process=owner, now=NOW) == verdict


@pytest.mark.parametrize(
    ("changes", "process", "dead"),
    [
        ({}, b"me", False),
        ({"lease_until": NOW}, b"me", True),
        ({"lease_until": NOW + 0.001}, b"me", False),
        ({"owner": b"me, the seventh time"}, b"me", True),
        ({"owner": b"another, not me"}, b"me", False),
        ({"outcome": b"", "lease_until": NOW}, b"me", False),
        ({"outcome": b"stored", "owner": b"me, the seventh time"}, b"me", False),
    ],
)
def test_a_claim_without_a_living_owner_is_dead(changes: dict[str, Any], process: bytes, dead: bool) -> None:
    assert is_dead(replace(ENTRY, **changes), process=process, now=NOW) == dead


@pytest.mark.parametrize(("attempt", "delay"), [(0, 1.0), (1, 1.0), (2, 7.1), (3, 7.1)])
def test_who_has_asked_often_is_told_when_the_lease_is_over(attempt: int, delay: float) -> None:
    """What runs may be done any moment, so the first advice is short. What died is known to be dead no sooner."""
    entry = replace(ENTRY, lease_until=NOW + 7)
    failure = judge(entry, b"digest", process=b"me", now=NOW, attempt=attempt)
    assert isinstance(failure, Failure)
    assert failure == replace(RUNNING_ELSEWHERE, retry_delay=failure.retry_delay)
    assert failure.retry_delay == pytest.approx(delay)
    assert is_dead(entry, process=b"me", now=NOW + 7.1)


@pytest.mark.parametrize(
    ("failure", "status", "disposition", "retry"),
    [
        (CONFLICT, Status.ALREADY_EXISTS, Disposition.FAILED, None),
        (RUNNING_ELSEWHERE, Status.ABORTED, Disposition.MAYBE, 1.0),
        (OUTCOME_UNKNOWN, Status.UNKNOWN, Disposition.MAYBE, None),
        (NOT_RECOVERED, Status.UNKNOWN, Disposition.MAYBE, None),
        (STORE_UNAVAILABLE, Status.UNAVAILABLE, Disposition.MAYBE, 1.0),
        (SUBJECT_FULL, Status.RESOURCE_EXHAUSTED, Disposition.NOT_PROCESSED, 60.0),
        (STORE_FULL, Status.RESOURCE_EXHAUSTED, Disposition.NOT_PROCESSED, 60.0),
    ],
)
def test_what_the_caller_is_told(
    failure: Failure, status: Status, disposition: Disposition, retry: float | None
) -> None:
    assert (failure.status, failure.disposition, failure.retry_delay) == (status, disposition, retry)


def test_before_the_store_answers_everybody_waits() -> None:
    operation = Operation(b"digest", "first")
    assert operation.join(b"digest", "second") is None
    assert operation.join(b"other", "third") is None
    assert not operation.owned
    assert operation.take() == ["first", "second", "third"]
    assert operation.take() == []


def test_an_owned_operation_turns_away_what_asks_for_something_else() -> None:
    operation = Operation(b"digest", "first")
    operation.join(b"other", "early")
    assert operation.own(b"digest") == ["early"]
    assert operation.owned
    assert operation.join(b"other", "late") is CONFLICT
    assert operation.join(b"digest", "second") is None
    assert operation.take() == ["first", "second"]


def test_where_the_key_was_taken_each_request_is_judged_by_its_own_digest() -> None:
    """The first to arrive here may well be the one that conflicts."""
    operation = Operation(b"other", "conflicts")
    operation.join(b"digest", "repeats")
    assert operation.take_digests() == [(b"other", "conflicts"), (b"digest", "repeats")]
    assert operation.take() == []


def test_a_dead_claim_is_taken_over_by_the_first_that_asks_for_the_same() -> None:
    operation = Operation(b"other", "conflicts")
    assert operation.first(b"digest") is None
    for request in ("first", "second"):
        operation.join(b"digest", request)
    assert operation.first(b"digest") == "first"
    assert operation.own(b"digest") == ["conflicts"]
    assert operation.join(b"other", "late") is CONFLICT
    assert operation.join(b"digest", "third") is None
    assert operation.take() == ["first", "second", "third"]
