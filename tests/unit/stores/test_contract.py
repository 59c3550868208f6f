"""What every store must do; each test runs over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ratatoskr.service import Claim, Entry, OnceStore
from ratatoskr_stores import MemoryStore, SqliteStore, StoreFull, SubjectFull
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


MINE = claim()
HEIR = claim(owner=b"heir", lease=120, keep=1500)


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
    run(store.renew([mine], NOW + 500))
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
    run(store.renew([mine, replace(theirs, owner=b"owner"), claim(b"no such key")], NOW + 500))
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
    run(store.renew([mine], NOW + 1500))
    assert run(store.purge(now, 10)) == (0 if left else 1)
    assert (entry(store, mine) is not None) == left


def test_a_purge_is_bounded(store: OnceStore) -> None:
    for number in range(5):
        run(store.claim(claim(bytes([number]))))
    assert [run(store.purge(NOW + 5000, 2)) for _ in range(4)] == [2, 2, 1, 0]


def test_what_is_asked_for_again_is_kept_for_longer(store: OnceStore) -> None:
    """A later request with the key is owed the same answer for its own time."""
    run(store.claim(MINE))
    run(store.claim(claim(owner=b"later", keep=1500)))
    run(store.claim(claim(owner=b"earlier", keep=10)))
    assert run(store.purge(NOW + 1499, 10)) == 0
    run(store.complete(MINE, OUTCOME, keep_until=NOW + 1400))
    assert run(store.purge(NOW + 1499, 10)) == 0, "an outcome does not shorten it"
    run(store.claim(claim(owner=b"latest", keep=1600)))
    assert run(store.purge(NOW + 1599, 10)) == 0
    assert run(store.purge(NOW + 1600, 10)) == 1


# Taking over


def test_what_is_as_it_was_seen_is_taken_over_once(store: OnceStore) -> None:
    run(store.claim(MINE))
    seen = entry(store, MINE)
    assert seen is not None
    assert run(store.take_over(HEIR, seen))
    held = Entry(b"digest", b"heir", NOW + 120)
    assert entry(store, MINE) == held
    assert not run(store.take_over(claim(owner=b"too late"), seen))
    assert entry(store, MINE) == held


def test_a_handler_s_oath_is_kept_with_its_claim(store: OnceStore) -> None:
    sworn = replace(MINE, atomic=True)
    run(store.claim(sworn))
    seen = Entry(b"digest", b"owner", NOW + 60, None, atomic=True)
    assert entry(store, MINE) == seen
    assert not run(store.take_over(HEIR, replace(seen, atomic=False)))
    assert run(store.take_over(HEIR, seen))
    assert entry(store, MINE) == Entry(b"digest", b"heir", NOW + 120)
    run(store.complete(HEIR, OUTCOME, keep_until=KEEP))
    assert entry(store, MINE) == Entry(b"digest", b"heir", NOW + 120, OUTCOME)


@pytest.mark.parametrize("change", ["renewed", "completed", "released", "claimed by another", "purged"])
def test_what_has_changed_since_is_not_taken_over(store: OnceStore, change: str) -> None:
    run(store.claim(MINE))
    seen = entry(store, MINE)
    assert seen is not None
    match change:
        case "renewed":
            run(store.renew([MINE], NOW + 61))
        case "completed":
            run(store.complete(MINE, OUTCOME, keep_until=KEEP))
        case "purged":
            assert run(store.purge(NOW + 5000, 1)) == 1
        case _:
            run(store.release(MINE))
            if change != "released":
                run(store.claim(claim(owner=b"another")))
    before = entry(store, MINE)
    assert not run(store.take_over(HEIR, seen))
    assert entry(store, MINE) == before


def test_an_outcome_is_never_taken_over(store: OnceStore) -> None:
    run(store.claim(MINE))
    run(store.complete(MINE, OUTCOME, keep_until=KEEP))
    seen = entry(store, MINE)
    assert seen is not None
    assert not run(store.take_over(HEIR, seen))
    assert entry(store, MINE) == seen


def test_who_was_the_owner_can_do_nothing_any_more(store: OnceStore) -> None:
    run(store.claim(MINE))
    assert run(store.take_over(HEIR, Entry(b"digest", b"owner", NOW + 60)))
    assert not run(store.complete(MINE, OUTCOME, keep_until=KEEP))
    assert not run(store.release(MINE))
    run(store.renew([MINE], NOW + 999))
    assert entry(store, MINE) == Entry(b"digest", b"heir", NOW + 120)
    assert run(store.complete(HEIR, b"the heir's", keep_until=KEEP))
    assert not run(store.complete(MINE, OUTCOME, keep_until=KEEP))
    assert entry(store, MINE) == Entry(b"digest", b"heir", NOW + 120, b"the heir's")


def test_what_was_taken_over_is_kept_for_its_heir_too(store: OnceStore) -> None:
    run(store.claim(MINE))
    run(store.take_over(HEIR, Entry(b"digest", b"owner", NOW + 60)))
    assert run(store.purge(NOW + 1499, 10)) == 0
    assert run(store.purge(NOW + 1500, 10)) == 1


# Quotas

QUOTA = 3


def taken(store: OnceStore, each: Claim) -> bool:
    """Whether the store gave the key, within the quota."""
    try:
        return run(store.claim(each, per_subject=QUOTA)) is None
    except SubjectFull:
        return False


def test_a_subject_holds_as_many_entries_as_it_may(store: OnceStore) -> None:
    assert [taken(store, claim(bytes([n]))) for n in range(5)] == [True, True, True, False, False]
    for n in (3, 4):
        assert entry(store, claim(bytes([n]))) is None, "nothing was stored"
    others = [("other", "subject"), ("tenant", "other"), ("tenants", "ubject")]
    assert all(taken(store, claim(b"mine", tenant=tenant, subject=subject)) for tenant, subject in others)
    assert run(store.claim(claim(b"without a quota"))) is None


def test_what_is_known_is_known_though_the_subject_is_full(store: OnceStore) -> None:
    for n in range(QUOTA):
        run(store.claim(claim(bytes([n]))))
    run(store.complete(claim(bytes([1])), OUTCOME, keep_until=KEEP))
    again = [run(store.claim(claim(bytes([n]), owner=b"again"), per_subject=QUOTA)) for n in range(QUOTA)]
    assert again == [Entry(b"digest", b"owner", NOW + 60, outcome) for outcome in (None, OUTCOME, None)]
    assert run(store.take_over(replace(HEIR, key=claim(bytes([0])).key), again[0] or Entry(b"", b"", 0)))


def test_places_become_free(store: OnceStore) -> None:
    for n in range(QUOTA):
        run(store.claim(claim(bytes([n]), keep=1000 + n)))
    assert not taken(store, claim(b"new"))
    assert run(store.release(claim(bytes([2]))))
    assert taken(store, claim(b"new", keep=9000))
    assert not taken(store, claim(b"newer"))
    assert run(store.purge(NOW + 1001, 10)) == 2
    assert [taken(store, claim(bytes([n]))) for n in range(10, 13)] == [True, True, False]


def test_memory_has_an_end() -> None:
    store = MemoryStore(capacity=2)
    assert [run(store.claim(claim(bytes([n])))) for n in range(2)] == [None, None]
    with pytest.raises(StoreFull, match="2 entries are held"):
        run(store.claim(claim(b"more")))
    assert run(store.claim(claim(bytes([0]), owner=b"again"))) == Entry(b"digest", b"owner", NOW + 60)
    assert len(store) == 2
