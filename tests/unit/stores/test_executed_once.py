"""The service over every store, in asyncio: what is asked many times executes once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Fail, Failure, Status
from ratatoskr.service import Call, MemoryStore, OncePolicy, OnceStore, Router, Service
from ratatoskr.service.once import CONFLICT, OUTCOME_UNKNOWN, RUNNING_ELSEWHERE
from ratatoskr.testing.clock import Clock
from ratatoskr_stores import SqliteStore
from tests.unit.service.support import REDEEM, Link, World, ask, request, say

STORES: dict[str, Callable[[Path], AbstractContextManager[OnceStore]]] = {
    "memory": lambda path: nullcontext(MemoryStore()),
    "sqlite": SqliteStore,
}
Db = sqlite3.Connection


class Line(Link):
    """A connection that one request goes over at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    def _tell(self, *answer: Any) -> None:
        super()._tell(*answer)
        self.answered.set()


async def told(service: Service, text: str = "10", key: bytes = b"key") -> Any:
    """The answer, and whether it was replayed."""
    event, line = request(REDEEM, ask(text), key=key), Line()
    await service.job(line, event).run()
    await line.answered.wait()
    return line.told[event.id]


@pytest.mark.parametrize("kind", STORES)
def test_fifty_concurrent_duplicates_execute_once(kind: str, tmp_path: Path) -> None:
    executed: list[str] = []

    async def main() -> None:
        router = Router()

        @router.on(REDEEM)
        async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
            executed.append(message.query)
            for _ in range(10):
                await asyncio.sleep(0)
            return say("redeemed")

        with STORES[kind](tmp_path / "once.db") as store:
            service = Service(router, host=World(), store=store)
            answers = await asyncio.gather(*(told(service) for _ in range(50)))
            assert answers.count((say("redeemed"), False)) == 1
            assert answers.count((say("redeemed"), True)) == 49
            assert await told(service, "11") == (CONFLICT, False)

    asyncio.run(main())
    assert executed == ["10"]


def ledger_router() -> Router:
    """Takes what is asked for from one account, and never more than there is."""
    router = Router()

    @router.on(REDEEM)
    async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
        amount = int(message.query)

        def debit(db: Db) -> int:
            db.execute("UPDATE account SET balance = balance - ?", (amount,))
            return int(db.execute("SELECT balance FROM account").fetchone()[0])

        transaction = await call.begin()
        balance = await transaction.run(debit)
        if balance < 0:
            raise Fail(Status.FAILED_PRECONDITION, "NO_FUNDS")
        return say(str(balance))

    return router


def create(db: Db) -> None:
    db.execute("CREATE TABLE account (balance INTEGER)")
    db.execute("INSERT INTO account VALUES (100)")


def balance(db: Db) -> int:
    return int(db.execute("SELECT balance FROM account").fetchone()[0])


def test_an_effect_and_its_outcome_are_one(tmp_path: Path) -> None:
    async def main() -> None:
        with SqliteStore(tmp_path / "once.db") as store:
            await store.run(create)
            service = Service(ledger_router(), host=World(), store=store)
            answers = await asyncio.gather(*(told(service, "10", b"%d" % (i % 20)) for i in range(60)))
            done = [answer for answer, _ in answers if not isinstance(answer, Failure)]
            refused = [answer.reason for answer, _ in answers if isinstance(answer, Failure)]
            assert sorted({int(answer.reason) for answer in done}) == [10 * i for i in range(10)]
            assert len(done) == 30, "ten operations, each asked three times"
            assert refused == ["NO_FUNDS"] * 30
            assert await store.run(balance) == 0

    asyncio.run(main())


def test_an_outcome_survives_a_restart(tmp_path: Path) -> None:
    async def main(expected: tuple[v1.GoAway, bool]) -> None:
        with SqliteStore(tmp_path / "once.db") as store:
            if not expected[1]:
                await store.run(create)
            service = Service(ledger_router(), host=World(f"process {expected[1]}"), store=store)
            assert await told(service, "30") == expected
            assert await store.run(balance) == 70

    asyncio.run(main((say("70"), False)))
    asyncio.run(main((say("70"), True)))


def test_a_crash_between_claim_and_outcome_is_never_executed_again(tmp_path: Path) -> None:
    """The first process dies in its transaction: the effect is rolled back, and nobody is told that it was."""
    clock = Clock()

    async def crash() -> None:
        with SqliteStore(tmp_path / "once.db") as store:
            await store.run(create)
            reached = asyncio.Event()
            router = Router()

            @router.on(REDEEM)
            async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
                transaction = await call.begin()
                await transaction.run(lambda db: db.execute("UPDATE account SET balance = 0").rowcount)
                reached.set()
                await asyncio.Event().wait()
                raise AssertionError

            service = Service(router, host=World("first", clock), store=store)
            job = service.job(Link(), request(REDEEM, ask("30")))
            task = asyncio.create_task(job.run())
            await reached.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def afterwards() -> None:
        with SqliteStore(tmp_path / "once.db") as store:
            service = Service(ledger_router(), host=World("second", clock), store=store, policy=OncePolicy(lease=60.0))
            assert await store.run(balance) == 100
            assert await told(service, "30") == (RUNNING_ELSEWHERE, False)
            clock.advance(60)
            assert await told(service, "30") == (OUTCOME_UNKNOWN, False)
            assert await told(service, "30", b"another") == (say("70"), False)

    asyncio.run(crash())
    asyncio.run(afterwards())


def test_two_processes_on_one_file_execute_once(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "once.db"
        with SqliteStore(path) as first, SqliteStore(path) as second:
            await first.run(create)
            services = [
                Service(ledger_router(), host=World(name), store=store)
                for name, store in (("first", first), ("second", second))
            ]
            answers = await asyncio.gather(*(told(services[i % 2], "10", b"%d" % (i // 4)) for i in range(40)))
            known = [answer for answer, _ in answers if not isinstance(answer, Failure)]
            others = {answer.reason for answer, _ in answers if isinstance(answer, Failure)}
            assert {int(answer.reason) for answer in known} == {10 * i for i in range(10)}
            assert others <= {"RUNNING_ELSEWHERE"}
            assert await second.run(balance) == 0

    asyncio.run(main())
