"""What every store of posts must do; each test runs over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ratatoskr.service import Head, MemoryOutboxStore, OutboxFull, OutboxStore, Parcel, Posting, Settlement
from ratatoskr_stores import SqliteOutboxStore
from tests.unit.service.support import run
from tests.unit.stores.support import NOW, Blocking

ANSWER = Settlement(b"\x00an answer\xff", b"\x01a receipt")


@pytest.fixture(params=["memory", "sqlite", "sqlite file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutboxStore]:
    if request.param == "memory":
        yield MemoryOutboxStore()
    else:
        path = ":memory:" if request.param == "sqlite" else tmp_path / "outbox.db"
        with closing(SqliteOutboxStore(path, Blocking)) as sqlite:
            yield sqlite


def parcel(nonce: bytes = b"n", **changes: Any) -> Parcel:
    fields: dict[str, Any] = {
        "type": 2**31 - 1,
        "operation": 2**32 - 1,
        "key": b"key\x00\xff",
        "payload": b"\x00payload\xff",
        "metadata": (("a", "1"), ("b", "ü\x00")),
        "lane": "laneü",
        "issued_at": NOW + 0.123,
        "expires_at": None,
    }
    return Parcel(nonce=nonce, **{**fields, **changes})


def add(store: OutboxStore, nonce: bytes = b"n", *, entries: int = 100, size: int = 1 << 20, **changes: Any) -> Parcel:
    return run(store.add(parcel(nonce, **changes), max_entries=entries, max_bytes=size))


def settle(store: OutboxStore, id: int, settlement: Settlement = ANSWER) -> None:
    assert run(store.move(id, Posting.WAITING, Posting.SETTLED, settlement))


def ids(parcels: list[Parcel]) -> list[int]:
    return [each.id for each in parcels]


@pytest.mark.parametrize("expires_at", [None, NOW + 1 / 3])
def test_a_post_is_kept_exactly(store: OutboxStore, expires_at: float | None) -> None:
    added = add(store, expires_at=expires_at)
    assert added == parcel(expires_at=expires_at, id=added.id)
    assert run(store.get(added.id)) == added
    assert run(store.unsettled()) == [added]
    assert run(store.get(added.id + 1)) is None


def test_a_nonce_is_taken_until_its_post_is_forgotten(store: OutboxStore) -> None:
    first = add(store)
    assert add(store, payload=b"other", lane="x", entries=0) == first
    settle(store, first.id)
    assert add(store, payload=b"other").settlement == ANSWER
    assert run(store.forget(first.id))
    again = add(store, payload=b"other")
    assert (again.payload, again.state) == (b"other", Posting.WAITING)
    assert again.id > first.id, "no id comes again"


def test_there_is_room_for_so_many(store: OutboxStore) -> None:
    for nonce in (b"1", b"2"):
        add(store, nonce, entries=2)
    with pytest.raises(OutboxFull):
        add(store, b"3", entries=2)
    settle(store, 1)
    with pytest.raises(OutboxFull):
        add(store, b"3", entries=2)
    run(store.forget(1))
    add(store, b"3", entries=2)


def test_there_is_room_for_so_many_bytes_outcomes_included(store: OutboxStore) -> None:
    first = add(store, b"1", size=parcel().size)
    assert first.size == parcel().size
    with pytest.raises(OutboxFull):
        add(store, b"2", size=2 * first.size - 1)
    add(store, b"2", size=2 * first.size)
    settle(store, 1)
    outcome = sum(map(len, ANSWER))
    with pytest.raises(OutboxFull):
        add(store, b"3", size=3 * first.size + outcome - 1)
    add(store, b"3", size=3 * first.size + outcome)


def test_the_heads_are_the_first_of_each_lane(store: OutboxStore) -> None:
    for nonce, lane in ((b"1", "b"), (b"2", "a"), (b"3", "b"), (b"4", "")):
        add(store, nonce, lane=lane)
    assert run(store.heads()) == [Head(1, "b"), Head(2, "a"), Head(4, "")]
    run(store.move(1, Posting.WAITING, Posting.SENT))
    assert run(store.heads()) == [Head(1, "b"), Head(2, "a"), Head(4, "")]
    run(store.move(1, Posting.SENT, Posting.SETTLED, ANSWER))
    settle(store, 4)
    assert run(store.heads()) == [Head(2, "a"), Head(3, "b")]
    assert ids(run(store.unsettled())) == [2, 3]


def test_a_state_is_moved_from_what_it_is_alone(store: OutboxStore) -> None:
    id = add(store).id
    assert not run(store.move(id, Posting.SENT, Posting.DOUBTFUL))
    assert not run(store.move(id, Posting.SENT, Posting.SETTLED, ANSWER))
    assert not run(store.move(id + 1, Posting.WAITING, Posting.SENT))
    for before, after in ((Posting.WAITING, Posting.SENT), (Posting.SENT, Posting.WAITING)):
        assert run(store.move(id, before, after))
    (held,) = run(store.unsettled())
    assert (held.state, held.settlement, held.settled) == (Posting.WAITING, None, 0)
    settle(store, id)
    assert not run(store.move(id, Posting.WAITING, Posting.SETTLED, Settlement(b"another")))
    assert run(store.settled(0, 10))[0].settlement == ANSWER


def test_outcomes_have_an_order_of_their_own_whose_places_never_come_again(store: OutboxStore) -> None:
    for nonce in (b"1", b"2", b"3"):
        add(store, nonce)
    settle(store, 2)
    settle(store, 1, Settlement(b"", b""))
    assert ids(run(store.settled(0, 10))) == [2, 1]
    assert ids(run(store.settled(0, 1))) == [2]
    (last,) = run(store.settled(run(store.settled(0, 1))[0].settled, 10))
    assert (last.id, last.settlement) == (1, Settlement(b"", b""))
    for id in (1, 2):
        assert run(store.forget(id))
    settle(store, 3)
    assert ids(run(store.settled(last.settled, 10))) == [3]


def test_deliveries_are_counted(store: OutboxStore) -> None:
    id = add(store).id
    settle(store, id)
    assert [run(store.deliver(id)) for _ in range(3)] == [1, 2, 3]
    run(store.forget(id))
    assert run(store.deliver(id)) == 0


def test_only_what_has_its_outcome_is_forgotten(store: OutboxStore) -> None:
    id = add(store).id
    for state in (Posting.SENT, Posting.DOUBTFUL):
        assert not run(store.forget(id))
        run(store.move(id, Posting.WAITING if state is Posting.SENT else Posting.SENT, state))
    assert not run(store.forget(id))
    run(store.move(id, Posting.DOUBTFUL, Posting.SETTLED, ANSWER))
    assert run(store.forget(id))
    assert not run(store.forget(id))
    assert run(store.get(id)) is None


def test_what_is_overdue_is_found(store: OutboxStore) -> None:
    add(store, b"1", issued_at=NOW)
    add(store, b"2", issued_at=NOW + 1)
    add(store, b"3", issued_at=NOW + 1, expires_at=NOW + 100)
    add(store, b"4", issued_at=NOW, expires_at=NOW + 100)
    settle(store, 4)
    assert ids(run(store.overdue(NOW + 99, NOW - 1))) == []
    assert ids(run(store.overdue(NOW + 99, NOW))) == [1]
    assert ids(run(store.overdue(NOW + 100, NOW))) == [1, 3]
    assert ids(run(store.overdue(NOW + 100, NOW + 1))) == [1, 2, 3]


def test_one_sends(store: OutboxStore) -> None:
    assert run(store.lock(b"one"))
    assert not run(store.lock(b"one"))
    assert not run(store.lock(b"other"))
    run(store.unlock(b"other"))
    assert not run(store.lock(b"other"))
    run(store.unlock(b"one"))
    run(store.unlock(b"one"))
    assert run(store.lock(b"other"))


def test_it_is_of_who_binds_it_first_until_nothing_is_without_an_outcome(store: OutboxStore) -> None:
    add(store, b"1")
    assert run(store.bind(b"one")) == b"one"
    assert run(store.bind(b"other")) == b"one"
    for before, after in ((Posting.WAITING, Posting.SENT), (Posting.SENT, Posting.DOUBTFUL)):
        run(store.move(1, before, after))
        assert run(store.bind(b"other")) == b"one"
    assert run(store.bind(b"one")) == b"one"
    run(store.move(1, Posting.DOUBTFUL, Posting.SETTLED, ANSWER))
    assert run(store.bind(b"other")) == b"other", "an outcome is sent to nobody"
    add(store, b"2")
    assert run(store.bind(b"one")) == b"other"


def test_an_empty_one_is_of_who_binds_it_last(store: OutboxStore) -> None:
    for owner in (b"one", b"other", b"one\x00\xff"):
        assert run(store.bind(owner)) == owner
