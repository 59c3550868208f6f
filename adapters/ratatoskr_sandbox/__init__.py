"""The Yggdrasil sandbox: a small honest platform to build clients against.

A catalogue, orders, a registry of providers, and a ledger whose balances always sum to zero, in one SQLite file with
the store of outcomes, so that a payment and the answer about it commit together::

    with SqliteStore("yggdrasil.sqlite") as store:
        router = await sandbox_router(store, time.time)
        async with serve(router, config, "localhost", 8765, store=store) as server:
            await server.serve_forever()

Beside the standard kinds it answers :data:`SANDBOX_STATEMENT`, what lies on an account, and :data:`SANDBOX_ACTIVITY`,
what its handlers are doing. It moves no money but its own.
"""

from ratatoskr_sandbox.activity import SANDBOX_ACTIVITY
from ratatoskr_sandbox.database import Party, Work, reading
from ratatoskr_sandbox.handlers import sandbox_router
from ratatoskr_sandbox.ledger import audit, balance_of
from ratatoskr_sandbox.money import Amount, amount_of
from ratatoskr_sandbox.platform import OPENING, wallet_of
from ratatoskr_sandbox.sandbox_pb2 import Activity, Balance, Booking, GetActivity, GetStatement, Statement
from ratatoskr_sandbox.statements import SANDBOX_STATEMENT

__all__ = [
    "OPENING",
    "SANDBOX_ACTIVITY",
    "SANDBOX_STATEMENT",
    "Activity",
    "Amount",
    "Balance",
    "Booking",
    "GetActivity",
    "GetStatement",
    "Party",
    "Statement",
    "Work",
    "amount_of",
    "audit",
    "balance_of",
    "reading",
    "sandbox_router",
    "wallet_of",
]
