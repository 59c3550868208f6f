"""Any sequence of openings, payments and lapses, beside a model that is a dictionary."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from ratatoskr import Fail
from ratatoskr_sandbox import ledger, payments, platform
from ratatoskr_sandbox.database import Party
from ratatoskr_sandbox.payments import HOLD_MS
from ratatoskr_sandbox.series import PAYMENTS
from tests.unit.sandbox.books import Books, authorization, capture_of, refund_of

PARTIES = [Party("acme", f"till-{number}") for number in range(3)]
CENTS = st.one_of(st.sampled_from([1, 99_999, 100_000, 100_001]), st.integers(1, 150_000))


@dataclass
class Model:
    """One payment, as it should stand."""

    payer: int
    payee: int
    until: int
    authorized: int
    held: int
    captured: int = 0
    refunded: int = 0


class LedgerMachine(RuleBasedStateMachine):
    ids = Bundle("ids")

    @initialize()
    def create(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.books = Books(Path(self.directory.name, "sandbox.sqlite"))
        self.wallets = [self.books.open_wallet(party) for party in PARTIES]
        self.booked = [platform.OPENING.minor] * len(PARTIES)
        self.payments: dict[str, Model] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()

    def available(self, party: int) -> int:
        return self.booked[party] - sum(each.held for each in self.payments.values() if each.payer == party)

    def lapse(self) -> None:
        for each in self.payments.values():
            if each.until <= self.books.now_ms:
                each.held = 0

    @rule(target=ids, payer=st.integers(0, 2), payee=st.integers(0, 2), cents=CENTS)
    def authorize(self, payer: int, payee: int, cents: int) -> str:
        self.lapse()
        self.count += 1
        allowed = payer != payee and cents <= self.available(payer)
        request = authorization(self.wallets[payer], cents, id=f"e2e-{self.count}", creditor=self.wallets[payee])
        try:
            with self.books.begin() as work:
                answer = payments.authorize(work, PARTIES[payer], request)
        except Fail:
            assert not allowed
            return ""
        assert allowed
        self.payments[answer.payment_id] = Model(payer, payee, answer.authorized_until_ms, cents, cents)
        return answer.payment_id

    @rule(id=ids, cents=CENTS, by_payer=st.booleans())
    def capture(self, id: str, cents: int, by_payer: bool) -> None:
        self.lapse()
        self.count += 1
        model = self.payments.get(id)
        caller = PARTIES[0] if model is None else PARTIES[model.payer if by_payer else model.payee]
        try:
            with self.books.begin() as work:
                payments.capture(work, caller, capture_of(id, cents, id=f"c-{self.count}"))
        except Fail:
            assert model is None or cents > model.held
            return
        assert model is not None
        assert cents <= model.held
        model.held -= cents
        model.captured += cents
        self.booked[model.payer] -= cents
        self.booked[model.payee] += cents

    @rule(id=ids, cents=CENTS, by_payee=st.booleans())
    def refund(self, id: str, cents: int, by_payee: bool) -> None:
        self.lapse()
        self.count += 1
        model = self.payments.get(id)
        caller = PARTIES[0] if model is None else PARTIES[model.payee if by_payee else model.payer]
        try:
            with self.books.begin() as work:
                payments.refund(work, caller, refund_of(id, cents, id=f"r-{self.count}"))
        except Fail:
            assert (
                model is None
                or not by_payee
                or cents > model.captured - model.refunded
                or cents > self.available(model.payee)
            )
            return
        assert model is not None
        assert by_payee
        model.refunded += cents
        self.booked[model.payer] += cents
        self.booked[model.payee] -= cents

    @rule(days=st.integers(1, 8))
    def wait(self, days: int) -> None:
        self.books.now_ms += days * HOLD_MS // 7

    @invariant()
    def the_books_are_as_they_should_be(self) -> None:
        if not hasattr(self, "books"):
            return
        with self.books.begin() as work:
            assert ledger.audit(work) == []
            assert all(each.minor == 0 for each in ledger.sums(work))
            for party, wallet in enumerate(self.wallets):
                balance = ledger.balance_of(work, wallet, "EUR")
                assert balance.booked.minor == self.booked[party]
                assert balance.available.minor >= 0
            for id, model in self.payments.items():
                query = "SELECT captured, refunded FROM payments WHERE number = ?"
                row = work.db.execute(query, (PAYMENTS.number(id),)).fetchone()
                assert row == (model.captured, model.refunded)


LedgerMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestLedgerMachine = LedgerMachine.TestCase
