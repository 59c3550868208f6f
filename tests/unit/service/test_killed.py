"""What a payment experiences whose server is killed, with everybody's defaults, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import OutcomeUnknown
from ratatoskr.service import ATOMIC, DEFAULT_RETRIES, Call, OncePolicy, Router
from ratatoskr.testing.clock import Clock
from tests.unit.service.lines import Lines
from tests.unit.service.support import REDEEM, Gate, SlowStore, ask, say

TIMEOUT = 30.0
LEASE = OncePolicy().lease
RENEWED = LEASE / 3


class Server:
    """A server under one store, which dies when nobody moves it any more."""

    def __init__(self, store: SlowStore, clock: Clock, name: str, recover: Any = ATOMIC) -> None:
        self.gate = Gate()
        self.executed: list[str] = []
        router = Router()

        @router.on(REDEEM, recover=recover)
        async def redeem(message: v1.Search, call: Call) -> v1.GoAway:
            transaction = await call.begin()
            await transaction.run(lambda effects: effects.append(message.query))
            await self.gate
            self.executed.append(message.query)
            return say(message.query)

        self.lines = Lines(router, retry=DEFAULT_RETRIES, store=store, clock=clock, name=name)

    def asked(self, payments: int, timeout: float) -> list[Any]:
        calls = self.lines.client.calls
        return [
            self.lines.client.start(calls.exchange(REDEEM, ask(str(n)), key=str(n), timeout=timeout))
            for n in range(payments)
        ]


def killed(payments: int, *, recover: Any = ATOMIC, away: float = 2.0) -> Server:
    """A server that has come back after so many seconds; payments were being executed when it was killed."""
    store, clock = SlowStore(), Clock()
    dead = Server(store, clock, "dead", recover)
    dead.asked(payments, TIMEOUT)
    dead.lines.run(0.1)
    assert store.calls.count("claim") == payments
    clock.advance(away)
    return Server(store, clock, "back", recover)


@pytest.mark.parametrize("payments", [1, 20])
def test_payments_are_recovered_within_their_time(payments: int) -> None:
    server = killed(payments)
    server.gate.open = True
    asked = server.asked(payments, TIMEOUT - 2)
    server.lines.run(LEASE - 3)
    assert not any(each.is_over() for each in asked), "they may run elsewhere"
    server.lines.run(2.0)
    assert [each.result.message for each in asked] == [say(str(n)) for n in range(payments)]
    assert sorted(server.executed, key=int) == [str(n) for n in range(payments)]


def test_what_runs_elsewhere_and_is_done_soon_is_told_soon() -> None:
    """The server lives; only the line was lost. The first advice is to come back in a second."""
    store, clock = SlowStore(), Clock()
    first, second = Server(store, clock, "first"), Server(store, clock, "second")
    first.asked(1, TIMEOUT)
    first.lines.run(0.1)
    [again] = second.asked(1, TIMEOUT)
    second.lines.run(0.5)
    first.gate.open = True
    first.lines.settle()
    second.lines.run(0.7)
    assert again.result.message == say("0")
    assert (first.executed, second.executed) == (["0"], [])


def test_without_recovery_nobody_knows_in_the_end() -> None:
    server = killed(1, recover=None)
    server.gate.open = True
    [asked] = server.asked(1, TIMEOUT - 2)
    server.lines.run(LEASE)
    assert isinstance(asked.error, OutcomeUnknown)
    assert asked.error.failure.reason == "OUTCOME_UNKNOWN"
    assert server.executed == []
