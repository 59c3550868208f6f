"""The bank: accounts, transfers between them, and the two forms of handlers that make a transfer at most once.

The ledger lies where the outcomes lie. In a file it outlives the process. In memory it dies with the process; a trace,
which the process writes with the effect, tells afterwards what it held.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ratatoskr import Fail, Kind, Status, v1
from ratatoskr.service import ATOMIC, Call, NotExecuted, Recover, Router
from ratatoskr_stores import SqliteStore
from tests.proof.evidence import Ledger, Payment, Row
from tests.proof.fate import Fate, ServerPoint, append

TRANSFER = Kind(1000, 1, "TRANSFER", v1.AuthorizePayment, v1.PaymentAuthorized, once=True)
"""Its key is passed beside the message, so nobody but the store can tell one payment that is asked for twice from two.
Where a kind names the field of its key, the receiver checks the nonce too."""

FORMS = ("transactional", "atomic", "plain", "asked")
"""How the handler is written: effect and outcome in one transaction, or in a step each. And what it declares about
executions whose process died: nothing (*transactional*, *plain*), its oath (*atomic*), to ask the ledger (*asked*)."""
TRANSACTIONAL = ("transactional", "atomic")
RECOVERING = ("atomic", "asked")

FILE_LIFE = "file"
"""The only life of a ledger in a file."""
NO_FUNDS = "NO_FUNDS"

_SCHEMA = (
    "CREATE TABLE accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL)",
    """
    CREATE TABLE transfers (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL, debtor TEXT NOT NULL, creditor TEXT NOT NULL,
        amount INTEGER NOT NULL
    )
    """,
)

Apply: TypeAlias = Callable[[Call, Payment], Awaitable[int]]
"""Makes a transfer, and returns its number. Raises Fail where there is too little money."""


class FileLedger:
    """In the file of the store. Nothing in the file keeps a payment from being applied twice."""

    life = FILE_LIFE

    def __init__(self, store: SqliteStore, *, transactional: bool) -> None:
        self._store = store
        self._transactional = transactional

    async def apply(self, call: Call, payment: Payment) -> int:
        """In the transaction of the outcome, or in one before it."""
        transfer = partial(_transfer, payment)
        if self._transactional:
            transaction = await call.begin()
            return await transaction.run(transfer)
        return await self._store.run(transfer)

    async def find(self, key: str) -> int | None:
        """The number of the transfer with that key; None where there is none."""
        return await self._store.run(partial(_find, key))

    @staticmethod
    def create(path: Path, opening: Mapping[str, int]) -> None:
        """Make the file."""
        db = sqlite3.connect(path)
        with db:
            for statement in _SCHEMA:
                db.execute(statement)
            db.executemany("INSERT INTO accounts VALUES (?, ?)", opening.items())
        db.close()

    @staticmethod
    def read(path: Path, form: str) -> Ledger:
        """What the file holds."""
        db = sqlite3.connect(path)
        rows = tuple(Row(*row) for row in db.execute("SELECT * FROM transfers ORDER BY number"))
        balances = dict(db.execute("SELECT name, balance FROM accounts"))
        db.close()
        return Ledger(FILE_LIFE, rows, balances, atomic=form in TRANSACTIONAL, recovers=form in RECOVERING)


def _find(key: str, db: sqlite3.Connection) -> int | None:
    row = db.execute("SELECT number FROM transfers WHERE key = ?", (key,)).fetchone()
    return None if row is None else int(row[0])


def _transfer(payment: Payment, db: sqlite3.Connection) -> int:
    (balance,) = db.execute("SELECT balance FROM accounts WHERE name = ?", (payment.debtor,)).fetchone()
    check_funds(payment, balance, FILE_LIFE)
    add = "UPDATE accounts SET balance = balance + ? WHERE name = ?"
    db.executemany(add, [(-payment.amount, payment.debtor), (payment.amount, payment.creditor)])
    insert = "INSERT INTO transfers (key, debtor, creditor, amount) VALUES (?, ?, ?, ?)"
    cursor = db.execute(insert, (payment.key, payment.debtor, payment.creditor, payment.amount))
    assert cursor.lastrowid is not None
    return cursor.lastrowid


class MemoryLedger:
    """In this process."""

    def __init__(self, life: str, opening: Mapping[str, int], trace: Path) -> None:
        self.life = life
        self._balances = dict(opening)
        self._trace = trace
        self._rows = 0

    async def apply(self, call: Call, payment: Payment) -> int:
        """At once."""
        check_funds(payment, self._balances[payment.debtor], self.life)
        self._balances[payment.debtor] -= payment.amount
        self._balances[payment.creditor] += payment.amount
        self._rows += 1
        row = Row(self._rows, payment.key, payment.debtor, payment.creditor, payment.amount)
        held = {name: self._balances[name] for name in (payment.debtor, payment.creditor)}
        append(self._trace, {"row": asdict(row), "held": held})
        return self._rows

    async def find(self, key: str) -> int | None:
        """Nobody finds what died with its process."""
        raise NotImplementedError


def check_funds(payment: Payment, balance: int, life: str) -> None:
    """Raises Fail where there is too little money. The last word of the message is the ledger's life."""
    if payment.amount > balance:
        text = f"{payment.debtor} holds {balance} in {life}"
        raise Fail(Status.FAILED_PRECONDITION, NO_FUNDS, text)


def request(payment: Payment) -> v1.AuthorizePayment:
    """The payment as it is asked for."""
    return v1.AuthorizePayment(
        end_to_end_id=payment.key,
        debtor_account=payment.debtor,
        creditor_account=payment.creditor,
        amount=v1.Money(currency="EUR", units=payment.amount),
    )


def answer(message: v1.AuthorizePayment, life: str, number: int) -> v1.PaymentAuthorized:
    """It was done: as that row of that ledger."""
    return v1.PaymentAuthorized(
        payment_id=f"{life}/{number}",
        end_to_end_id=message.end_to_end_id,
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=message.amount,
        authorized_until_ms=1,
    )


def bank(ledger: FileLedger | MemoryLedger, fate: Fate, form: str) -> Router:
    """The handler, written in one of :data:`FORMS`."""
    router = Router()

    async def ask_the_ledger(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
        """The process that was at it is dead: what is not in the ledger by now never will be."""
        number = await ledger.find(message.end_to_end_id)
        if number is None:
            raise NotExecuted
        return answer(message, ledger.life, number)

    recoveries: dict[str, Recover[v1.AuthorizePayment, v1.PaymentAuthorized]]
    recoveries = {"atomic": ATOMIC, "asked": ask_the_ledger}

    @router.on(TRANSFER, recover=recoveries.get(form))
    async def transfer(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
        place = int(message.end_to_end_id.rpartition("/")[2])
        debtor, creditor, amount = message.debtor_account, message.creditor_account, message.amount.units
        number = await ledger.apply(call, Payment(message.end_to_end_id, debtor, creditor, amount, place))
        fate.reach(ServerPoint.AFTER_EFFECT, key=message.end_to_end_id)
        return answer(message, ledger.life, number)

    return router
