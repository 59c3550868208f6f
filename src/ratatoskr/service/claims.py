"""Claims: the way of a request through the store. Decisions are :mod:`ratatoskr.service.once`'s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ratatoskr.errors import Disposition, Failure
from ratatoskr.service.answers import Answers, Arrival
from ratatoskr.service.call import Call
from ratatoskr.service.host import Host, Level
from ratatoskr.service.once import (
    CONFLICT,
    OUTCOME_UNKNOWN,
    STORE_UNAVAILABLE,
    OncePolicy,
    Operation,
    operation_digest,
)
from ratatoskr.service.outcome import Outcome, decode_outcome, encode_outcome
from ratatoskr.service.store import Claim, Entry, OnceKey, OnceStore

OWNER_BYTES = 16
PURGE_LIMIT = 500
"""Entries that one upkeep forgets at most, so that it never holds up requests for long."""
PURGE_PAUSE = 1.0
"""Seconds until the next upkeep where more is left to forget."""


class Claims:
    """Executes each operation at most once, and gives its outcome to everybody who asks for it."""

    def __init__(self, host: Host, answers: Answers, store: OnceStore, policy: OncePolicy) -> None:
        self._host = host
        self._answers = answers
        self._store = store
        self._policy = policy
        self._owner = host.entropy(OWNER_BYTES)
        self._operations: dict[OnceKey, Operation[Arrival]] = {}

    async def run(self, arrival: Arrival, call: Call, execute: Callable[[], Awaitable[Outcome]]) -> None:
        """Answer the request: by executing it, or by what became or becomes of it elsewhere.

        ``execute`` never raises an Exception. A cancellation leaves the claim as one whose owner died, because
        nobody knows how far the handler came.
        """
        now = self._host.now().wall
        stale = self._policy.stale(call.issued_at, now)
        if stale is not None:
            self._answers.note(Level.INFO, "once.stale", f"{arrival}: {stale.message}")
            self._answers.give(arrival, stale)
            return
        key = OnceKey(call.peer.tenant, call.peer.subject, call.nonce)
        digest = operation_digest(call.kind, arrival.event.request.payload)
        operation = self._operations.get(key)
        if operation is not None:
            failure = operation.join(digest, arrival)
            if failure is not None:
                self._refuse(arrival, failure)
            return
        operation = self._operations[key] = Operation(digest, arrival)
        try:
            await self._lead(operation, self._policy.claim(key, digest, self._owner, now), call, execute)
        finally:
            del self._operations[key]
            for each in operation.take():  # left over by a cancellation alone
                self._answers.give(each, OUTCOME_UNKNOWN)

    async def _lead(
        self, operation: Operation[Arrival], claim: Claim, call: Call, execute: Callable[[], Awaitable[Outcome]]
    ) -> None:
        try:
            entry = await self._store.claim(claim)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._answers.note(Level.ERROR, "store.claim", f"{call.kind}: the store failed", error)
            for each in operation.take():
                self._answers.give(each, STORE_UNAVAILABLE)
            return
        if entry is not None:
            self._tell(operation, entry)
            return
        for each in operation.own():
            self._refuse(each, CONFLICT)
        call.allow_begin(partial(self._store.begin, claim))
        stale = self._policy.stale(call.issued_at, self._host.now().wall)
        try:
            outcome = await self._settle(claim, call, stale or await execute())
        except BaseException:
            if call.transaction is not None:
                call.transaction.abandon()
            raise
        first, *others = operation.take()
        self._answers.give(first, outcome)
        for each in others:
            self._answers.give(each, outcome, replayed=True)

    def _tell(self, operation: Operation[Arrival], entry: Entry) -> None:
        """The key was taken before: everybody gets what follows from that."""
        now = self._host.now().wall
        for arrival, verdict in operation.judge(entry, owner=self._owner, now=now):
            if isinstance(verdict, Failure):
                self._refuse(arrival, verdict)
                continue
            stored = decode_outcome(arrival.kind, verdict)
            if stored is None:
                failure = self._answers.internal(arrival, "store.unreadable", "the stored outcome cannot be read")
                self._answers.give(arrival, failure)
            else:
                self._answers.give(arrival, stored, replayed=True)

    def _refuse(self, arrival: Arrival, failure: Failure) -> None:
        self._answers.note(Level.WARNING, f"once.{failure.reason.lower()}", f"{arrival}: {failure.message}")
        self._answers.give(arrival, failure)

    async def _settle(self, claim: Claim, call: Call, outcome: Outcome) -> Outcome:
        """Make the outcome last. Returns what is to be told.

        Where an effect has happened and only its record fails, the truth is told: a repeated request hears that the
        outcome is unknown, which does not contradict it.
        """
        transaction = call.transaction
        succeeded = not isinstance(outcome, Failure)
        try:
            if transaction is not None and succeeded:
                now = self._host.now().wall
                kept = await transaction.commit(
                    encode_outcome(outcome), keep_until=self._policy.keep_until(now), now=now
                )
            else:
                if transaction is not None:
                    transaction.abandon()
                kept = await self._record(claim, outcome)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._answers.note(Level.ERROR, "store.outcome", f"{call.kind}: the outcome could not be stored", error)
            kept = False
        else:
            if not kept:
                self._answers.note(Level.ERROR, "store.claim_lost", f"{call.kind}: the claim was no longer ours")
        if not kept and transaction is not None and succeeded:
            return OUTCOME_UNKNOWN
        return outcome

    async def _record(self, claim: Claim, outcome: Outcome) -> bool:
        """Without a transaction: what surely did nothing frees the key; everything else is stored."""
        if isinstance(outcome, Failure) and outcome.disposition is Disposition.NOT_PROCESSED:
            return await self._store.release(claim)
        keep_until = self._policy.keep_until(self._host.now().wall)
        return await self._store.complete(claim, encode_outcome(outcome), keep_until=keep_until)

    async def upkeep(self) -> float:
        """Renew the leases of what runs here, forget what is too old. Returns the seconds until the next time."""
        now = self._host.now().wall
        try:
            running = [key for key, operation in self._operations.items() if operation.owned]
            if running:
                await self._store.renew(self._owner, running, now + self._policy.lease)
            purged = await self._store.purge(now, PURGE_LIMIT)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._answers.note(Level.ERROR, "store.upkeep", "leases are not renewed or outcomes not purged", error)
            purged = 0
        return PURGE_PAUSE if purged == PURGE_LIMIT else self._policy.lease / 3
