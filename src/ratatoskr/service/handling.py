"""Handling: the calls that the peer makes over one connection, and the handlers that run for them.

1. Handlers begin when all that has arrived is read, payments first. A request that is cancelled by then begins nothing.
2. A handler whose caller cancels, whose time is over, or whose connection ends, is stopped, once: what it does then to
   end in order is not interrupted. One that runs at most once goes on, whatever becomes of its caller: its outcome is
   kept for whoever asks again. A line that is lost stops nothing while the session waits for another one.
3. A handler that ends without an answer was stopped, and its call is ended for it. So every call ends and frees its
   slot, but not before its handler has ended.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from google.protobuf.message import Message

from ratatoskr.errors import Disposition, Failure, Status, WouldBlock
from ratatoskr.events import RequestId, RequestReceived
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.service.dispatch import Service
from ratatoskr.service.footing import Footing
from ratatoskr.service.host import Host, Task
from ratatoskr.service.link import PeerLink
from ratatoskr.session.lanes import URGENT

CANCELLED = Failure(Status.CANCELLED, "CANCELLED", "the handler was stopped, as its caller wished", Disposition.MAYBE)
EXPIRED = Failure(Status.DEADLINE_EXCEEDED, "TIMEOUT", "the handler did not answer in time", Disposition.MAYBE)
STOPPED = Failure(Status.UNAVAILABLE, "STOPPED", "the handler was stopped before it was done", Disposition.MAYBE)


class Handlers:
    """Runs handlers, and takes their answers to the session that the request came by."""

    def __init__(self, service: Service, host: Host) -> None:
        self._service = service
        self._host = host
        self._arrived: dict[RequestId, RequestReceived] = {}
        self._footings: dict[RequestId, Footing] = {}
        """Where a request is answered; there is nothing to answer where its session has ended."""
        self._running: dict[RequestId, Task | None] = {}
        """What is to be cancelled to stop a handler; None where it is being spawned, or was cancelled."""
        self._wishes: dict[RequestId, Failure] = {}
        """Why a handler is being stopped."""
        self._rooms: dict[RequestId, Broadcast] = {}

    def arrive(self, event: RequestReceived, footing: Footing) -> None:
        """A request has come."""
        self._arrived[event.id] = event
        self._footings[event.id] = footing

    def begin(self, link: PeerLink) -> None:
        """Begin the handlers of all that has arrived."""
        if not self._arrived:
            return
        arrived = sorted(self._arrived.values(), key=lambda event: event.kind.type != URGENT)
        self._arrived.clear()
        for event in arrived:
            job = self._service.job(link, event)
            if job.once:
                self._host.spawn(job.run(), _nothing)
                continue
            self._running[job.id] = None
            task = self._host.spawn(job.run(), partial(self._ended, job.id))
            if job.id in self._running:
                self._running[job.id] = task

    def stop(self, id: RequestId, why: Failure) -> None:
        """Nobody wants the answer any more: ``why`` becomes of the call."""
        if self._arrived.pop(id, None) is not None:
            self.fail(id, not_begun(why))
            return
        if id in self._running:
            self._wishes.setdefault(id, why)
            self._cancel(id)

    def leave(self, footing: Footing) -> None:
        """A session has ended: nobody waits for the answers to what came by it."""
        for id in [id for id, each in self._footings.items() if each is footing]:
            self._arrived.pop(id, None)
            del self._footings[id]
            self._cancel(id)

    def _cancel(self, id: RequestId) -> None:
        task = self._running.get(id)
        if task is not None:
            self._running[id] = None
            task.cancel()

    def respond(self, id: RequestId, message: Message | None = None, *, replayed: bool = False) -> None:
        """Give the last answer."""
        footing = self._footings.get(id)
        if footing is not None:
            footing.at.respond(id, message, replayed=replayed)
        self._done(id)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a request without an answer."""
        footing = self._footings.get(id)
        if footing is not None:
            footing.at.fail(id, failure, replayed=replayed)
        self._done(id)

    def _done(self, id: RequestId) -> None:
        self._running.pop(id, None)
        self._wishes.pop(id, None)
        footing = self._footings.pop(id, None)
        if footing is not None:
            footing.wake()

    async def send(self, id: RequestId, item: Message) -> None:
        """Send an item of a stream, once there is room for it."""
        while (footing := self._footings.get(id)) is not None:
            try:
                footing.at.respond(id, item, last=False)
            except WouldBlock:
                await self._rooms.setdefault(id, Broadcast(self._host)).wait()
            else:
                footing.wake()
                return

    def has_room(self, id: RequestId) -> None:
        """There is room for items of a stream again."""
        room = self._rooms.get(id)
        if room is not None:
            room.fire()

    def _ended(self, id: RequestId) -> None:
        self._rooms.pop(id, None)
        if id in self._running:
            self.fail(id, self._wishes.get(id, STOPPED))


def not_begun(why: Failure) -> Failure:
    """What becomes of a call whose handler is not wanted before it has begun."""
    return replace(why, message="the handler was not begun", disposition=Disposition.NOT_PROCESSED)


def _nothing() -> None:
    """What runs at most once answers by itself, or another one answers for it."""
