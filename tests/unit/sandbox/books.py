"""A sandbox's database without its router: transactions, a clock that is set by hand, and short words for requests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ratatoskr import v1
from ratatoskr_sandbox import ledger, platform, providers
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import Amount

BUYER = Party("acme", "till-1")
SELLER = Party("acme", "shop-7")
STRANGER = Party("", "till-1")
SELLER_ACCOUNT = "DE-7"
NOON = 1_700_000_000_000


class Books:
    """A new sandbox in a file. ``now_ms`` is set by the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ms = NOON
        with self.begin() as work:
            platform.create(work)

    @contextmanager
    def begin(self) -> Iterator[Work]:
        """A transaction of its own, on a connection of its own: any thread may have one."""
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = OFF")  # nothing here is about power cuts
            db.execute("BEGIN IMMEDIATE")
            try:
                yield Work(db, self.now_ms)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def problems(self) -> list[str]:
        """What is wrong with the ledger."""
        with self.begin() as work:
            return ledger.audit(work)

    def available(self, account: str, currency: str = "EUR") -> int:
        """Minor units that can be spent."""
        with self.begin() as work:
            return ledger.balance_of(work, account, currency).available.minor

    def register_seller(self) -> str:
        """The seller's id, its account open."""
        with self.begin() as work:
            return providers.register(work, SELLER, registration(), enrolled=True).provider_id

    def open_wallet(self, owner: Party = BUYER) -> str:
        """The wallet's name; it holds what every new wallet holds."""
        with self.begin() as work:
            return platform.open_wallet(work, owner)


def eur(cents: int) -> v1.Money:
    """Euros on the wire."""
    return Amount("EUR", cents).to_money()


def registration(subject: str = SELLER.subject, account: str = SELLER_ACCOUNT) -> v1.RegisterProvider:
    """What a provider sends."""
    document = v1.Document(
        kind=v1.DOCUMENT_KIND_REGISTER_EXTRACT, media_type="application/pdf", sha256=bytes(32), size_bytes=1
    )
    return v1.RegisterProvider(
        registration_id="r-1",
        legal_name="Lamps",
        country="DE",
        subject=subject,
        payout_account=account,
        documents=[document],
    )


def authorization(
    wallet: str, cents: int, *, id: str = "e2e-1", creditor: str = SELLER_ACCOUNT, order: str = ""
) -> v1.AuthorizePayment:
    """What a payer sends."""
    return v1.AuthorizePayment(
        end_to_end_id=id, debtor_account=wallet, creditor_account=creditor, amount=eur(cents), order_number=order
    )


def capture_of(payment_id: str, cents: int, *, id: str = "c-1") -> v1.CapturePayment:
    """What moves the money."""
    return v1.CapturePayment(capture_id=id, payment_id=payment_id, amount=eur(cents))


def refund_of(payment_id: str, cents: int, *, id: str = "r-1") -> v1.RefundPayment:
    """What moves it back."""
    return v1.RefundPayment(refund_id=id, payment_id=payment_id, amount=eur(cents))
