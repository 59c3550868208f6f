"""Retry: whether a failed request is made again, and after how long. It decides; it neither sleeps nor sends.

A retry is the same request once more: a new message with the nonce, the payload and the issue time of the first.

1. *Only what is safe.* What may have had an effect is made again only where the nonce keeps it from having a second.

   =================  ==========================================  ===========================
   the failure says   with one of these statuses                  it is retried for
   =================  ==========================================  ===========================
   *not processed*    UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED    every kind
   *maybe*            UNAVAILABLE, ABORTED                        kinds that run at most once
   *failed*           none: it is the answer                      none
   =================  ==========================================  ===========================

2. *Only what can get better by itself.* Every other status says the same of the same request, however often it is
   made, or says that nobody waits any more. So does the breach of a rule for messages, whatever its status (too many
   fields are RESOURCE_EXHAUSTED): the same bytes break it again. With *maybe*, the statuses are those of a store of
   outcomes that knows more a moment later; what a handler left uncertain is kept, and would only be replayed.
3. *Only where it can be sent.* Whether the connection still takes requests is for its driver to say, who sees it. The
   failure cannot: GOING_AWAY or TRANSPORT_LOST may as well be about a third party, passed on by a handler. Nor is a
   stream begun again of which an item has come: its reader would get that twice.
4. *Only within the budget.* All calls to one peer share its tokens. A failure that rules 1 to 3 let pass takes one, a
   success gives ``token_ratio`` of one back, and retries are made only while more than half of them are left. So a peer
   that only fails gets fewer than ``tokens / 2`` retries, however many calls there are, and one that fails often gets
   ``token_ratio`` more for each success: retries never multiply the load that made them necessary. The end of a
   session costs nothing: it fails every open call at once, and says nothing of the load that the peer can bear. Where
   calls have moved on to another session, what failed with the old one is made there at once, and not counted. Nor does
   what is executing elsewhere (*maybe*, ABORTED): when a server comes back that was killed, every payment that it was
   executing hears that, until leases are over.
5. *Not together.* The delay is drawn between nothing and ``first_delay * growth ** attempt``, at most
   ``longest_delay``. The peer's advice is a floor: the draw is added to it, or all that were refused in one moment
   would be back in one moment. Their sum is cut to ``longest_delay``, but never to less than the advice.
6. *Not too late.* A delay that would use up the call's time is not waited for: the failure is told at once.
7. *No surer in the end.* That the last attempt did nothing says nothing about those before it. So a call of which one
   attempt is *maybe* never ends as *not processed* (:func:`verdict`): whoever read that might pay in another way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ratatoskr.errors import Disposition, Failure, LocalProtocolError, Status
from ratatoskr.limits import MAX_REQUEST_TIMEOUT
from ratatoskr.messages import AnyKind, Rule

_NOT_PROCESSED = frozenset({Status.UNAVAILABLE, Status.RESOURCE_EXHAUSTED, Status.ABORTED})
_MAYBE = frozenset({Status.UNAVAILABLE, Status.ABORTED})
_BREACHES = frozenset(rule.failure("").reason for rule in Rule if rule.fault is None)
"""Reasons that are about the request's own bytes."""
_ENTROPY_BYTES = 4

_RANGES: dict[str, tuple[float, float]] = {
    "attempts": (1, 100),
    "first_delay": (0.001, MAX_REQUEST_TIMEOUT),
    "growth": (1, 10),
    "longest_delay": (0.001, MAX_REQUEST_TIMEOUT),
    "tokens": (3, 1000),
    "token_ratio": (0.001, 1),
}
"""What works: fewer than three tokens would never allow a retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, how soon and how much is retried. Times in seconds."""

    attempts: int = 4
    """How often a request is made at most, the first time included."""
    first_delay: float = 0.1
    """The longest delay before the first retry."""
    growth: float = 2.0
    """How much longer it becomes with each retry."""
    longest_delay: float = 5.0
    """The longest delay that the peer has not asked for."""
    tokens: int = 10
    """What the budget holds at most, and at the start."""
    token_ratio: float = 0.1
    """What a success gives back."""

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise LocalProtocolError(f"RetryPolicy.{name} must be from {least} to {most}")
        if self.first_delay > self.longest_delay:
            raise LocalProtocolError("RetryPolicy.first_delay <= RetryPolicy.longest_delay must hold")


DEFAULT_RETRIES = RetryPolicy()
"""What adapters do unless they are told otherwise."""
NO_RETRIES = RetryPolicy(attempts=1)
"""Every failure is told at once."""


class RetryBudget:
    """Decides about the retries of all calls to one peer. ``entropy(n)`` returns n unpredictable bytes."""

    __slots__ = ("_entropy", "_policy", "_tokens")

    def __init__(self, policy: RetryPolicy, entropy: Callable[[int], bytes]) -> None:
        self._policy = policy
        self._entropy = entropy
        self._tokens = float(policy.tokens)

    def succeeded(self) -> None:
        """A call to the peer got its answer."""
        self._tokens = min(self._policy.tokens, self._tokens + self._policy.token_ratio)

    def delay(
        self,
        kind: AnyKind,
        failure: Failure,
        *,
        attempt: int,
        remaining: float,
        takes_requests: bool,
        items: int = 0,
        moved: bool = False,
    ) -> float | None:
        """After how many seconds the request is to be made again, which may be 0.0; None where it is not.

        To be asked once for each failure. ``attempt`` is the number of the one that failed, 0 for the first, and
        ``failure`` its own, not a :func:`verdict`. ``remaining``: what is left of the call's time, in seconds.
        ``takes_requests``: whether the connection to retry on does. ``items``: how many a stream brought before.
        ``moved``: whether it failed in a session that another one has taken the place of.
        """
        if not takes_requests or items or not may_repeat(kind, failure):
            return None
        policy = self._policy
        if moved:
            return 0.0 if policy.attempts > 1 and remaining > 0 else None
        if failure.status is not Status.ABORTED or failure.disposition is not Disposition.MAYBE:
            self._tokens = max(0.0, self._tokens - 1)
        if attempt + 1 >= policy.attempts or self._tokens <= policy.tokens / 2:
            return None
        longest = policy.longest_delay
        jitter = self._random() * min(longest, policy.first_delay * policy.growth**attempt)
        advice = max(0.0, failure.retry_delay or 0.0)
        delay = max(advice, min(longest, advice + jitter))
        return delay if delay < remaining else None

    def _random(self) -> float:
        """From 0 to below 1."""
        return int.from_bytes(self._entropy(_ENTROPY_BYTES), "big") / (1 << 8 * _ENTROPY_BYTES)


def may_repeat(kind: AnyKind, failure: Failure) -> bool:
    """Whether making the request again is safe, and may end otherwise."""
    if failure.reason in _BREACHES:
        return False
    if failure.disposition is Disposition.NOT_PROCESSED:
        return failure.status in _NOT_PROCESSED
    return failure.disposition is Disposition.MAYBE and bool(kind.once) and failure.status in _MAYBE


def verdict(*failures: Failure) -> Failure:
    """What is told of a call whose attempts failed so, in this order: the last failure, no surer than any of them."""
    last = failures[-1]
    unsure = any(each.disposition is Disposition.MAYBE for each in failures)
    if unsure and last.disposition is Disposition.NOT_PROCESSED:
        return replace(last, disposition=Disposition.MAYBE)
    return last
