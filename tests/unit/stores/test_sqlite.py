"""What SQLite adds: a file that outlives the process, and transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ratatoskr import LocalProtocolError
from ratatoskr.service import Entry
from ratatoskr_stores import SqliteStore, SubjectFull, TransactionLost
from tests.unit.service.support import run
from tests.unit.stores.support import HELD, KEEP, NOW, OUTCOME, Blocking, Db, claim, create, effects, insert


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "once.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    with SqliteStore(path, wait=Blocking) as store:
        run(store.run(create))
        run(store.claim(claim()))
        yield store


# The file


def test_claims_and_outcomes_outlive_the_store(path: Path) -> None:
    with SqliteStore(path, wait=Blocking) as store:
        run(store.claim(claim(b"one")))
        run(store.claim(claim(b"two")))
        run(store.complete(claim(b"two"), OUTCOME, keep_until=KEEP))
    with SqliteStore(path, wait=Blocking) as store:
        assert run(store.claim(claim(b"one", owner=b"next"))) == HELD
        assert run(store.claim(claim(b"two", owner=b"next"))) == Entry(b"digest", b"owner", NOW + 60, OUTCOME)


def test_every_commit_reaches_the_disk(store: SqliteStore) -> None:
    def pragmas(db: Db) -> list[object]:
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")]

    full = 2
    assert run(store.run(pragmas)) == ["wal", full, 1]


def test_whatever_end_of_the_journal_a_power_loss_takes_effect_and_outcome_stay_together(path: Path) -> None:
    """What was not synced may be gone, from any byte on; what is left is a state that there was."""
    with SqliteStore(path, wait=Blocking) as store:
        run(store.run(create))
        run(store.claim(claim()))
        transaction = store.begin(claim())
        run(transaction.start())
        run(transaction.run(insert("done")))
        assert run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW))
        journal = Path(f"{path}-wal").read_bytes()
        main = path.read_bytes()
    lost, seen = path.with_name("lost.db"), list[tuple[object, ...]]()
    for length in (*range(0, len(journal), 256), len(journal)):
        lost.write_bytes(main)
        Path(f"{lost}-wal").write_bytes(journal[:length])
        with closing(sqlite3.connect(lost)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if {"effects", "ratatoskr_once"} <= tables:
                seen.append((*effects(db), *db.execute("SELECT outcome FROM ratatoskr_once").fetchall()))
    assert list(dict.fromkeys(seen)) == [(), ((None,),), ("done", (OUTCOME,))]


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"something else, and long enough to look at" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        SqliteStore(path)


def test_a_file_whose_table_cannot_be_made_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE ratatoskr_once_keep_until (a)")
    db.close()
    with pytest.raises(sqlite3.OperationalError, match="already a table"):
        SqliteStore(path)


def test_a_file_that_another_process_keeps_locked_is_refused_in_the_end(path: Path) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        SqliteStore(path, busy_timeout=0.02)
    db.close()


def test_a_closed_store_says_so(path: Path) -> None:
    store = SqliteStore(path, wait=Blocking)
    transaction = store.begin(claim())
    store.close()
    store.close()
    with pytest.raises(LocalProtocolError, match="the store is closed"):
        run(store.claim(claim()))
    with pytest.raises(LocalProtocolError, match="the store is closed"):
        run(transaction.start())
    transaction.abandon()


def test_a_file_of_before_oaths_and_quotas_is_taken_along(path: Path) -> None:
    """What was claimed then was sworn by nobody."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            """CREATE TABLE ratatoskr_once (
                   tenant TEXT NOT NULL, subject TEXT NOT NULL, nonce BLOB NOT NULL, digest BLOB NOT NULL,
                   owner BLOB NOT NULL, lease_until REAL NOT NULL, keep_until REAL NOT NULL, outcome BLOB,
                   PRIMARY KEY (tenant, subject, nonce)) WITHOUT ROWID"""
        )
        for n in range(2):
            row = ("tenant", "subject", bytes([n]), b"digest", b"owner", NOW + 60, KEEP)
            db.execute("INSERT INTO ratatoskr_once VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", row)
    for _ in range(2):
        with SqliteStore(path, wait=Blocking) as store:
            assert run(store.claim(claim(bytes([0])))) == HELD
            with pytest.raises(SubjectFull):
                run(store.claim(claim(b"new"), per_subject=2))
    with SqliteStore(path, wait=Blocking) as store:
        assert run(store.claim(claim(b"new"), per_subject=3)) is None


# The application's tables


def test_a_function_runs_in_a_transaction_of_its_own(store: SqliteStore) -> None:
    run(store.run(insert("kept")))

    def broken(db: Db) -> None:
        insert("lost")(db)
        raise KeyError("why")

    with pytest.raises(KeyError, match="why"):
        run(store.run(broken))
    assert run(store.run(effects)) == ["kept"]


def test_a_function_may_not_commit(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no transaction is active"):
        run(store.run(lambda db: db.commit()))
    assert run(store.run(effects)) == []


# Transactions


def test_effect_and_outcome_commit_together(store: SqliteStore, path: Path) -> None:
    transaction = store.begin(claim())
    run(transaction.start())
    run(transaction.run(insert("done")))
    with sqlite3.connect(path) as other:
        assert effects(other) == []
        assert other.execute("SELECT outcome FROM ratatoskr_once").fetchall() == [(None,)]
    assert run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW))
    assert effects(other) == ["done"]
    assert other.execute("SELECT outcome, keep_until FROM ratatoskr_once").fetchall() == [(OUTCOME, KEEP)]
    other.close()
    transaction.abandon()
    assert run(store.run(effects)) == ["done"]


@pytest.mark.parametrize("lost", ["released", "completed", "owned by another", "taken over", "lease over"])
def test_without_the_claim_nothing_commits(store: SqliteStore, lost: str) -> None:
    mine, now = claim(), NOW
    if lost == "released":
        run(store.release(mine))
    elif lost == "completed":
        run(store.complete(mine, b"before", keep_until=KEEP))
    elif lost == "owned by another":
        run(store.release(mine))
        run(store.claim(claim(owner=b"other")))
    elif lost == "taken over":
        assert run(store.take_over(claim(owner=b"heir"), HELD))
    else:
        now = NOW + 60
    before = run(store.run(lambda db: db.execute("SELECT * FROM ratatoskr_once").fetchall()))
    transaction = store.begin(mine)
    run(transaction.start())
    run(transaction.run(insert("lost")))
    assert not run(transaction.commit(OUTCOME, keep_until=KEEP, now=now))
    assert run(store.run(effects)) == []
    assert run(store.run(lambda db: db.execute("SELECT * FROM ratatoskr_once").fetchall())) == before


def test_an_abandoned_transaction_has_no_effect(store: SqliteStore) -> None:
    transaction = store.begin(claim())
    run(transaction.start())
    run(transaction.run(insert("lost")))
    transaction.abandon()
    transaction.abandon()
    assert run(store.run(effects)) == []
    assert run(store.claim(claim(owner=b"other"))) == HELD
    with pytest.raises(TransactionLost):
        run(transaction.run(effects))
    assert not run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW))


def test_a_transaction_that_is_abandoned_before_it_starts_holds_nothing(store: SqliteStore) -> None:
    transaction = store.begin(claim())
    transaction.abandon()
    run(transaction.start())
    assert run(store.run(effects)) == []


def test_an_exception_of_the_function_comes_out_and_the_handler_may_go_on(store: SqliteStore) -> None:
    transaction = store.begin(claim())
    run(transaction.start())
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        run(transaction.run(lambda db: db.execute("SELECT * FROM absent")))
    run(transaction.run(insert("done")))
    assert run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW))
    assert run(store.run(effects)) == ["done"]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_function_that_ends_the_transaction_is_refused(store: SqliteStore, end: str) -> None:
    transaction = store.begin(claim())
    run(transaction.start())
    with pytest.raises(LocalProtocolError, match="leave commit and rollback to the store"):
        run(transaction.run(lambda db: db.execute(end)))
    assert not run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW))
    assert run(store.claim(claim(owner=b"other"))) == HELD


def test_a_commit_that_fails_rolls_back(store: SqliteStore) -> None:
    run(store.run(lambda db: db.execute("CREATE TABLE parents (id PRIMARY KEY)")))
    deferred = "CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"
    run(store.run(lambda db: db.execute(deferred)))
    transaction = store.begin(claim())
    run(transaction.start())
    run(transaction.run(lambda db: db.execute("INSERT INTO children VALUES (1)")))
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW))
    assert run(store.claim(claim(owner=b"other"))) == HELD
    assert run(store.run(lambda db: db.execute("SELECT count(*) FROM children").fetchone())) == (0,)


# Who waits for whom


async def tick(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


def in_asyncio(path: Path, test: Callable[[SqliteStore], Coroutine[Any, Any, None]], timeout: float = 30.0) -> None:
    async def main() -> None:
        with SqliteStore(path, transaction_timeout=timeout) as store:
            await store.run(create)
            for nonce in (b"one", b"two"):
                await store.claim(claim(nonce))
            await test(store)

    asyncio.run(main())


def test_others_wait_for_an_open_transaction_and_keep_their_order(path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        first, second = store.begin(claim(b"one")), store.begin(claim(b"two"))
        await first.start()
        second_start = asyncio.create_task(second.start())
        await tick()
        asked = asyncio.create_task(store.run(effects))
        for number in range(20):
            await first.run(insert(str(number)))
        assert not second_start.done()
        assert not asked.done()
        assert await first.commit(OUTCOME, keep_until=KEEP, now=NOW)
        await second_start
        await second.run(insert("second"))
        assert await second.commit(OUTCOME, keep_until=KEEP, now=NOW)
        assert await asked == [*map(str, range(20)), "second"]

    in_asyncio(path, test)


def test_who_gave_up_waiting_is_skipped(path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        first, second = store.begin(claim(b"one")), store.begin(claim(b"two"))
        await first.start()
        waiting = [
            asyncio.create_task(second.start()),
            asyncio.create_task(store.run(insert("given up"))),
        ]
        await tick()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        second.abandon()
        first.abandon()
        assert await store.run(effects) == []

    in_asyncio(path, test)


def test_a_transaction_that_is_open_for_too_long_gives_way(path: Path) -> None:
    async def test(store: SqliteStore) -> None:
        laggard = store.begin(claim(b"one"))
        await laggard.start()
        await laggard.run(insert("lost"))
        assert await store.run(effects) == []
        with pytest.raises(TransactionLost, match="open for too long while others waited"):
            await laggard.run(effects)
        assert not await laggard.commit(OUTCOME, keep_until=KEEP, now=NOW)

    in_asyncio(path, test, timeout=0.0)


def test_a_store_that_closes_finishes_what_waits_and_rolls_back_what_is_open(path: Path) -> None:
    async def main() -> None:
        store = SqliteStore(path)
        await store.run(create)
        for nonce in (b"one", b"two"):
            await store.claim(claim(nonce))
        first, second = store.begin(claim(b"one")), store.begin(claim(b"two"))
        await first.start()
        await first.run(insert("lost"))
        waiting = [asyncio.create_task(second.start()), asyncio.create_task(store.run(insert("kept")))]
        await tick()
        store.close()
        await asyncio.gather(*waiting)
        with pytest.raises(LocalProtocolError, match="closed"):
            await first.commit(OUTCOME, keep_until=KEEP, now=NOW)
        first.abandon()

    asyncio.run(main())
    with sqlite3.connect(path) as db:
        assert effects(db) == ["kept"]
    db.close()
