"""At most once: every decision about a request whose kind runs at most once. Stores only store.

A request is known under (tenant, subject, nonce), and what it asks for by its digest.

==========================================  ===========================================================
what is there under the key                 what becomes of the request
==========================================  ===========================================================
nothing                                     it is claimed, then executed
nothing, and the subject has no place left  RESOURCE_EXHAUSTED, *not processed*
an outcome, same digest                     the outcome is replayed
a claim, executing here, same digest        it joins: the same outcome, without a second execution
a claim, executing elsewhere, same digest   ABORTED, *maybe*: ask again a little later
a claim whose owner died, same digest       what the handler has declared, see below
anything, another digest                    CONFLICT, *failed*
==========================================  ===========================================================

A claim whose owner died has no outcome, and nobody renews its lease, or this process knows that it lost it itself:

==========================================  ===========================================================
what the handler has declared               what becomes of the request
==========================================  ===========================================================
nothing                                     OUTCOME_UNKNOWN, *maybe*; it is never executed again
``recover=ATOMIC``, also when it died       the claim is taken over, and the request executed
``recover=ATOMIC``, but not when it died    OUTCOME_UNKNOWN, *maybe*: that execution swore nothing
``recover=function``                        the claim is taken over, and the function asked
==========================================  ===========================================================

To take over is to replace exactly what was seen, so one of many does it; all others find it executing elsewhere. Who
was the owner can store nothing any more.

Why *maybe* for what executes elsewhere: this attempt surely did nothing, but the operation may well be done a moment
later, and a caller that reads "not processed" may pay in another way. Why *failed* for a conflict: asking again with
this key can never succeed; the other request stands, and this one is not executed.

Where a handler has declared how to recover, only what is stored is told: of what the store did not take, the next owner
may make something else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Generic, TypeVar

from ratatoskr.errors import Disposition, Failure, LocalProtocolError, Status
from ratatoskr.messages import AnyKind
from ratatoskr.service.store import Claim, Entry, OnceKey

A = TypeVar("A")

OPERATION_LABEL = b"ratatoskr-v1 operation"
RETRY_DELAY = 1.0
"""Seconds after which asking again makes sense."""
PATIENT_ATTEMPT = 2
"""The attempt from which on a caller is told to wait until the lease is over, instead of asking for what may be done
any moment."""
LEASE_MARGIN = 0.1
"""Seconds after the end of a lease when it surely is over, however roundly the time until then was told."""
FULL_DELAY = 60.0
"""Seconds after which there may be a place again."""

CONFLICT = Failure(
    Status.ALREADY_EXISTS,
    "CONFLICT",
    "another request was made with this key; its outcome, a failure included, stands, and this one needs a new key",
)
RUNNING_ELSEWHERE = Failure(
    Status.ABORTED,
    "RUNNING_ELSEWHERE",
    "the same request is being executed; ask again with the same key",
    Disposition.MAYBE,
    RETRY_DELAY,
)
OUTCOME_UNKNOWN = Failure(
    Status.UNKNOWN,
    "OUTCOME_UNKNOWN",
    "the execution of this request did not end in a known way; it is not executed again",
    Disposition.MAYBE,
)
NOT_RECOVERED = replace(
    OUTCOME_UNKNOWN,
    message="the execution of this request did not end in a known way, and it could not be found out how; "
    "ask again with the same key",
)
SUBJECT_FULL = Failure(
    Status.RESOURCE_EXHAUSTED,
    "TOO_MANY_OUTCOMES",
    "as many outcomes are kept for you as may be; places become free as they grow too old",
    Disposition.NOT_PROCESSED,
    FULL_DELAY,
)
STORE_FULL = replace(SUBJECT_FULL, reason="STORE_FULL", message="no place is left to keep the outcome of this request")
STORE_UNAVAILABLE = Failure(
    Status.UNAVAILABLE,
    "STORE_UNAVAILABLE",
    "what became of this request cannot be looked up; ask again with the same key",
    Disposition.MAYBE,
    RETRY_DELAY,
)


def operation_digest(kind: AnyKind, payload: bytes) -> bytes:
    """``SHA256("ratatoskr-v1 operation" ‖ 00 ‖ type u32 ‖ operation u32 ‖ SHA256(payload))``."""
    place = kind.type.to_bytes(4, "big") + kind.operation.to_bytes(4, "big")
    return sha256(OPERATION_LABEL + b"\0" + place + sha256(payload).digest()).digest()


@dataclass(frozen=True, slots=True)
class OncePolicy:
    """For how long outcomes are kept, and claims are believed. Seconds."""

    retention: float = 7 * 24 * 3600.0
    """A request issued longer ago is refused, and its outcome may be forgotten. Announced to clients."""
    tolerance: float = 300.0
    """How far a caller's clock may run ahead."""
    lease: float = 15.0
    """A claim that its owner has not renewed for so long is one whose owner died. It is renewed three times as often.

    After a crash a request is recovered when this time is over; an owner that stands still for two thirds of it, such
    as a process whose event loop is blocked, loses what it executes.
    """
    per_subject: int = 100_000
    """Outcomes and claims that are held for one (tenant, subject); requests beyond that are refused."""

    def __post_init__(self) -> None:
        if min(self.retention, self.tolerance, self.lease, self.per_subject) <= 0:
            raise LocalProtocolError("retention, tolerance, lease and per_subject must be above zero")

    def stale(self, issued_at: float, now: float) -> Failure | None:
        """Why a request with that issue time is refused; None where it is fresh. Both in seconds since the epoch.

        To be asked before the claim, and again when it is durable: while the store was busy, the outcome of an earlier
        attempt may have been forgotten. So what is too old is *maybe*: it is not executed now, but nobody knows whether
        it was when it was new. What comes from the future surely was not: nobody has ever accepted it.
        """
        if now - issued_at >= self.retention:
            text = f"the request was issued {now - issued_at:.0f} s ago; outcomes are kept for {self.retention:.0f} s"
            disposition = Disposition.MAYBE
        elif issued_at > now + self.tolerance:
            text = f"the request was issued {issued_at - now:.0f} s in the future: check the clock of its sender"
            disposition = Disposition.NOT_PROCESSED
        else:
            return None
        return Failure(Status.FAILED_PRECONDITION, "STALE", text, disposition)

    def keep_until(self, now: float) -> float:
        """Until when an outcome of now is kept: whoever finds it forgotten has a request that is stale."""
        return now + self.tolerance + self.retention

    def claim(self, key: OnceKey, digest: bytes, owner: bytes, now: float, *, issued_at: float) -> Claim:
        """What is to be claimed. It is kept for as long as a request with that issue time is fresh anywhere."""
        return Claim(key, digest, owner, now + self.lease, self.keep_until(issued_at))


def is_dead(entry: Entry, *, process: bytes, now: float) -> bool:
    """Whether the entry is a claim whose owner died.

    To be asked only for what does not execute here: an unfinished claim of ``process``, this one, is then one that it
    lost. Names of owners begin with that of their process.
    """
    return entry.outcome is None and (entry.lease_until <= now or entry.owner.startswith(process))


def judge(entry: Entry, digest: bytes, *, process: bytes, now: float, attempt: int = 0) -> bytes | Failure:
    """What a request with that digest gets where the store holds ``entry``: the stored outcome, or a failure.

    As for :func:`is_dead`. ``attempt``: how often its caller has made it before.
    """
    if entry.digest != digest:
        return CONFLICT
    if entry.outcome is not None:
        return entry.outcome
    if is_dead(entry, process=process, now=now):
        return OUTCOME_UNKNOWN
    if attempt < PATIENT_ATTEMPT:
        return RUNNING_ELSEWHERE
    return replace(RUNNING_ELSEWHERE, retry_delay=entry.lease_until - now + LEASE_MARGIN)


class Operation(Generic[A]):
    """One key that is being claimed or executed here, and all requests (``A``) that wait for what comes of it.

    Before the store has answered, nobody knows which digest is the right one: everybody waits. Then either this
    process owns the key, by a new claim or by taking over a dead one, and requests with another digest conflict; or
    each request is judged by what the store holds.
    """

    __slots__ = ("_waiting", "digest", "owned")

    def __init__(self, digest: bytes, first: A) -> None:
        self.digest: bytes = digest
        self.owned: bool = False
        """Whether it is executed here: the claim is durable."""
        self._waiting: list[tuple[bytes, A]] = [(digest, first)]

    def join(self, digest: bytes, request: A) -> Failure | None:
        """Let the request wait, or say why it need not."""
        if self.owned and digest != self.digest:
            return CONFLICT
        self._waiting.append((digest, request))
        return None

    def first(self, digest: bytes) -> A | None:
        """The first of those that wait and ask for this."""
        return next((request for each, request in self._waiting if each == digest), None)

    def own(self, digest: bytes) -> list[A]:
        """The claim on what has this digest is durable, and execution begins. Returns what conflicts with it."""
        self.digest, self.owned = digest, True
        conflicting = [request for each, request in self._waiting if each != digest]
        self._waiting = [each for each in self._waiting if each[0] == digest]
        return conflicting

    def take(self) -> list[A]:
        """All that wait, the first first. Nobody waits any more."""
        return [request for _, request in self.take_digests()]

    def take_digests(self) -> list[tuple[bytes, A]]:
        """As :meth:`take`, with what each asks for."""
        waiting, self._waiting = self._waiting, []
        return waiting
