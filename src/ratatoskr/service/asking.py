"""Asking: the calls that this side makes over one connection, and who waits for their outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, Unpack, cast

from google.protobuf.message import Message

from ratatoskr.errors import CallError, CallRefused, Disposition, Failure, Fault, LocalProtocolError, Status, WouldBlock
from ratatoskr.events import Closed, ItemReceived, RequestFailed, RequestId, ResponseReceived, StreamEnded
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Kind, Receipt, ReceiptRefused
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.service.footing import Footing
from ratatoskr.service.host import Host, Signal
from ratatoskr.service.link import CallOptions
from ratatoskr.service.pending import Exchange, PendingCalls
from ratatoskr.service.retry import RetryBudget, RetryPolicy, verdict
from ratatoskr.service.stream import Stream
from ratatoskr.service.turns import Turns
from ratatoskr.session import CallSurface
from ratatoskr.session.lanes import URGENT

Ask: TypeAlias = Callable[[CallSurface, float], RequestId]
"""Makes a request there, which may take so many seconds."""

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Waiter:
    """Somebody who waits for the outcome of a call that has one answer."""

    __slots__ = ("outcome", "signal")

    def __init__(self, signal: Signal) -> None:
        self.signal: Signal = signal
        self.outcome: Exchange[Any] | CallError | None = None


class Asker:
    """Makes calls, on the footing of the moment. ``on_refusal``: the footing takes no more of them."""

    def __init__(self, host: Host, limits: Limits, retry: RetryPolicy, on_refusal: Callable[[], None]) -> None:
        self.footing: Footing
        """The latest; where a call is made now, unless it takes none any more."""
        self.sessions: set[Footing] = set()
        """Footings whose sessions have not ended."""
        self.host: Host = host
        self.limits: Limits = limits
        self.retries: RetryBudget = RetryBudget(retry, host.entropy)
        self.pending: PendingCalls[Waiter | Stream[Any]] = PendingCalls()
        self.turns: Turns = Turns(host)
        self.sealed: Broadcast = Broadcast(host)
        self.closed: Closed | None = None
        self._on_refusal = on_refusal

    @property
    def place(self) -> Footing:
        """Where a call is made now.

        A session may have ended that its connection does not yet say: whoever lasts waits for no news of that.
        """
        if not self.footing.at.takes_requests:
            self._on_refusal()
        return self.footing

    async def exchange(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Exchange[Res]:
        """Ask, and wait for the outcome."""
        if kind.stream:
            raise LocalProtocolError(f"{kind} is a stream: async with peer.stream({kind.name}, …)")
        call = _Call(self, kind, lambda at, timeout: at.request(kind, message, **_within(options, timeout)), options)
        waiter = Waiter(self.host.signal())
        await call.make(waiter)
        while True:
            try:
                await waiter.signal.wait()
            finally:
                if waiter.outcome is None:
                    call.abandon()
            outcome = waiter.outcome
            assert outcome is not None
            if not isinstance(outcome, CallError):
                self.retries.succeeded()
                return outcome
            waiter = Waiter(self.host.signal())
            await call.remake(waiter, outcome)

    def stream(
        self, kind: Kind[Req, Res], message: Req, *, credit: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[Res]:
        """Ask for a stream."""
        if not kind.stream:
            raise LocalProtocolError(f"{kind} is no stream: await peer.request({kind.name}, …)")

        def ask(at: CallSurface, timeout: float) -> RequestId:
            return at.request(kind, message, credit=credit, **_within(options, timeout))

        return Stream(_Call(self, kind, ask, options), credit or self.limits.stream_credit)

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        """The receipt of an answer, once its seal has come."""
        while True:
            receipt = exchange.receipt()
            if receipt is not None:
                return receipt
            if all(each.at.session_id != exchange.evidence.session_id for each in self.sessions):
                raise ReceiptRefused("receipt.unsealed", "the session ended before the peer sealed this answer")
            await self.sealed.wait()

    async def queue(self, request: Ask, timeout: float, *, urgent: bool) -> tuple[RequestId, Footing]:
        """Make a request. Where too many wait to be sent, wait for a place among them, which takes of its time.

        A place comes at the latest when the time of one that waits before it is over. ``urgent``: wait behind nobody.
        """
        until = self.host.now().mono + timeout
        turns, first = self.turns, urgent
        while self.closed is None:
            if first or not len(turns):
                blocked = False
                try:
                    place = self.place
                    return request(place.at, timeout), place
                except WouldBlock:
                    blocked = True
                finally:
                    if not blocked:
                        turns.next()
            await turns.wait(first=first)
            first = True
            timeout = until - self.host.now().mono
            if timeout <= 0:
                turns.next()
                raise CallRefused(_NO_PLACE)
        raise CallRefused(_ended(self.closed))

    def item(self, event: ItemReceived) -> None:
        """An item has come."""
        stream = self.pending.get(event.id)
        if isinstance(stream, Stream):
            stream.put(event)

    def settle(self, event: ResponseReceived | StreamEnded | RequestFailed) -> None:
        """An outcome has come."""
        settled = self.pending.settle(event)
        if settled is None:
            return
        waiter, outcome, _ = settled
        if isinstance(waiter, Waiter):
            waiter.outcome = outcome
            waiter.signal.set()
        else:
            waiter.settle(cast("CallError | None", outcome))

    def leave(self, footing: Footing) -> None:
        """A session has ended; every call of it has its outcome by now, or goes on elsewhere."""
        self.sessions.discard(footing)
        self.sealed.fire()

    def close(self, closed: Closed) -> None:
        """There will be no other connection."""
        self.closed = closed
        self.turns.end()


class _Call:
    """One call, made as often as its connection's policy allows within its time."""

    def __init__(self, asker: Asker, kind: AnyKind, ask: Ask, options: CallOptions) -> None:
        timeout = options.get("timeout")
        self._asker = asker
        self._kind = kind
        self._urgent = kind.type == URGENT
        self._ask = ask
        self._timeout = asker.limits.request_timeout if timeout is None else timeout
        self._deadline = 0.0
        self._again_at: float | None = None
        self._failures: list[Failure] = []
        self._id: RequestId | None = None
        self._footing: Footing | None = None
        self._session = 0
        self._attempts = 0

    async def make(self, waiter: Waiter | Stream[Any]) -> None:
        """Ask. Raises CallError."""
        if self._id is not None:
            raise LocalProtocolError("a stream is read once: ask for another one")
        self._deadline = self._asker.host.now().mono + self._timeout
        self._add(waiter, *await self._asker.queue(self._ask, self._timeout, urgent=self._urgent))

    async def remake(self, waiter: Waiter | Stream[Any], error: CallError, came: int = 0) -> None:
        """Ask once more after a failure, which came behind so many items. Raises CallError where that is not to be.

        Whoever gives up waiting for that may come back to it.
        """
        asker, id = self._asker, self._id
        assert id is not None
        if self._again_at is None:
            self._again_at = self._judge(error, came)
        await asker.host.sleep(max(0.0, self._again_at - asker.host.now().mono))
        left = self._deadline - asker.host.now().mono
        if left <= 0:
            raise CallError.of(verdict(*self._failures))
        try:
            again = await asker.queue(lambda at, timeout: at.retry(id, timeout=timeout), left, urgent=self._urgent)
        except CallRefused as refused:  # that this attempt did nothing says nothing of those before it
            raise CallError.of(verdict(*self._failures, refused.failure)) from None
        self._again_at = None
        self._add(waiter, *again)

    def _judge(self, error: CallError, came: int) -> float:
        """When to ask once more, in seconds of the monotonic clock. Raises CallError where that is not to be."""
        asker, now, place = self._asker, self._asker.host.now().mono, self._asker.place
        self._failures.append(error.failure)
        elsewhere = place is not self._footing or place.session != self._session
        moved = elsewhere and error.failure.reason in _ENDS
        self._attempts += not moved
        delay = asker.retries.delay(
            self._kind,
            error.failure,
            attempt=self._attempts - 1,
            remaining=self._deadline - now,
            moved=moved,
            takes_requests=asker.closed is None and place.at.takes_requests,
            items=came,
        )
        if delay is None:
            raise CallError.of(verdict(*self._failures), replayed=error.replayed)
        return now + delay

    def _add(self, waiter: Waiter | Stream[Any], id: RequestId, footing: Footing) -> None:
        self._id, self._footing, self._session = id, footing, footing.session
        self._asker.pending.add(id, waiter)
        footing.wake()

    def grant(self, items: int) -> None:
        """So many were taken: as many may come."""
        assert self._id is not None
        assert self._footing is not None
        self._footing.at.grant(self._id, items)
        self._footing.wake()

    def succeeded(self) -> None:
        """The answer is complete."""
        self._asker.retries.succeeded()

    def abandon(self) -> None:
        """Nobody waits for the outcome any more: cancel the call."""
        assert self._id is not None
        assert self._footing is not None
        self._asker.pending.forget(self._id)
        self._footing.at.cancel(self._id)
        self._footing.wake()

    def signal(self) -> Signal:
        """Something to wait for."""
        return self._asker.host.signal()


_ENDS = frozenset(fault.name for fault in Fault)
"""Reasons of failures that are about a session's end. What waited there and went on elsewhere fails for others."""
_NO_PLACE = Failure(
    Status.DEADLINE_EXCEEDED,
    "TIMEOUT",
    "too many requests waited to be sent until the time of this one was over",
    Disposition.NOT_PROCESSED,
)


def _within(options: CallOptions, timeout: float) -> CallOptions:
    """The options of an attempt that has so many seconds."""
    return {**options, "timeout": timeout}


def _ended(closed: Closed) -> Failure:
    message = f"the connection has ended ({closed.fault.meaning}): connect again"
    return Failure(Status.UNAVAILABLE, closed.fault.name, message, Disposition.NOT_PROCESSED)
