"""SqliteOutbox: restarts, several processes on one file, and kill -9 at every state of a post."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from ratatoskr.errors import LocalProtocolError
from ratatoskr.service import Courier, OutboxInUse, Posting, PostSettled
from ratatoskr.service.outbox.owner import owner_of
from ratatoskr_stores import SqliteOutbox, SqliteOutboxStore
from tests.unit.service.desk import KINDS, VOUCHER
from tests.unit.service.support import OTHER_DEVICE, REDEEM, ask, run, say
from tests.unit.stores.outbox_child import OWN, Answering, Loop
from tests.unit.stores.support import Blocking

ROOT = Path(__file__).parents[3]
CHILD = "tests.unit.stores.outbox_child"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


async def outcomes(outbox: SqliteOutbox, count: int) -> list[PostSettled]:
    """The next outcomes, which are not done."""
    told = []
    async with aclosing(outbox.outcomes()) as settled:
        async for each in settled:
            told.append(each)
            if len(told) == count:
                break
    return told


def test_what_is_posted_is_told_after_a_restart(path: Path) -> None:
    async def first() -> int:
        with SqliteOutbox(path, kinds=KINDS) as outbox:
            return await outbox.post(VOUCHER, ask("lamp"), metadata={"shop": "7"}, lane="a", expires_at=4e9)

    async def second(id: int) -> None:
        with SqliteOutbox(path, kinds=KINDS) as outbox:
            (post,) = await outbox.pending()
            assert (post.id, post.message, post.metadata, post.lane) == (id, ask("lamp"), {"shop": "7"}, "a")
            async with Courier(outbox, Answering(), Loop(), OWN):
                (told,) = await outcomes(outbox, 1)
            assert told.answer(VOUCHER) == say("lamp")

    async def third() -> None:
        with SqliteOutbox(path, kinds=KINDS) as outbox:
            (told,) = await outcomes(outbox, 1)
            assert (told.answer(VOUCHER), told.delivery) == (say("lamp"), 2)
            assert told.receipt is not None
            await told.done()
            assert await outbox.pending() == []

    asyncio.run(second(asyncio.run(first())))
    asyncio.run(third())


def test_the_file_is_written_as_a_store_must_be(path: Path) -> None:
    with closing(SqliteOutboxStore(path, Blocking)) as store:
        pragmas = run(
            store._look(lambda db: [db.execute(f"PRAGMA {n}").fetchone()[0] for n in ("journal_mode", "synchronous")])
        )
    assert pragmas == ["wal", 2]


def test_a_closed_outbox_says_so(path: Path) -> None:
    outbox = SqliteOutbox(path, kinds=KINDS, wait=Blocking)
    assert run(outbox.store.lock(b"owner"))
    outbox.close()
    outbox.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        run(outbox.pending())
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as again:
        assert run(again.store.lock(b"owner")), "a closed outbox sends no more"


def test_what_is_no_database_is_an_error(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be seen as none" * 20)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteOutbox(path)


def test_a_table_of_somebody_else_is_an_error(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE ratatoskr_outbox (id INTEGER)")
    with pytest.raises(sqlite3.OperationalError):
        SqliteOutbox(path)


def test_without_a_key_each_post_is_an_operation_of_its_own(path: Path) -> None:
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as outbox:
        run(outbox.post(REDEEM, ask("10")))
        run(outbox.post(REDEEM, ask("10")))
        assert len({post.key for post in run(outbox.pending())}) == 2


def test_one_sends_from_a_file(path: Path) -> None:
    async def main() -> None:
        with SqliteOutbox(path, kinds=KINDS) as one, SqliteOutbox(path, kinds=KINDS) as other:
            async with Courier(one, Answering(), Loop(), OWN):
                for outbox in (one, other):
                    with pytest.raises(OutboxInUse, match="in another process"):
                        await Courier(outbox, Answering(), Loop(), OWN).__aenter__()
                await other.post(VOUCHER, ask("lamp"))
            async with Courier(other, Answering(), Loop(), OWN):
                assert len(await outcomes(other, 1)) == 1

    asyncio.run(main())


@pytest.mark.parametrize("what", ["a directory", "no database"])
def test_a_lock_that_cannot_be_made_is_an_error(path: Path, what: str) -> None:
    lock = path.parent / "outbox.db-sender"
    lock.mkdir() if what == "a directory" else lock.write_bytes(b"this is no database" * 100)
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as outbox, pytest.raises(sqlite3.DatabaseError):
        run(outbox.store.lock(b"owner"))


def test_it_is_of_the_same_owner_after_a_restart(path: Path) -> None:
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as outbox:
        run(outbox.post(VOUCHER, ask("lamp")))
        run(outbox.bind(owner_of(OWN)))
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as outbox:
        run(outbox.bind(owner_of(OWN)))
        with pytest.raises(LocalProtocolError, match=r"connect as DEVICE `device-1`"):
            run(outbox.bind(owner_of(OTHER_DEVICE.certificate)))


# Processes


class Child:
    """A process that posts a lamp, sends it, and stops where it is told to."""

    def __init__(self, path: Path, stop_at: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", CHILD, str(path), stop_at], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )

    def said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=30)


@pytest.fixture
def children(path: Path) -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.kill()


def killed(path: Path, children: list[Child], stop_at: str) -> None:
    """Run a process up to there, and kill it."""
    children.append(Child(path, stop_at))
    assert children[-1].said() == stop_at
    children[-1].kill()


@pytest.mark.parametrize(
    ("stop_at", "state", "asked"),
    [("posted", Posting.WAITING, Posting.SENT), ("sent", Posting.SENT, Posting.DOUBTFUL)],
)
def test_killed_before_there_is_an_outcome(
    path: Path, children: list[Child], stop_at: str, state: Posting, asked: Posting
) -> None:
    killed(path, children, stop_at)

    async def later() -> None:
        with SqliteOutbox(path, kinds=KINDS) as outbox:
            (post,) = await outbox.pending()
            assert (post.message, post.state) == (ask("lamp"), state)
            assert await outbox.post(VOUCHER, ask("lamp")) == post.id, "a restarted script posts it again"
            link = Answering(outbox.store)
            async with Courier(outbox, link, Loop(), OWN):
                (told,) = await outcomes(outbox, 1)
            assert (told.delivery, told.answer(VOUCHER), link.states) == (1, say("lamp"), [asked])
            assert link.options[0]["issued_at"] == post.issued_at

    asyncio.run(later())


@pytest.mark.parametrize(("stop_at", "delivery"), [("settled", 1), ("told", 2)])
def test_killed_before_the_outcome_is_done(path: Path, children: list[Child], stop_at: str, delivery: int) -> None:
    killed(path, children, stop_at)

    async def later() -> None:
        with SqliteOutbox(path, kinds=KINDS) as outbox:
            assert await outbox.pending() == []
            link = Answering(outbox.store)
            async with Courier(outbox, link, Loop(), OWN):
                (told,) = await outcomes(outbox, 1)
            assert (told.delivery, told.answer(VOUCHER), link.states) == (delivery, say("lamp"), [])

    asyncio.run(later())


def test_killed_after_done_nothing_is_left(path: Path, children: list[Child]) -> None:
    killed(path, children, "done")
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as outbox:
        assert run(outbox.store.unsettled()) == run(outbox.store.settled(0, 10)) == []


def test_who_is_dead_sends_no_more_and_who_lives_does(path: Path, children: list[Child]) -> None:
    children.append(Child(path, "sent"))
    assert children[0].said() == "sent"
    with SqliteOutbox(path, kinds=KINDS, wait=Blocking) as outbox:
        assert not run(outbox.store.lock(b"owner"))
        children[0].kill()
        assert run(outbox.store.lock(b"owner"))
