"""At most once: every decision about a request whose kind runs at most once. Stores only store.

A request is known under (tenant, subject, nonce), and what it asks for by its digest.

==========================================  ===========================================================
what is there under the key                 what becomes of the request
==========================================  ===========================================================
nothing                                     it is claimed, then executed
an outcome, same digest                     the outcome is replayed
a claim, executing here, same digest        it joins: the same outcome, without a second execution
a claim, executing elsewhere, same digest   ABORTED, *maybe*: ask again a little later
a claim whose owner died, same digest       OUTCOME_UNKNOWN, *maybe*; it is never executed again
anything, another digest                    CONFLICT, *failed*
==========================================  ===========================================================

Why *maybe* for what executes elsewhere: this attempt surely did nothing, but the operation may well be done a moment
later, and a caller that reads "not processed" may pay in another way. Why *failed* for a conflict: asking again with
this key can never succeed; the other request stands, and this one is not executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Generic, TypeVar

from ratatoskr.errors import Disposition, Failure, LocalProtocolError, Status
from ratatoskr.messages import AnyKind
from ratatoskr.service.store import Claim, Entry, OnceKey

A = TypeVar("A")

OPERATION_LABEL = b"ratatoskr-v1 operation"
RETRY_DELAY = 1.0
"""Seconds after which asking again makes sense."""

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
    lease: float = 60.0
    """A claim that its owner has not renewed for so long is one whose owner died."""

    def __post_init__(self) -> None:
        if min(self.retention, self.tolerance, self.lease) <= 0:
            raise LocalProtocolError("retention, tolerance and lease must be above zero")

    def stale(self, issued_at: float, now: float) -> Failure | None:
        """Why a request with that issue time is refused; None where it is fresh. Both in seconds since the epoch.

        To be asked before the claim, and again when it is durable: while the store was busy, the outcome of an earlier
        attempt may have been forgotten.
        """
        if now - issued_at >= self.retention:
            text = f"the request was issued {now - issued_at:.0f} s ago; outcomes are kept for {self.retention:.0f} s"
        elif issued_at > now + self.tolerance:
            text = f"the request was issued {issued_at - now:.0f} s in the future: check the clock of its sender"
        else:
            return None
        return Failure(Status.FAILED_PRECONDITION, "STALE", text, Disposition.NOT_PROCESSED)

    def keep_until(self, now: float) -> float:
        """Until when an outcome of now is kept: whoever finds it forgotten has a request that is stale."""
        return now + self.tolerance + self.retention

    def claim(self, key: OnceKey, digest: bytes, owner: bytes, now: float) -> Claim:
        """What is to be claimed."""
        return Claim(key, digest, owner, now + self.lease, self.keep_until(now))


def judge(entry: Entry, digest: bytes, *, owner: bytes, now: float) -> bytes | Failure:
    """What a request with that digest gets where the store holds ``entry``: the stored outcome, or a failure.

    To be asked only for what does not execute here: an unfinished claim of ``owner``, this process, is then one that
    it lost.
    """
    if entry.digest != digest:
        return CONFLICT
    if entry.outcome is not None:
        return entry.outcome
    if entry.owner == owner or entry.lease_until <= now:
        return OUTCOME_UNKNOWN
    return RUNNING_ELSEWHERE


class Operation(Generic[A]):
    """One key that is being claimed or executed here, and all requests (``A``) that wait for what comes of it.

    Before the store has answered, nobody knows which digest is the right one: everybody waits. Then either this
    process owns the key, and requests with another digest conflict; or each request is judged by what the store holds.
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

    def own(self) -> list[A]:
        """The claim is durable, and execution begins. Returns the requests that conflict with it."""
        self.owned = True
        conflicting = [request for digest, request in self._waiting if digest != self.digest]
        self._waiting = [each for each in self._waiting if each[0] == self.digest]
        return conflicting

    def judge(self, entry: Entry, *, owner: bytes, now: float) -> list[tuple[A, bytes | Failure]]:
        """The key was taken. Returns every request with what it gets."""
        return [(request, judge(entry, digest, owner=owner, now=now)) for digest, request in self.take_digests()]

    def take(self) -> list[A]:
        """All that wait, the first first. Nobody waits any more."""
        return [request for _, request in self.take_digests()]

    def take_digests(self) -> list[tuple[bytes, A]]:
        """As :meth:`take`, with what each asks for."""
        waiting, self._waiting = self._waiting, []
        return waiting
