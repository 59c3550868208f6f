"""Footing: what the calls of one session stand on. A connection that a driver polls, or the session itself, without a
line, which is polled here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from ratatoskr.connection import Connection
from ratatoskr.events import Event, Wait
from ratatoskr.service.host import Host, Task
from ratatoskr.session import CallSurface, ResumableSession


class Footing:
    """Where calls are made, and who is woken then. ``on_event`` gets what is told, with the footing that it comes from.

    ``on_rest`` is called when a session without a line has been polled: what it holds may have changed.
    """

    def __init__(
        self,
        host: Host,
        on_event: Callable[[Footing, Event], None],
        on_rest: Callable[[ResumableSession], None] | None = None,
    ) -> None:
        self._host = host
        self._on_event = on_event
        self._on_rest = on_rest
        self._wake: Callable[[], None] = self._poll
        self._waiting: ResumableSession | None = None
        self._polling = False
        self._sleeper: Task | None = None
        self._wakes_at = inf
        self.session: int = 0
        """Counts the sessions that it stood on: one may take the place of another that the server does not know."""
        self.at: CallSurface
        """Where requests are made and answered."""
        self.connection: Connection
        """The last one that it stood on."""

    @property
    def waiting(self) -> ResumableSession | None:
        """The session, while it has no line."""
        return self._waiting

    def stand(self, connection: Connection, wake: Callable[[], None]) -> None:
        """On a connection, whose driver polls after ``wake`` and gives its events to :meth:`handle`."""
        self.at = self.connection = connection
        self._wake, self._waiting = wake, None
        self._rest()

    def wait(self, session: ResumableSession) -> None:
        """On a session that waits for a line."""
        self.at, self._wake, self._waiting = session, self._poll, session
        self._poll()

    def end(self) -> None:
        """There will be nothing more to poll."""
        self._waiting = None
        self._rest()

    def wake(self) -> None:
        """Something was asked or answered: poll, soon."""
        self._wake()

    def handle(self, connection: Connection, event: Event) -> None:
        """An event of a connection; not of one that another has replaced."""
        if self.at is connection:
            self._on_event(self, event)

    def _poll(self) -> None:
        if self._polling:  # an event made somebody ask: the loop below comes to it
            return
        self._polling = True
        try:
            while (session := self._waiting) is not None:
                event = session.poll(self._host.now())
                if not isinstance(event, Wait):
                    self._on_event(self, event)
                    continue
                if self._on_rest is not None:
                    self._on_rest(session)
                if not session.ended:  # else what that means for its calls is to be told
                    self._arm(event.until)
                    return
        finally:
            self._polling = False

    def _arm(self, until: float) -> None:
        if until < self._wakes_at:
            self._rest()
            self._wakes_at = until
            self._sleeper = self._host.spawn(self._sleep(until), _nothing)

    def _rest(self) -> None:
        self._wakes_at = inf
        if self._sleeper is not None:
            self._sleeper.cancel()
            self._sleeper = None

    async def _sleep(self, until: float) -> None:
        await self._host.sleep(max(0.0, until - self._host.now().mono))
        self._sleeper, self._wakes_at = None, inf
        self._poll()


def _nothing() -> None:
    """Who slept polls by itself."""
