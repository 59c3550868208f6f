"""Bugs, planted into one process of a campaign at its birth: what the proof must see, and who else sees it.

============================  =====================================================================================
the bug                       what catches it
============================  =====================================================================================
claim_ignored                 Plain handlers: the ledger holds payments twice. In a transaction it cannot happen: the
                              store commits for the owner of the claim alone, so an outcome that was told is unknown.
old_claim_executed            Plain handlers that died between effect and outcome: the ledger holds the payment twice.
nonce_drawn                   The ledger holds payments twice. Where a kind names the field of its key, the receiver
                              refuses such a request (rule ``nonce.key``), and nothing is doubled.
forgotten_at_ack              A payment without an end: its request was acknowledged, and its client died before the
                              answer was written down. No end can know; the next life does not ask.
outcome_after_answer          An outcome that was told is unknown later: the server died between telling and storing.
effect_committed_alone        A lost outcome whose effect is in the ledger: the server died between two commits that
                              should be one. Only a kill at that point shows it. Where the handler has sworn
                              ``ATOMIC``, the payment is executed again: the ledger holds it twice.
============================  =====================================================================================

Each function patches the process in which it is called, for good; the bugs of the other program do nothing there.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from functools import wraps
from itertools import islice
from typing import Any
from unittest.mock import patch

from ratatoskr import v1
from ratatoskr.service import Claim
from ratatoskr.session import asking
from ratatoskr.session.outbox import Outbox
from ratatoskr_stores import SqliteStore, SqliteTransaction
from tests.proof.history import History

LATE = 1.0
"""Seconds between an answer and its outcome, where that comes after it."""
REQUEST = 1
"""The first byte of a request's envelope."""


def claim_ignored() -> None:
    """A key that is taken is executed all the same."""
    claim = SqliteStore.claim

    async def ignored(store: SqliteStore, wanted: Claim, **options: Any) -> None:
        await claim(store, wanted, **options)

    patch.object(SqliteStore, "claim", ignored).start()


def old_claim_executed() -> None:
    """A claim whose owner is silent is executed again."""
    claim = SqliteStore.claim

    async def taken_over(store: SqliteStore, wanted: Claim, **options: Any) -> Any:
        entry = await claim(store, wanted, **options)
        old = entry is not None and entry.outcome is None and entry.lease_until <= time.time()
        return None if old else entry

    patch.object(SqliteStore, "claim", taken_over).start()


def nonce_drawn() -> None:
    """Each request gets a nonce of its own."""
    patch.object(asking, "business_nonce", lambda *_: os.urandom(16)).start()


def forgotten_at_ack() -> None:
    """A client takes a payment for done when its request is acknowledged."""
    begin, acknowledge = History.__init__, Outbox.acknowledge
    histories: list[History] = []

    def begun(history: History, *arguments: Any) -> None:
        begin(history, *arguments)
        histories.append(history)

    def acknowledged(outbox: Outbox[Any], number: int) -> list[Any]:
        for envelope, *_ in list(islice(outbox._entries, number - outbox.acked)):
            if envelope[0] == REQUEST and histories:
                request = v1.RatatoskrRequest.FromString(envelope[1:])
                histories[0].forget(v1.AuthorizePayment.FromString(request.payload).end_to_end_id)
        return acknowledge(outbox, number)

    patch.object(History, "__init__", begun).start()
    patch.object(Outbox, "acknowledge", acknowledged).start()


def outcome_after_answer() -> None:
    """The answer does not wait until its outcome is stored."""
    complete = SqliteStore.complete
    storing: set[asyncio.Task[None]] = set()

    async def completed(store: SqliteStore, claim: Claim, outcome: bytes, **options: Any) -> bool:
        async def later() -> None:
            await asyncio.sleep(LATE)
            await complete(store, claim, outcome, **options)

        storing.add(asyncio.create_task(later()))
        return True

    patch.object(SqliteStore, "complete", completed).start()


def effect_committed_alone() -> None:
    """What a handler does in its transaction is committed before the outcome is."""
    run = SqliteTransaction._run

    @wraps(run)
    def ran(transaction: SqliteTransaction, function: Callable[[Any], Any], db: Any) -> Any:
        result = run(transaction, function, db)
        db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        return result

    patch.object(SqliteTransaction, "_run", ran).start()


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        claim_ignored,
        old_claim_executed,
        nonce_drawn,
        forgotten_at_ack,
        outcome_after_answer,
        effect_committed_alone,
    )
}


def plant(bug: str) -> None:
    """Plant the bug of that name; none, where there is no name."""
    if bug:
        BUGS[bug]()
