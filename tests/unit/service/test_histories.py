"""Histories of handlers that declare no recovery.

Whatever happens, an operation has at most one effect, and nobody is told two different things about it. Requests are
repeated with the issue time of the first attempt, so this holds for any stretch of time, purges included.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis.stateful import invariant

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure
from ratatoskr.service import Call, Router
from tests.unit.service.chronicle import BUSY, NO_FUNDS, Asked, Chronicle, Execution, Pause
from tests.unit.service.support import REDEEM, say


class Histories(Chronicle):
    asks = (*[(REDEEM, "10")] * 3, (REDEEM, "11"), (REDEEM, "t10"))

    def router(self) -> Router:
        router = Router()
        router.on(REDEEM)(self.redeem)
        return router

    async def redeem(self, message: v1.Search, call: Call) -> v1.GoAway:
        execution = Execution(call.nonce, message.query)
        self.executions.append(execution)
        transaction = await call.begin() if message.query.startswith("t") else None
        await Pause()
        ending = self.ending
        if ending == "refuse":
            execution.refused = True
            raise BUSY
        if transaction is None:
            execution.effect = True
        else:
            await transaction.run(lambda effects: effects.append(execution))
        await Pause()
        if ending == "break":
            raise ValueError
        if ending == "fail":
            raise NO_FUNDS
        return say(f"{message.query} {len(self.executions)}")

    # What must hold

    @invariant()
    def at_most_one_effect(self) -> None:
        effects = Counter(execution.nonce for execution in self.executions if execution.effect)
        assert all(count == 1 for count in effects.values())
        possible = Counter(execution.nonce for execution in self.executions if not execution.refused)
        assert all(count == 1 for count in possible.values()), "what may have had an effect is not executed again"

    @invariant()
    def one_truth(self) -> None:
        for nonce in {asked.nonce for asked in self.asked}:
            answers = [asked for asked in self.asked if asked.nonce == nonce and asked.answer is not None]
            good = {asked.answer.reason for asked in answers if not isinstance(asked.answer, Failure)}
            final = {a.answer.reason for a in answers if isinstance(a.answer, Failure)} & {"NO_FUNDS"}
            assert len(good) + len(final) <= 1
            effects = [each for each in self.executions if each.nonce == nonce and each.effect]
            assert not good or len(effects) == 1
            for asked in answers:
                self._check(asked)

    def _check(self, asked: Asked) -> None:
        answer, text = asked.answer, asked.text
        executed = [each for each in self.executions if each.nonce == asked.nonce]
        if not isinstance(answer, Failure):
            assert answer.reason.startswith(f"{text} "), "the answer is to this request"
        elif answer.reason == "BUSY":
            assert any(each.refused and each.text == text for each in executed)
        else:
            assert answer.disposition is not Disposition.NOT_PROCESSED

    def teardown(self) -> None:
        self.finish()
        self.at_most_one_effect()
        self.one_truth()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40)
