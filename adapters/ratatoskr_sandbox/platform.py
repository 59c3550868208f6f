"""The platform at its birth: tables, the account that money comes from, a small shop of the sandbox's own.

Every device has a wallet. It is opened when the device first asks for it, with money to play with.
"""

from __future__ import annotations

from hashlib import sha256
from re import fullmatch
from typing import Final

from ratatoskr import v1
from ratatoskr_sandbox import catalogue, ledger, providers
from ratatoskr_sandbox.database import Party, Work, create_tables
from ratatoskr_sandbox.money import Amount

HOUSE: Final = Party("", "")
"""The sandbox itself: no certificate has an empty subject."""
MINT: Final = "system:mint"
"""Where opening balances come from; the only account that may be overdrawn."""
SHOP: Final = "house"
"""The shop's account."""
OPENING: Final = Amount("EUR", 1_000_00)
"""What a new wallet holds."""

_ACCOUNT_CHARACTERS = 34
_GOODS = (
    ("tea", "Nettle tea", "Dried leaves for thirty cups, from the foot of the tree.", "kitchen", 4_90),
    ("mug", "Stoneware mug", "Holds a quarter of a litre. Fit for the dishwasher.", "kitchen", 12_50),
    ("lantern", "Storm lantern", "Burns for twelve hours and withstands wind and rain.", "light", 39_00),
)


def create(work: Work) -> None:
    """Make a new database the sandbox's; leave one that is."""
    create_tables(work.db)
    if not ledger.open_account(work, MINT, HOUSE, system=True):
        return
    providers.register(
        work, HOUSE, v1.RegisterProvider(legal_name="The sandbox's own shop", payout_account=SHOP), enrolled=True
    )
    for offer_id, title, description, category, cents in _GOODS:
        catalogue.publish(
            work,
            HOUSE,
            v1.PublishOffer(
                offer_id=offer_id,
                title=title,
                description=description,
                category=category,
                price=Amount("EUR", cents).to_money(),
                stock=catalogue.MAX_STOCK,
            ),
        )


def wallet_of(owner: Party) -> str:
    """The name of a device's wallet: "wallet:tenant:subject", or a hash of these where that would be no account."""
    readable = f"wallet:{owner.tenant}:{owner.subject}"
    if len(readable) <= _ACCOUNT_CHARACTERS and fullmatch(r"wallet:[0-9A-Za-z._-]*:[0-9A-Za-z._-]+", readable):
        return readable
    digest = sha256(f"{len(owner.tenant)}:{owner.tenant}{owner.subject}".encode()).hexdigest()
    return f"wallet:{digest[: _ACCOUNT_CHARACTERS - len('wallet:')]}"


def open_wallet(work: Work, owner: Party) -> str:
    """The wallet of a device, opened with :data:`OPENING` where it has none yet."""
    wallet = wallet_of(owner)
    if ledger.open_account(work, wallet, owner):
        ledger.book(work, MINT, wallet, OPENING, "Opening balance")
    return wallet
