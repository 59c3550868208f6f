"""Courier: sends what is in an outbox over one link, until everything has its outcome."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import Message

from ratatoskr.errors import CallError, Disposition, Failure, LocalProtocolError, Status
from ratatoskr.identity import Certificate
from ratatoskr.messages import AnyKind
from ratatoskr.service.host import Host, Level, Note, Task
from ratatoskr.service.link import CourierLink
from ratatoskr.service.outbox.outbox import Outbox, settlement_of
from ratatoskr.service.outbox.owner import owner_of
from ratatoskr.service.outbox.policy import judge
from ratatoskr.service.outbox.schedule import Schedule
from ratatoskr.service.outbox.states import POSTING, Posting, PostingInput
from ratatoskr.service.outbox.store import Head, OutboxInUse, Parcel, Settlement

_SENDER_BYTES = 16
_REFERENCE_BYTES = 4


class Courier:
    """An ``async with`` block in which the outbox is sent. There is one at a time for an outbox, in all processes.

    The connection may be lost, and another one come; in between nothing is sent, and what expires is told. At the end
    of the block nothing more is sent, and what is on its way is waited for: close the connection before, which ends it.
    Where an exception ends the block, it is not waited for; what became of it the next courier asks.

    ``certificate``: of the identity that asks over the link. The outbox is that identity's from then on.

    The block's head raises :class:`OutboxInUse` where another courier is at work, LocalProtocolError where something
    without an outcome is in an outbox that is another identity's.
    """

    def __init__(self, outbox: Outbox, link: CourierLink, host: Host, certificate: Certificate) -> None:
        self._outbox = outbox
        self._link = link
        self._host = host
        self._sender = host.entropy(_SENDER_BYTES)
        self._owner = owner_of(certificate)
        self._schedule = Schedule(outbox.policy, host.entropy)
        self._tasks: dict[object, Task | None] = {}
        self._stopping = False

    async def __aenter__(self) -> Self:
        try:
            locked = await self._outbox.store.lock(self._sender)
            if locked:
                await self._outbox.bind(self._owner)
        except BaseException:  # it may be locked
            await self._outbox.store.unlock(self._sender)
            raise
        if not locked:
            raise OutboxInUse("another connection sends from this outbox, here or in another process: one at a time")
        self._link.on_open = self.hurry
        self._spawn(self._work())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        self._link.on_open = None
        self._outbox.news.fire()
        try:
            if error is not None:
                self._cancel()
            while self._tasks:
                await self._outbox.news.wait(self._outbox.news.count, self._outbox.policy.check_every)
        except BaseException:
            self._cancel()
            raise
        finally:
            await self._outbox.store.unlock(self._sender)

    def hurry(self) -> None:
        """There is a connection again: what waits for its next attempt is sent now, where the peer has not asked for
        more patience. Whoever opens connections need not call this.
        """
        self._schedule.hurry()
        self._outbox.news.fire()

    def _cancel(self) -> None:
        for task in filter(None, list(self._tasks.values())):
            task.cancel()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        token = object()
        self._tasks[token] = None

        def ended() -> None:
            del self._tasks[token]
            self._outbox.news.fire()

        task = self._host.spawn(coroutine, ended)
        if token in self._tasks:
            self._tasks[token] = task

    async def _work(self) -> None:
        """Send what is due; look again when something changes, and when it is time."""
        news, policy, schedule = self._outbox.news, self._outbox.policy, self._schedule
        while True:
            seen = news.count
            heads = await self._heads()
            if self._stopping:
                return
            seconds = policy.check_every
            if self._link.connected:
                for head in schedule.pick(heads, self._host.now().mono):
                    self._spawn(self._carry(head))
                seconds = min(seconds, schedule.next_in(self._host.now().mono))
            await news.wait(seen, seconds)

    async def _heads(self) -> list[Head]:
        try:
            await self._outbox.expire(self._schedule.busy, self._link.retention)
            return await self._outbox.store.heads()
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._note("outbox.store", "the outbox cannot be read", error)
            return []

    async def _carry(self, head: Head) -> None:
        """One attempt."""
        again, advice = True, None
        try:
            failure = await self._attempt(head.id)
            again = failure is not None
            advice = failure.retry_delay if failure else None
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            self._note("outbox.attempt", f"post {head.id} could not be sent, and will be tried again", error)
        finally:
            if again:
                self._schedule.postpone(head.id, self._host.now().mono, advice)
            else:
                self._schedule.finish(head.id)

    async def _attempt(self, id: int) -> Failure | None:
        """Send a post once. Returns why it must be sent again; None where it need not be, or its state is another."""
        outbox = self._outbox
        parcel = await outbox.store.get(id)
        if parcel is not None and parcel.state is Posting.SENT:
            await outbox.move(parcel, PostingInput.FOUND)
            parcel = await outbox.store.get(id)
        now, said = self._host.now().wall, self._link.retention
        if parcel is None or outbox.policy.ending(parcel, now, said) is not None:
            return None
        kind, message = outbox.read(parcel)
        if message.SerializeToString(deterministic=True) != parcel.payload:  # it would conflict with itself
            raise LocalProtocolError(f"{kind.name} is encoded in another way than when it was posted")
        if not await outbox.move(parcel, PostingInput.SEND):
            return None
        parcel = replace(parcel, state=POSTING[parcel.state, PostingInput.SEND])
        input, outcome = await self._exchange(parcel, kind, message)
        if isinstance(outcome, Failure) and input is not PostingInput.OUTCOME:
            await outbox.move(parcel, input)
            return outcome
        assert isinstance(outcome, Settlement)
        await outbox.move(parcel, PostingInput.OUTCOME, outcome)
        return None

    async def _exchange(
        self, parcel: Parcel, kind: AnyKind, message: Message
    ) -> tuple[PostingInput, Failure | Settlement]:
        """What one call over the link means for the post."""
        try:
            exchange = await self._link.exchange(
                kind,
                message,
                timeout=self._outbox.policy.timeout,
                key=parcel.key if kind.once is True else None,
                expires_at=parcel.expires_at,
                metadata=dict(parcel.metadata),
                issued_at=parcel.issued_at,
            )
        except CallError as error:
            input, failure = judge(kind, parcel.state, error)
        except LocalProtocolError as error:
            self._note("outbox.unsendable", f"post {parcel.id} cannot be sent", error)
            refused = CallError.of(_unsendable(error))
            input, failure = judge(kind, parcel.state, refused)
        else:
            return PostingInput.OUTCOME, settlement_of(exchange.message, exchange.receipt())
        return input, failure if input is not PostingInput.OUTCOME else settlement_of(failure)

    def _note(self, event: str, text: str, error: Exception) -> None:
        reference = self._host.entropy(_REFERENCE_BYTES).hex()
        self._host.log(Note(Level.ERROR, event, text, reference, error))


def _unsendable(error: LocalProtocolError) -> Failure:
    """What the link takes for misuse was not sent; nor will it ever be."""
    return Failure(Status.FAILED_PRECONDITION, "UNSENDABLE", str(error), Disposition.NOT_PROCESSED)
