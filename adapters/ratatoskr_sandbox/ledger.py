"""The ledger: accounts, holds and double-entry bookings. Called inside a transaction, see :class:`Work`."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ratatoskr import Fail, Status
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import Amount
from ratatoskr_sandbox.series import BOOKINGS


@dataclass(frozen=True, slots=True)
class Balance:
    """What lies on an account in one currency. ``held`` of it is promised to payments that are authorized."""

    booked: Amount
    held: Amount

    @property
    def available(self) -> Amount:
        """What can still be spent."""
        return Amount(self.booked.currency, self.booked.minor - self.held.minor)


@dataclass(frozen=True, slots=True)
class Posting:
    """One booking as one of its two accounts sees it: negative where money went out."""

    reference: str
    amount: Amount
    counterparty: str
    text: str
    booked_at_ms: int


def open_account(work: Work, account: str, owner: Party, *, system: bool = False) -> bool:
    """Open an account, unless it is open. A system account may be overdrawn. True where it was opened now."""
    opened = work.db.execute(
        "INSERT INTO accounts (account, tenant, subject, system) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (account, *owner, int(system)),
    )
    return opened.rowcount == 1


def owner_of(work: Work, account: str) -> Party | None:
    """Whose account it is; None where there is none of that name."""
    row = work.db.execute("SELECT tenant, subject FROM accounts WHERE account = ?", (account,)).fetchone()
    return Party(*row) if row else None


def accounts_of(work: Work, owner: Party) -> list[str]:
    """Names of a customer's accounts, in the order of the alphabet."""
    query = "SELECT account FROM accounts WHERE tenant = ? AND subject = ? ORDER BY account"
    return [account for (account,) in work.db.execute(query, owner)]


def balance_of(work: Work, account: str, currency: str) -> Balance:
    """What lies on an account; zero where nothing was ever booked."""
    query = "SELECT balance, held FROM balances WHERE account = ? AND currency = ?"
    booked, held = work.db.execute(query, (account, currency)).fetchone() or (0, 0)
    return Balance(Amount(currency, booked), Amount(currency, held))


def balances_of(work: Work, account: str) -> list[Balance]:
    """What lies on an account in every currency that it ever held."""
    query = "SELECT currency FROM balances WHERE account = ? ORDER BY currency"
    return [balance_of(work, account, currency) for (currency,) in work.db.execute(query, (account,)).fetchall()]


def postings_of(work: Work, account: str, limit: int) -> list[Posting]:
    """The latest postings of an account, newest first."""
    query = """SELECT number, currency, amount, counterparty, text, booked_at_ms FROM postings
               WHERE account = ? ORDER BY number DESC LIMIT ?"""
    return [
        Posting(BOOKINGS.name(number), Amount(currency, amount), counterparty, text, booked_at_ms)
        for number, currency, amount, counterparty, text, booked_at_ms in work.db.execute(query, (account, limit))
    ]


def book(work: Work, debit: str, credit: str, amount: Amount, text: str) -> int:
    """Move money that is available; gives the number of the booking.

    Fails with INSUFFICIENT_FUNDS where the debited account is no system account and has less available.
    """
    try:
        booked = work.db.execute(
            "INSERT INTO bookings (debit, credit, currency, amount, text, booked_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (debit, credit, amount.currency, amount.minor, text, work.now_ms),
        )
    except sqlite3.IntegrityError as error:
        raise _explained(error, work, debit, amount) from error
    assert booked.lastrowid is not None
    return booked.lastrowid


def hold(work: Work, account: str, amount: Amount) -> None:
    """Promise money that is available, so that nothing else can spend it. Fails with INSUFFICIENT_FUNDS."""
    try:
        held = work.db.execute(
            "UPDATE balances SET held = held + ? WHERE account = ? AND currency = ?",
            (amount.minor, account, amount.currency),
        )
    except sqlite3.IntegrityError as error:
        raise _explained(error, work, account, amount) from error
    if not held.rowcount:
        raise _insufficient(work, account, amount)


def release(work: Work, account: str, amount: Amount) -> None:
    """Take back a promise that :func:`hold` made, or a part of it."""
    work.db.execute(
        "UPDATE balances SET held = held - ? WHERE account = ? AND currency = ?",
        (amount.minor, account, amount.currency),
    )


def _explained(error: sqlite3.IntegrityError, work: Work, account: str, amount: Amount) -> Exception:
    return _insufficient(work, account, amount) if "no_overdraft" in str(error) else error


def _insufficient(work: Work, account: str, amount: Amount) -> Fail:
    available = balance_of(work, account, amount.currency).available
    return Fail(
        Status.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS", f"{account} has {available} available, {amount} are needed"
    )


def sums(work: Work) -> list[Amount]:
    """The sum of all balances, for each currency: always zero."""
    query = "SELECT currency, sum(balance) FROM balances GROUP BY currency ORDER BY currency"
    return [Amount(*row) for row in work.db.execute(query)]


_RULES = {
    "all balances in a currency sum to zero": """
        SELECT currency FROM balances GROUP BY currency HAVING sum(balance) <> 0""",
    "a balance is the sum of its postings": """
        SELECT account || ' ' || currency FROM balances b WHERE balance <> (
            SELECT coalesce(sum(amount), 0) FROM postings p WHERE p.account = b.account AND p.currency = b.currency)""",
    "only system accounts are overdrawn": """
        SELECT account FROM balances JOIN accounts USING (account) WHERE NOT accounts.system AND balance < held""",
    "what is held is what payments have authorized": """
        SELECT account || ' ' || currency FROM balances b WHERE held <> (
            SELECT coalesce(sum(p.held), 0) FROM payments p
            WHERE p.debtor_account = b.account AND p.currency = b.currency)""",
    "no payment moves more than it may": """
        SELECT number FROM payments WHERE captured + held > authorized OR refunded > captured""",
}


def audit(work: Work) -> list[str]:
    """What is wrong with the ledger: nothing, whatever happened. Trusts neither triggers nor constraints."""
    return [
        f"{rule}: not so for {name}" for rule, query in _RULES.items() for (name,) in work.db.execute(query).fetchall()
    ]
