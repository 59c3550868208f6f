"""Statements: what lies on an account, and how it came there."""

from __future__ import annotations

from typing import Final

from ratatoskr import Fail, Kind, Status
from ratatoskr_sandbox import ledger
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.sandbox_pb2 import Balance, Booking, GetStatement, Statement

SANDBOX_STATEMENT: Final = Kind(1000, 1, "SANDBOX_STATEMENT", GetStatement, Statement)
"""A custom kind: sealed, so that its answer is a receipt for a balance."""
MAX_BOOKINGS: Final = 100


def draw_up(work: Work, caller: Party, request: GetStatement) -> Statement:
    """The statement of one of the caller's own accounts."""
    account = request.account or _only_account(work, caller)
    if ledger.owner_of(work, account) != caller:
        raise Fail(Status.NOT_FOUND, "ACCOUNT_UNKNOWN", f"you have no account {account!r}")
    return Statement(
        account=account,
        balances=[
            Balance(booked=each.booked.to_money(), held=each.held.to_money())
            for each in ledger.balances_of(work, account)
        ],
        bookings=[
            Booking(
                reference=each.reference,
                amount=each.amount.to_money(),
                counterparty=each.counterparty,
                text=each.text,
                booked_at_ms=each.booked_at_ms,
            )
            for each in ledger.postings_of(work, account, min(request.bookings, MAX_BOOKINGS))
        ],
        ledger_sums=[each.to_money() for each in ledger.sums(work)],
        drawn_at_ms=work.now_ms,
    )


def _only_account(work: Work, caller: Party) -> str:
    match ledger.accounts_of(work, caller):
        case []:
            raise Fail(Status.NOT_FOUND, "ACCOUNT_UNKNOWN", "you have no account here")
        case [account]:
            return account
        case accounts:
            raise Fail(Status.INVALID_ARGUMENT, "ACCOUNT_UNCLEAR", f"say which: {', '.join(accounts)}")
