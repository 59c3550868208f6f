"""The inbox: events on their way to the application.

A number is acknowledged when its event has been taken, not when it arrived. Events come out in the order of the
numbers that brought them; those of a flight that breaks a rule are taken back.
"""

from __future__ import annotations

from collections import deque

from ratatoskr.events import Event, RequestId, RequestReceived


class Inbox:
    """Events, oldest first. The last one that a message brings carries its number; the others carry 0."""

    __slots__ = ("_events", "delivered")

    def __init__(self) -> None:
        self._events: deque[tuple[int, Event | None]] = deque()
        self.delivered: int = 0
        """The highest number whose event the application was given."""

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event | None, number: int = 0) -> None:
        """Queue an event. None where a message brings none, and is yet to be acknowledged in order."""
        self._events.append((number, event))

    def take(self) -> Event | None:
        """The next event. What it is about counts as delivered from now on."""
        events = self._events
        while events:
            number, event = events.popleft()
            if number:
                self.delivered = number
            if event is not None:
                return event
        return None

    def cut(self, length: int) -> list[Event]:
        """Take back all but the first ``length``; returns the events among them, the last first."""
        taken = []
        while len(self._events) > length:
            _, event = self._events.pop()
            if event is not None:
                taken.append(event)
        return taken

    def withdraw(self, id: RequestId) -> bool:
        """Take back the request ``id``, if the application was not given it yet. Whether it was so."""
        for at, (number, event) in enumerate(self._events):
            if isinstance(event, RequestReceived) and event.id is id:
                self._events[at] = (number, None)
                return True
        return False
