"""Claims: the way of a request through the store. Decisions are :mod:`ratatoskr.service.once`'s."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TypeAlias

from ratatoskr.errors import Disposition, Failure
from ratatoskr.service.answers import Answers, Arrival
from ratatoskr.service.call import Call
from ratatoskr.service.host import Host, Level
from ratatoskr.service.once import (
    CONFLICT,
    OUTCOME_UNKNOWN,
    RETRY_DELAY,
    RUNNING_ELSEWHERE,
    STORE_FULL,
    STORE_UNAVAILABLE,
    SUBJECT_FULL,
    OncePolicy,
    Operation,
    is_dead,
    judge,
    operation_digest,
)
from ratatoskr.service.outcome import Outcome, decode_outcome, encode_outcome
from ratatoskr.service.store import Claim, Entry, OnceKey, OnceStore, StoreFull, StoreTransaction, SubjectFull

PROCESS_BYTES = 16
EXECUTION_BYTES = 8
"""An owner is the name of a process, and the number of an execution in it."""
PURGE_LIMIT = 500
"""Entries that one upkeep forgets at most, so that it never holds up requests for long."""
PURGE_PAUSE = 1.0
"""Seconds until the next upkeep where more is left to forget."""

Execute: TypeAlias = Callable[[], Awaitable[Outcome]]
Recover: TypeAlias = Callable[[], Awaitable[Outcome | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A request, and how it is answered where nobody has done so. Neither function raises an Exception.

    ``recover`` finds out what became of an execution whose owner died: its outcome, None where surely nothing did, a
    failure that is *maybe* where that cannot be said now. ``atomic``: the handler has sworn that nothing did.
    """

    arrival: Arrival
    call: Call
    execute: Execute
    recover: Recover | None = None
    atomic: bool = False

    def inherits(self, entry: Entry) -> bool:
        """Whether it may be recovered from this dead claim."""
        return self.recover is not None and (entry.atomic or not self.atomic)

    def may_find_out(self, outcome: Outcome) -> bool:
        """Whether that outcome is a doubt which a recovery may end."""
        doubtful = isinstance(outcome, Failure) and outcome.disposition is Disposition.MAYBE
        return doubtful and self.recover is not None and not self.atomic


class Claims:
    """Executes each operation at most once, and gives its outcome to everybody who asks for it."""

    def __init__(self, host: Host, answers: Answers, store: OnceStore, policy: OncePolicy) -> None:
        self._host = host
        self._answers = answers
        self._store = store
        self._policy = policy
        self._process = host.entropy(PROCESS_BYTES)
        self._executions = count()
        self._operations: dict[OnceKey, Operation[Attempt]] = {}
        self._owned: dict[OnceKey, Claim] = {}
        """What is executed here, and its lease to be renewed."""

    async def run(self, attempt: Attempt) -> None:
        """Answer the request: by executing it, or by what became or becomes of it elsewhere.

        A cancellation leaves the claim as one whose owner died, because nobody knows how far the handler came.
        """
        arrival, call = attempt.arrival, attempt.call
        stale = self._policy.stale(call.issued_at, self._host.now().wall)
        if stale is not None:
            self._answers.note(Level.INFO, "once.stale", f"{arrival}: {stale.message}")
            self._answers.give(arrival, stale)
            return
        key = OnceKey(call.peer.tenant, call.peer.subject, call.nonce)
        digest = operation_digest(call.kind, arrival.event.request.payload)
        operation = self._operations.get(key)
        if operation is not None:
            failure = operation.join(digest, attempt)
            if failure is not None:
                self._refuse(arrival, failure)
            return
        operation = self._operations[key] = Operation(digest, attempt)
        try:
            await self._lead(operation, key, attempt)
        finally:
            del self._operations[key]
            self._owned.pop(key, None)
            for each in operation.take():  # left over by a cancellation alone
                self._answers.give(each.arrival, OUTCOME_UNKNOWN)

    async def _lead(self, operation: Operation[Attempt], key: OnceKey, attempt: Attempt) -> None:
        claim = self._claim(key, operation.digest, attempt)
        try:
            entry = await self._store.claim(claim, per_subject=self._policy.per_subject)
        except StoreFull as full:
            for each in operation.take():
                self._refuse(each.arrival, SUBJECT_FULL if isinstance(full, SubjectFull) else STORE_FULL)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._unavailable(operation, attempt.call, error)
        else:
            if entry is not None:
                await self._inherit(operation, key, entry)
                return
            self._own(operation, claim)
            now = self._host.now().wall
            failure = self._policy.stale(attempt.call.issued_at, now)
            if failure is None and claim.lease_until <= now:
                failure = STORE_UNAVAILABLE  # it took so long that others may have taken over
            if failure is not None:
                await self._decline(operation, self._store.release(claim), failure)
            else:
                await self._see_through(operation, attempt, claim, None)

    async def _inherit(self, operation: Operation[Attempt], key: OnceKey, entry: Entry) -> None:
        """The key was taken: take it over where its owner died, or give everybody what follows from that."""
        heir = operation.first(entry.digest)
        dead = is_dead(entry, process=self._process, now=self._host.now().wall)
        if heir is None or not dead or not heir.inherits(entry):
            self._tell(operation, entry)
            return
        claim = self._claim(key, entry.digest, heir)
        try:
            taken = await self._store.take_over(claim, entry)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._unavailable(operation, heir.call, error)
            return
        if not taken:
            now = self._host.now().wall
            self._tell(operation, replace(entry, owner=b"", lease_until=now + RETRY_DELAY))  # somebody was faster
            return
        self._own(operation, claim)
        if claim.lease_until <= self._host.now().wall:
            await self._decline(operation, self._give_up(claim), STORE_UNAVAILABLE)
            return
        self._answers.note(Level.WARNING, "once.recovered", f"{heir.arrival}: its earlier execution is recovered")
        await self._see_through(operation, heir, claim, heir.recover)

    def _claim(self, key: OnceKey, digest: bytes, attempt: Attempt) -> Claim:
        """A claim for the attempt, with an owner that no other claim has."""
        owner = self._process + next(self._executions).to_bytes(EXECUTION_BYTES, "big")
        now, issued_at = self._host.now().wall, attempt.call.issued_at
        return replace(self._policy.claim(key, digest, owner, now, issued_at=issued_at), atomic=attempt.atomic)

    def _own(self, operation: Operation[Attempt], claim: Claim) -> None:
        self._owned[claim.key] = claim
        for each in operation.own(claim.digest):
            self._refuse(each.arrival, CONFLICT)

    async def _decline(self, operation: Operation[Attempt], leave: Awaitable[bool], failure: Failure) -> None:
        """The claim is not used: leave it, and say why."""
        try:
            await leave
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._answers.note(Level.ERROR, "store.outcome", f"{failure.reason}: the key could not be freed", error)
        self._give_all(operation, failure)

    async def _see_through(
        self, operation: Operation[Attempt], attempt: Attempt, claim: Claim, recover: Recover | None
    ) -> None:
        """Get the outcome, by a recovery or else by executing; make it last, and tell everybody."""
        call, begin = attempt.call, partial(self._store.begin, claim)
        try:
            outcome: Outcome | None = None
            if recover is not None:
                call.allow_begin(begin)
                outcome = await recover()
            if outcome is None:
                call.allow_begin(begin)
                outcome = await attempt.execute()
            outcome = await self._settle(attempt, claim, outcome)
        except BaseException:
            call.abandon()
            raise
        self._give_all(operation, outcome)

    async def _settle(self, attempt: Attempt, claim: Claim, outcome: Outcome) -> Outcome:
        """Make the outcome last. Returns what is to be told.

        Where an effect has happened and only its record fails, the truth is told: a repeated request hears that the
        outcome is unknown, which does not contradict it. Unless it may be recovered and then end in another way.
        """
        call = attempt.call
        failed = isinstance(outcome, Failure)
        if failed:
            call.abandon()
        transaction = None if failed else call.transaction
        doubtful = attempt.may_find_out(outcome)
        try:
            kept = await (self._give_up(claim) if doubtful else self._keep(claim, transaction, outcome))
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._answers.note(Level.ERROR, "store.outcome", f"{call.kind}: the outcome could not be stored", error)
            instead = STORE_UNAVAILABLE
        else:
            if kept:
                return outcome
            self._answers.note(Level.ERROR, "store.claim_lost", f"{call.kind}: the claim was no longer ours")
            instead = RUNNING_ELSEWHERE
        if doubtful:
            return outcome
        if attempt.recover is not None:
            return instead
        return outcome if transaction is None else OUTCOME_UNKNOWN

    async def _keep(self, claim: Claim, transaction: StoreTransaction | None, outcome: Outcome) -> bool:
        """What surely did nothing frees the key; everything else is stored, and an effect with it."""
        now = self._host.now().wall
        keep_until = self._policy.keep_until(now)
        if transaction is not None:
            return await transaction.commit(encode_outcome(outcome), keep_until=keep_until, now=now)
        if isinstance(outcome, Failure) and outcome.disposition is Disposition.NOT_PROCESSED:
            return await self._store.release(claim)
        return await self._store.complete(claim, encode_outcome(outcome), keep_until=keep_until)

    async def _give_up(self, claim: Claim) -> bool:
        """Leave the claim as one whose owner died, for the next request to recover."""
        await self._store.renew([claim], self._host.now().wall)
        return True

    def _tell(self, operation: Operation[Attempt], entry: Entry) -> None:
        """The key was taken before: everybody gets what follows from that, each by its own digest."""
        now = self._host.now().wall
        for digest, each in operation.take_digests():
            arrival = each.arrival
            verdict = judge(entry, digest, process=self._process, now=now, attempt=each.call.attempt)
            if isinstance(verdict, Failure):
                self._refuse(arrival, verdict)
                continue
            stored = decode_outcome(arrival.kind, verdict)
            if stored is None:
                failure = self._answers.internal(arrival, "store.unreadable", "the stored outcome cannot be read")
                self._answers.give(arrival, failure)
            else:
                self._answers.give(arrival, stored, replayed=True)

    def _give_all(self, operation: Operation[Attempt], outcome: Outcome) -> None:
        """To the first as it is, to all others as a repetition."""
        first, *others = operation.take()
        self._answers.give(first.arrival, outcome)
        for each in others:
            self._answers.give(each.arrival, outcome, replayed=True)

    def _unavailable(self, operation: Operation[Attempt], call: Call, error: Exception) -> None:
        self._answers.note(Level.ERROR, "store.claim", f"{call.kind}: the store failed", error)
        for each in operation.take():
            self._answers.give(each.arrival, STORE_UNAVAILABLE)

    def _refuse(self, arrival: Arrival, failure: Failure) -> None:
        self._answers.note(Level.WARNING, f"once.{failure.reason.lower()}", f"{arrival}: {failure.message}")
        self._answers.give(arrival, failure)

    async def upkeep(self) -> float:
        """Renew the leases of what runs here, forget what is too old. Returns the seconds until the next time."""
        now = self._host.now().wall
        try:
            if self._owned:
                await self._store.renew(list(self._owned.values()), now + self._policy.lease)
            purged = await self._store.purge(now, PURGE_LIMIT)
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._answers.note(Level.ERROR, "store.upkeep", "leases are not renewed or outcomes not purged", error)
            purged = 0
        return PURGE_PAUSE if purged == PURGE_LIMIT else self._policy.lease / 3
