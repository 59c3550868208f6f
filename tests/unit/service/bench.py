"""A service over a slow store, whose handler and recovery do what a test wants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fail, Status
from ratatoskr.events import RequestReceived
from ratatoskr.service import ATOMIC, Call, OncePolicy, Router, Service
from tests.unit.service.support import (
    REDEEM,
    Gate,
    Link,
    SlowStore,
    Task,
    World,
    ask,
    request,
    say,
)

POLICY = OncePolicy(retention=1000.0, tolerance=100.0, lease=60.0)
REFUSED = Fail(Status.FAILED_PRECONDITION, "NO_FUNDS", "not enough")
NOTHING_DONE = Fail(Status.UNAVAILABLE, "BUSY", "later", disposition=Disposition.NOT_PROCESSED)
NOBODY_KNOWS = Fail(Status.UNAVAILABLE, "BANK_SILENT", "who knows", disposition=Disposition.MAYBE)


class Bench:
    """A service over a slow store, whose handler counts its executions and waits for a gate."""

    def __init__(
        self, store: Any = None, world: World | None = None, *, recover: Any = None, quota: int = POLICY.per_subject
    ) -> None:
        self.world = world or World()
        self.store: Any = SlowStore() if store is None else store
        self.gate = Gate()
        self.gate.open = True
        self.executed: list[str] = []
        self.tasks: list[Task] = []
        self.asked: list[tuple[RequestReceived, Link]] = []
        self.then: Callable[[], Any] = lambda: None
        self.transactional = recover is ATOMIC
        router = Router()

        @router.on(REDEEM, enrolled=False, recover=recover)
        async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
            self.executed.append(message.query)
            if self.transactional:
                tx = await call.begin()
                await tx.run(lambda effects: effects.append(message.query))
            await self.gate
            error = self.then()
            if error is not None:
                raise error
            return say(f"{message.query} {len(self.executed)}")

        policy = replace(POLICY, per_subject=quota)
        self.service = Service(router, host=self.world, store=self.store, policy=policy)

    def start(self, event: RequestReceived, link: Link | None = None) -> tuple[Link, Task]:
        link = link or Link()
        job = self.service.job(link, event)
        assert job.once
        task = Task(job.run())
        self.tasks.append(task)
        self.asked.append((event, link))
        task.step()
        return link, task

    def ask(self, event: RequestReceived, link: Link | None = None) -> Any:
        """The answer and whether it is a replay, where nothing waits."""
        link, task = self.start(event, link)
        assert task.done
        assert task.error is None
        return link.told[event.id]

    def redeem(self, text: str = "10", **options: Any) -> Any:
        return self.ask(request(REDEEM, ask(text), **options))
