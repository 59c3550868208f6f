"""The courier in trouble: misuse, stores that fail, and what others do between two of its steps."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, LocalProtocolError
from ratatoskr.service import (
    Courier,
    Head,
    MemoryOutboxStore,
    Outbox,
    Parcel,
    Posting,
    Settlement,
)
from ratatoskr.service.outbox.outbox import settlement_of
from ratatoskr.service.outbox.policy import CANCELLED
from tests.unit.service.desk import BUSY, DENIED, LOST, NO_FUNDS, OWN, POLICY, VOUCHER, Desk, open_desk
from tests.unit.service.lines import Turn
from tests.unit.service.support import REDEEM, Cancelled, ask, run


def test_what_the_link_takes_for_misuse_ends_and_is_noted() -> None:
    desk = open_desk("a", "b")
    desk.listen()
    desk.wire.only.raises(LocalProtocolError("metadata has 9 entries"))
    desk.settle()
    assert desk.outcomes == {"a": "UNSENDABLE NOT_PROCESSED"}
    assert desk.host.logged == ["outbox.unsendable"]
    assert desk.wire.only.text == "b"


def test_a_mistake_in_the_link_loses_nothing() -> None:
    desk = open_desk("a")
    desk.wire.only.raises(ValueError("a mistake"))
    desk.settle()
    assert desk.host.logged == ["outbox.attempt"]
    assert desk.states == {"a": "SENT"}
    desk.pass_time(1.0)
    assert desk.wire.only.state is Posting.DOUBTFUL


@pytest.mark.parametrize("eager", [False, True])
def test_a_post_that_is_not_known_any_more_waits_for_a_program_that_knows_it(eager: bool) -> None:
    desk = Desk(POLICY, eager=eager)
    desk.post("a")
    desk.post("b", REDEEM, lane="b")
    desk.outbox = Outbox(desk.store, desk.host, kinds=[REDEEM], policy=POLICY)
    desk.courier = Courier(desk.outbox, desk.wire, desk.host, OWN)
    desk.with_courier()
    assert [made.text for made in desk.wire.open] == ["b"]
    assert desk.host.logged == ["outbox.attempt"]
    desk.pass_time(20.0)
    assert [parcel.state for parcel in run(desk.store.unsettled())] == [Posting.WAITING, Posting.SENT]


class Failing(MemoryOutboxStore):
    """A store whose next steps of that name fail, before or after their effect."""

    def __init__(self, name: str, times: int, *, after: bool) -> None:
        super().__init__()
        self.name, self.times, self.after = name, times, after

    def _trouble(self, name: str, *, after: bool) -> None:
        if name == self.name and after is self.after and self.times:
            self.times -= 1
            raise OSError("disk")

    async def heads(self) -> Any:
        self._trouble("heads", after=False)
        return await super().heads()

    async def move(self, id: int, before: Posting, after: Posting, settlement: Settlement | None = None) -> bool:
        self._trouble(after.name, after=False)
        moved = await super().move(id, before, after, settlement)
        self._trouble(after.name, after=True)
        return moved


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["heads", "SENT", "DOUBTFUL", "SETTLED"])
def test_a_store_that_fails_for_a_while_loses_nothing(name: str, after: bool) -> None:
    desk = Desk(POLICY, Failing(name, 2, after=after))
    desk.post("a")
    desk.with_courier()
    desk.listen()
    failed = False
    for _ in range(40):
        for made in desk.wire.open:
            if failed:
                made.answer("paid", replayed=True)
            else:
                made.fail(LOST)
                failed = True
        desk.pass_time(1.0)
    assert desk.outcomes == {"a": "answer paid"}
    assert len(desk.told) == 1
    assert set(desk.host.logged) <= {"outbox.store", "outbox.attempt"}
    assert all("a" not in note.text.split() for note in desk.host.notes)


def test_a_post_whose_doubt_could_not_be_written_is_doubtful() -> None:
    desk = Desk(POLICY, Failing("DOUBTFUL", 1, after=False))
    desk.post("a")
    desk.with_courier()
    desk.listen()
    desk.wire.only.fail(LOST)
    desk.pass_time(2.0)
    desk.wire.only.fail(DENIED)
    desk.settle()
    (told,) = desk.told
    assert isinstance(told.outcome, Failure)
    assert told.outcome.disposition is Disposition.MAYBE


class Meddled(MemoryOutboxStore):
    """A store in which something happens between two steps of the courier."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.then: Callable[[], Coroutine[Any, Any, object]] | None = None

    async def _happens(self, name: str) -> None:
        if name == self.name and self.then is not None:
            then, self.then = self.then, None
            await then()

    async def heads(self) -> list[Head]:
        heads = await super().heads()
        await self._happens("heads")
        return heads

    async def get(self, id: int) -> Parcel | None:
        parcel = await super().get(id)
        await self._happens("get")
        return parcel

    async def settled(self, after: int, limit: int) -> list[Parcel]:
        settled = await super().settled(after, limit)
        if settled:
            await self._happens("settled")
        return settled


@pytest.mark.parametrize("when", ["heads", "get"])
def test_what_another_process_cancels_at_the_last_moment_is_not_sent(when: str) -> None:
    store = Meddled(when)
    desk = Desk(POLICY, store)
    desk.post("a")
    desk.post("b")

    async def cancelled() -> None:
        assert await store.move(1, Posting.WAITING, Posting.SETTLED, settlement_of(CANCELLED))

    store.then = cancelled
    desk.with_courier()
    assert desk.wire.only.text == "b"


def test_what_is_posted_while_the_courier_looks_is_sent_at_once() -> None:
    store = Meddled("heads")
    desk = Desk(POLICY, store)
    store.then = lambda: desk.outbox.post(VOUCHER, ask("a"))
    desk.with_courier()
    assert desk.wire.only.text == "a"


def test_what_is_forgotten_at_the_last_moment_is_not_sent() -> None:
    store = Meddled("heads")
    desk = Desk(POLICY, store)
    desk.post("a")

    async def forgotten() -> None:
        await store.move(1, Posting.WAITING, Posting.SETTLED, settlement_of(CANCELLED))
        assert await store.forget(1)

    store.then = forgotten
    desk.with_courier()
    desk.pass_time(20.0)
    assert desk.wire.asks == []


def test_what_expires_at_the_last_moment_is_not_sent() -> None:
    store = Meddled("heads")
    desk = Desk(POLICY, store)
    desk.post("a", expires_at=desk.clock.now.wall + 10.0)

    async def late() -> None:
        desk.clock.advance(10.0)

    store.then = late
    desk.with_courier()
    desk.listen()
    assert desk.wire.asks == []
    assert desk.outcomes == {"a": "REQUEST_EXPIRED NOT_PROCESSED"}


def test_what_becomes_too_old_at_the_last_moment_is_not_sent() -> None:
    """The server says so when the line is opened, amid a look at what is to be sent."""
    store = Meddled("heads")
    desk = Desk(POLICY, store)
    desk.post("a")
    desk.clock.advance(600.0)

    async def opened() -> None:
        desk.wire.retention = 600.0

    store.then = opened
    desk.with_courier()
    desk.listen()
    assert desk.wire.asks == []
    assert desk.outcomes == {"a": "STALE NOT_PROCESSED"}


def test_an_outcome_that_another_process_has_done_meanwhile_is_not_told() -> None:
    store = Meddled("settled")
    desk = Desk(POLICY, store)
    for text in ("a", "b"):
        desk.run(desk.outbox.cancel(desk.post(text)))
    store.then = lambda: store.forget(1)
    desk.listen()
    assert list(desk.outcomes) == ["b"]


def test_a_post_that_is_encoded_in_another_way_now_is_not_sent() -> None:
    """It would be another request under the same key, and be told that it conflicts: with itself."""
    desk = Desk(POLICY)
    desk.post("a")
    (parcel,) = run(desk.store.unsettled())
    message = v1.Search(query="b", page_token=b"x")
    first, second = v1.Search(query="b").SerializeToString(), v1.Search(page_token=b"x").SerializeToString()
    assert second + first != message.SerializeToString(deterministic=True)
    odd = replace(parcel, nonce=bytes(16), payload=second + first, lane="odd")
    run(desk.store.add(odd, max_entries=10, max_bytes=10_000))
    desk.with_courier()
    assert desk.wire.only.text == "a"
    assert desk.host.logged == ["outbox.attempt"]
    assert run(desk.store.get(2)) == replace(odd, id=2)


@pytest.mark.parametrize("failure", [BUSY, LOST, NO_FUNDS])
def test_tasks_that_run_where_they_are_made_do_the_same(failure: Failure) -> None:
    desk = Desk(POLICY, eager=True)
    desk.listen()
    desk.with_courier()
    for text in ("a", "b"):
        desk.post(text)
    for made in ("a", "a", "b"):
        if not desk.wire.open:
            break
        assert desk.wire.only.text == made or failure is NO_FUNDS
        desk.wire.only.fail(failure) if len(desk.wire.asks) == 1 else desk.wire.only.answer()
        desk.pass_time(2.0)
    assert desk.wire.open == []
    assert desk.outcomes == {"a": "NO_FUNDS FAILED" if failure is NO_FUNDS else "answer a", "b": "answer b"}
    assert desk.end_block().is_over()


@pytest.mark.parametrize("steps", [1, 2])
def test_who_gives_up_in_the_head_of_the_block_holds_nobody_up(steps: int) -> None:
    class Slow(MemoryOutboxStore):
        async def lock(self, owner: bytes) -> bool:
            await Turn()
            locked = await super().lock(owner)
            await Turn()
            return locked

    desk = Desk(POLICY, Slow())
    head = desk.start(desk.courier.__aenter__())
    for _ in range(steps):
        desk.host.turn()
    head.cancel()
    desk.settle()
    assert isinstance(head.error, Cancelled)
    assert desk.run(desk.store.lock(b"next"))
