"""Histories of handlers that declare how they are recovered: by an oath, or by a bank that can be asked.

Whatever happens, an operation has at most one effect, and exactly one where an answer was told. Nobody is told two
different things about it, and whoever asks long enough is told how it ended. Owners that were taken for dead but only
stood still store nothing, which the store of these histories watches.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from ratatoskr import v1
from ratatoskr.errors import Disposition, Fail, Failure, Status
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.service import ATOMIC, Call, NotExecuted, Router
from tests.unit.service.chronicle import BUSY, ENDINGS, NO_FUNDS, POLICY, Asked, Chronicle, Execution, Pause
from tests.unit.service.support import REDEEM, ask, request, say

TRANSFER = Kind(1001, 3, "acme.Transfer", v1.Search, v1.GoAway, once=True)
"""What a bank does, outside of every transaction."""
SILENT = Fail(Status.UNAVAILABLE, "BANK_SILENT", disposition=Disposition.MAYBE)
PATIENCE = 5
"""How often somebody asks until he is told; the lease is over before each time."""


class Bank:
    """It pays whatever it is asked to, as often as it is asked; but never what was declared void."""

    def __init__(self) -> None:
        self.payments: list[tuple[bytes, str]] = []
        self.refused: set[bytes] = set()
        self.voids: Counter[bytes] = Counter()

    def pay(self, nonce: bytes, text: str, order: int) -> None:
        """``order``: how many were void when it was written."""
        if order != self.voids[nonce]:
            raise OSError("void")
        self.payments.append((nonce, text))

    def refuse(self, nonce: bytes, order: int) -> None:
        if order != self.voids[nonce]:
            raise OSError("void")
        self.refused.add(nonce)


class RecoveryHistories(Chronicle):
    asks = (*[(REDEEM, "10")] * 3, (REDEEM, "11"), *[(TRANSFER, "20")] * 3, (TRANSFER, "21"))

    def __init__(self) -> None:
        super().__init__()
        self.bank = Bank()
        self.seen: set[Asked] = set()
        self.freed: set[bytes] = set()
        self.freed_too_late: list[bytes] = []

    def router(self) -> Router:
        router = Router()
        router.on(REDEEM, recover=ATOMIC)(self.redeem)
        router.on(TRANSFER, recover=self.found)(self.transfer)
        return router

    async def redeem(self, message: v1.Search, call: Call) -> v1.GoAway:
        execution = Execution(call.nonce, message.query)
        self.executions.append(execution)
        transaction = await call.begin()
        await Pause()
        ending = self.ending
        await transaction.run(lambda effects: effects.append(execution))
        await Pause()
        match ending:
            case "refuse":
                raise BUSY
            case "break":
                raise ValueError
            case "fail":
                raise NO_FUNDS
        return say(f"{message.query} paid")

    async def transfer(self, message: v1.Search, call: Call) -> v1.GoAway:
        order = self.bank.voids[call.nonce]
        await Pause()
        match self.ending:
            case "refuse":
                raise BUSY
            case "fail":
                self.bank.refuse(call.nonce, order)
                await Pause()
                raise NO_FUNDS
            case ending:
                self.bank.pay(call.nonce, message.query, order)
                await Pause()
                if ending == "break":
                    raise SILENT
                return say(f"{message.query} paid")

    async def found(self, message: v1.Search, call: Call) -> v1.GoAway:
        await Pause()
        if self.ending == "break":
            raise OSError
        if self.ending == "refuse":
            raise SILENT
        if (call.nonce, message.query) in self.bank.payments:
            return say(f"{message.query} paid")
        if call.nonce in self.bank.refused:
            raise NO_FUNDS
        self.bank.voids[call.nonce] += 1
        await Pause()
        raise NotExecuted

    @rule(
        what=st.integers(0, 9),
        steps=st.lists(st.sampled_from([1, 2, 3, 4, 12]), min_size=6, max_size=6),
        endings=st.lists(st.just("answer") | ENDINGS, min_size=6, max_size=6),
        seconds=st.sampled_from([60.0, 60.0, 900.0, 1100.0]),
        dies=st.booleans(),
    )
    def stand_still(self, what: int, steps: list[int], endings: list[str], seconds: float, dies: bool) -> None:
        """One stands still until its lease is over, another asks for the same; then they go on in turns.

        Or the first dies, and another one asks in its place.
        """
        kind, text = self.asks[what % len(self.asks)]
        key, at = f"key {len(self.issued)}".encode(), self.clock.now.wall
        self.issued[kind, key] = at
        first, second, third = (request(kind, ask(text), key=key, at=at) for _ in range(3))
        slow = self.make(0, first)
        self.step(slow, steps[0], endings[0])
        if dies:
            self.crash(0)
        self.time_passes(seconds, -1)
        heir = self.make(1, second)
        slow = self.make(0, third) if dies else slow
        for task, count, ending in zip((heir, slow, heir, slow, heir), steps[1:], endings[1:], strict=True):
            self.step(task, count, ending)

    # What must hold

    def effects(self) -> Counter[bytes]:
        paid = Counter(nonce for nonce, _ in self.bank.payments)
        return paid + Counter(execution.nonce for execution in self.executions if execution.effect)

    @invariant()
    def at_most_one_effect(self) -> None:
        assert all(count == 1 for count in self.effects().values())

    @invariant()
    def one_truth(self) -> None:
        effects = self.effects()
        for nonce in {asked.nonce for asked in self.asked}:
            answers = [asked.answer for asked in self.asked if asked.nonce == nonce and asked.answer is not None]
            good = {answer.reason for answer in answers if not isinstance(answer, Failure)}
            final = {answer.reason for answer in answers if isinstance(answer, Failure)} & {"NO_FUNDS"}
            assert len(good) + len(final) <= 1
            assert not good or effects[nonce] == 1, "exactly one where an answer was told"
            assert not final or not effects[nonce]

    def look(self) -> None:
        """What is told is so when it is told."""
        assert self.freed_too_late == [], "surely not processed"
        for asked in self.asked:
            if asked in self.seen or asked.answer is None:
                continue
            self.seen.add(asked)
            if not isinstance(asked.answer, Failure):
                assert asked.answer.reason == f"{asked.text} paid", "the answer is to this request"
            elif asked.answer.disposition is Disposition.NOT_PROCESSED:
                assert asked.nonce in self.freed, "surely not processed"

    def released(self, nonce: bytes) -> None:
        if self.effects()[nonce]:
            self.freed_too_late.append(nonce)
        self.freed.add(nonce)

    def teardown(self) -> None:
        self.finish()
        self.check()
        self.start()
        for (kind, key), at in self.issued.items():
            self.ask_until_told(kind, key, at)
        self.check()

    def check(self) -> None:
        self.at_most_one_effect()
        self.one_truth()

    def ask_until_told(self, kind: AnyKind, key: bytes, at: float) -> None:
        """Of all that was ever asked under one key, one has an end; the others conflict with it."""
        texts = sorted({text for each, text in self.asks if each is kind})
        reasons = Counter(self.told_in_the_end(kind, text, key, at) for text in texts)
        assert reasons["END"] == 1 or reasons["STALE"], reasons

    def told_in_the_end(self, kind: AnyKind, text: str, key: bytes, at: float) -> str:
        answer = None
        for _ in range(PATIENCE):
            self.clock.advance(POLICY.lease)
            self.step(self.make(-1, request(kind, ask(text), key=key, at=at)), 30, "answer")
            answer = self.asked[-1].answer
            if not isinstance(answer, Failure) or answer.reason == "NO_FUNDS":
                return "END"
            if answer.reason in {"CONFLICT", "STALE"}:
                return str(answer.reason)
        raise AssertionError(f"nobody knows: {answer}")


TestRecoveryHistories = RecoveryHistories.TestCase
TestRecoveryHistories.settings = settings(max_examples=150, stateful_step_count=30)
