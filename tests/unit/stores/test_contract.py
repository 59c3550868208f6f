"""What every store must do; each test runs over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ratatoskr.service import Claim, Entry, OnceKey, OnceStore
from ratatoskr_stores import MemoryStore, SqliteStore
from tests.unit.service.support import run
from tests.unit.stores.support import NOW, OUTCOME, Blocking, claim

KEEP = NOW + 2000


@pytest.fixture(params=["memory", "sqlite", "sqlite file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnceStore]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        path = ":memory:" if request.param == "sqlite" else tmp_path / "once.db"
        with SqliteStore(path, wait=Blocking) as sqlite:
            yield sqlite


def entry(store: OnceStore, of: Claim) -> Entry | None:
    """What is held under the claim's key, asked by a stranger; None where the key was free, and is again."""
    stranger = Claim(of.key, b"another", b"stranger", 0.0, 0.0)
    held = run(store.claim(stranger))
    if held is None:
        assert run(store.release(stranger))
    return held


def test_a_free_key_is_claimed_once(store: OnceStore) -> None:
    first = claim()
    assert run(store.claim(first)) is None
    held = Entry(b"digest", b"owner", NOW + 60, None)
    assert run(store.claim(claim(owner=b"other", digest=b"x", lease=90))) == held
    assert run(store.claim(first)) == held
    assert entry(store, first) == held


@pytest.mark.parametrize(
    "other",
    [claim(tenant="other"), claim(subject="other"), claim(b"other"), claim(tenant="tenants", subject="ubject")],
)
def test_a_key_is_tenant_subject_and_nonce(store: OnceStore, other: Claim) -> None:
    assert run(store.claim(claim())) is None
    assert run(store.claim(other)) is None


@pytest.mark.parametrize("outcome", [OUTCOME, b""])
def test_an_outcome_is_kept_exactly(store: OnceStore, outcome: bytes) -> None:
    mine = claim()
    run(store.claim(mine))
    assert run(store.complete(mine, outcome, keep_until=KEEP))
    assert entry(store, mine) == Entry(b"digest", b"owner", NOW + 60, outcome)


def test_only_the_owner_completes_and_releases(store: OnceStore) -> None:
    mine, stranger = claim(), claim(owner=b"stranger")
    run(store.claim(mine))
    assert not run(store.complete(stranger, OUTCOME, keep_until=KEEP))
    assert not run(store.release(stranger))
    assert entry(store, mine) == Entry(b"digest", b"owner", NOW + 60, None)


def test_an_outcome_is_final(store: OnceStore) -> None:
    mine = claim()
    run(store.claim(mine))
    run(store.complete(mine, OUTCOME, keep_until=KEEP))
    assert not run(store.complete(mine, b"another", keep_until=KEEP))
    assert not run(store.release(mine))
    run(store.renew(b"owner", [mine.key], NOW + 500))
    assert entry(store, mine) == Entry(b"digest", b"owner", NOW + 60, OUTCOME)


def test_a_released_key_is_free(store: OnceStore) -> None:
    mine, next_one = claim(), claim(owner=b"next", digest=b"other")
    run(store.claim(mine))
    assert run(store.release(mine))
    assert not run(store.release(mine))
    assert not run(store.complete(mine, OUTCOME, keep_until=KEEP))
    assert run(store.claim(next_one)) is None


def test_a_lease_is_renewed_for_what_its_owner_holds(store: OnceStore) -> None:
    mine, other, theirs = claim(), claim(b"other"), claim(b"theirs", owner=b"stranger")
    for each in (mine, other, theirs):
        run(store.claim(each))
    run(store.renew(b"owner", [mine.key, theirs.key, OnceKey("no", "such", b"key")], NOW + 500))
    assert [entry(store, each) for each in (mine, other, theirs)] == [
        Entry(b"digest", b"owner", NOW + 500),
        Entry(b"digest", b"owner", NOW + 60),
        Entry(b"digest", b"stranger", NOW + 60),
    ]
    assert run(store.complete(mine, OUTCOME, keep_until=KEEP))


@pytest.mark.parametrize(("now", "left"), [(KEEP - 1, True), (KEEP, False)])
def test_an_outcome_is_forgotten_after_its_time(store: OnceStore, now: float, left: bool) -> None:
    mine = claim()
    run(store.claim(mine))
    run(store.complete(mine, OUTCOME, keep_until=KEEP))
    assert run(store.purge(now, 10)) == (0 if left else 1)
    assert (entry(store, mine) is not None) == left


@pytest.mark.parametrize(
    ("now", "left"), [(NOW + 999, True), (NOW + 1000, True), (NOW + 1499, True), (NOW + 1500, False)]
)
def test_an_abandoned_claim_is_forgotten_after_time_and_lease(store: OnceStore, now: float, left: bool) -> None:
    mine = claim(keep=1000)
    run(store.claim(mine))
    run(store.renew(b"owner", [mine.key], NOW + 1500))
    assert run(store.purge(now, 10)) == (0 if left else 1)
    assert (entry(store, mine) is not None) == left


def test_a_purge_is_bounded(store: OnceStore) -> None:
    for number in range(5):
        run(store.claim(claim(bytes([number]))))
    assert [run(store.purge(NOW + 5000, 2)) for _ in range(4)] == [2, 2, 1, 0]
