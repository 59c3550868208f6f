"""The sandbox's tables, and the rules that they hold by themselves.

Money moves by bookings alone. A booking names the account it debits and the account it credits, so both sides of it
are one row and no set of bookings can sum to anything but zero. Balances follow by trigger; constraints refuse an
overdraft, a negative hold, a refund above what was captured, and stock below zero, whatever the code above does.

They lie in the same file as the store of outcomes, so that an effect and the answer about it commit together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    account TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    system INTEGER NOT NULL DEFAULT 0 CHECK (system IN (0, 1))  -- may be overdrawn
) STRICT;

CREATE INDEX IF NOT EXISTS accounts_owner ON accounts (tenant, subject);

CREATE TABLE IF NOT EXISTS balances (
    account TEXT NOT NULL REFERENCES accounts,
    currency TEXT NOT NULL,
    balance INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    system INTEGER NOT NULL,
    PRIMARY KEY (account, currency),
    CONSTRAINT no_overdraft CHECK (system OR balance >= held)
) STRICT;

CREATE TABLE IF NOT EXISTS bookings (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    debit TEXT NOT NULL REFERENCES accounts,
    credit TEXT NOT NULL REFERENCES accounts CHECK (credit <> debit),
    currency TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    text TEXT NOT NULL,
    booked_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS bookings_debit ON bookings (debit);

CREATE INDEX IF NOT EXISTS bookings_credit ON bookings (credit);

CREATE VIEW IF NOT EXISTS postings AS
    SELECT number, debit AS account, credit AS counterparty, currency, -amount AS amount, text, booked_at_ms
    FROM bookings
    UNION ALL
    SELECT number, credit, debit, currency, amount, text, booked_at_ms FROM bookings;

CREATE TRIGGER IF NOT EXISTS bookings_move_money AFTER INSERT ON bookings BEGIN
    SELECT RAISE(ABORT, 'a booking needs two accounts')
        WHERE (SELECT count(*) FROM accounts WHERE account IN (NEW.debit, NEW.credit)) < 2;
    INSERT INTO balances (account, currency, system)
        SELECT account, NEW.currency, system FROM accounts WHERE account IN (NEW.debit, NEW.credit)
        ON CONFLICT DO NOTHING;
    UPDATE balances SET balance = balance - NEW.amount WHERE account = NEW.debit AND currency = NEW.currency;
    UPDATE balances SET balance = balance + NEW.amount WHERE account = NEW.credit AND currency = NEW.currency;
END;

CREATE TRIGGER IF NOT EXISTS bookings_stay BEFORE UPDATE ON bookings BEGIN
    SELECT RAISE(ABORT, 'a booking is never changed');
END;

CREATE TRIGGER IF NOT EXISTS bookings_remain BEFORE DELETE ON bookings BEGIN
    SELECT RAISE(ABORT, 'a booking is never deleted');
END;

CREATE TABLE IF NOT EXISTS payments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    end_to_end_id TEXT NOT NULL,
    debtor_account TEXT NOT NULL REFERENCES accounts,
    creditor_account TEXT NOT NULL REFERENCES accounts,
    order_number TEXT NOT NULL,
    text TEXT NOT NULL,
    currency TEXT NOT NULL,
    authorized INTEGER NOT NULL CHECK (authorized > 0),
    held INTEGER NOT NULL CHECK (held >= 0),
    captured INTEGER NOT NULL DEFAULT 0,
    refunded INTEGER NOT NULL DEFAULT 0,
    until_ms INTEGER NOT NULL,
    UNIQUE (tenant, subject, end_to_end_id),
    CHECK (captured >= 0 AND captured + held <= authorized),
    CHECK (refunded BETWEEN 0 AND captured)
) STRICT;

CREATE INDEX IF NOT EXISTS payments_held ON payments (until_ms) WHERE held > 0;

CREATE INDEX IF NOT EXISTS payments_order ON payments (order_number);

CREATE TABLE IF NOT EXISTS movements (
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    operation TEXT NOT NULL CHECK (operation IN ('capture', 'refund')),
    id TEXT NOT NULL,
    payment INTEGER NOT NULL REFERENCES payments,
    booking INTEGER NOT NULL REFERENCES bookings,
    PRIMARY KEY (tenant, subject, operation, id)
) STRICT;

CREATE TABLE IF NOT EXISTS providers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    applicant TEXT NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    legal_name TEXT NOT NULL,
    country TEXT NOT NULL,
    payout_account TEXT NOT NULL,
    UNIQUE (tenant, subject, applicant)
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS providers_active ON providers (tenant, subject) WHERE active;

CREATE TABLE IF NOT EXISTS documents (
    provider INTEGER NOT NULL REFERENCES providers,
    kind INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS documents_provider ON documents (provider);

CREATE TABLE IF NOT EXISTS offers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    provider_id TEXT NOT NULL,
    offer_id TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    category TEXT NOT NULL,
    currency TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price >= 0),
    stock INTEGER NOT NULL CONSTRAINT no_stock_below_zero CHECK (stock >= 0),
    title_words TEXT NOT NULL,
    words TEXT NOT NULL,
    publication INTEGER NOT NULL UNIQUE,  -- of all offers, in the order in which they were published or replaced
    UNIQUE (provider_id, offer_id)
) STRICT;

CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    subject TEXT NOT NULL,
    order_id TEXT NOT NULL,
    provider_id TEXT NOT NULL,
    creditor_account TEXT NOT NULL,
    currency TEXT NOT NULL,
    total INTEGER NOT NULL CHECK (total >= 0),
    placed_at_ms INTEGER NOT NULL,
    cancelled_at_ms INTEGER,
    UNIQUE (tenant, subject, order_id)
) STRICT;

CREATE TABLE IF NOT EXISTS order_lines (
    order_number INTEGER NOT NULL REFERENCES orders,
    offer_number INTEGER NOT NULL REFERENCES offers,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    price INTEGER NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS order_lines_order ON order_lines (order_number);
"""


class Party(NamedTuple):
    """A customer of the platform, as its certificate names it."""

    tenant: str
    subject: str


@dataclass(frozen=True, slots=True)
class Work:
    """One open transaction, which somebody else ends, and the time that everything in it happens at."""

    db: sqlite3.Connection
    now_ms: int


def create_tables(db: sqlite3.Connection) -> None:
    """Make the tables that are missing, inside the open transaction."""
    for statement in _SCHEMA.split("\n\n"):
        db.execute(statement)


@contextmanager
def reading(path: Path, now_ms: int) -> Generator[Work]:
    """One consistent view of a sandbox's file, for auditors. Raises sqlite3.Error where the file is none."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
        db.execute("BEGIN")
        yield Work(db, now_ms)
