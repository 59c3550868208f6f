"""Processes that stand still while they execute, whoever goes on after them, and a bank that both know."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from ratatoskr import v1
from ratatoskr.service import Call, NotExecuted
from tests.unit.service.bench import POLICY, Bench
from tests.unit.service.support import REDEEM, Gate, World, ask, request


class Bank:
    """Where effects happen that no transaction holds, and the recovery that asks there."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: Callable[[], Any] = NotExecuted
        self.gate = Gate()
        self.gate.open = True
        self.begins = False
        """Whether the recovery books what it finds in a transaction."""

    async def recover(self, message: v1.Search, call: Call) -> v1.GoAway:
        self.asked.append(message.query)
        if self.begins:
            transaction = await call.begin()
            await transaction.run(lambda effects: effects.append(f"found {message.query}"))
        await self.gate
        answer = self.answers()
        if isinstance(answer, Exception):
            raise answer
        found: v1.GoAway = answer
        return found


_NUMBERS = count()


def died(recover: Any, text: str = "10") -> Bench:
    """A process that stands still since it claimed, on whose store others go on when its lease is over."""
    bench = Bench(recover=recover)
    bench.gate.open = False
    bench.start(request(REDEEM, ask(text)))
    bench.world.clock.advance(POLICY.lease)
    bench.store.calls.clear()
    return bench


def successor(of: Bench, recover: Any) -> Bench:
    return Bench(of.store, World(f"successor {next(_NUMBERS)}", of.world.clock), recover=recover)


def awake(bench: Bench) -> Any:
    """What the one that stood still tells its caller in the end."""
    bench.gate.open = True
    [task] = bench.tasks
    task.step()
    assert task.done
    return bench


def last(bench: Bench) -> Any:
    [(event, link)] = bench.asked
    return event, link
