"""Two lanes: payments overtake everything else, and nothing overtakes within a lane."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from ratatoskr.messages import MessageType

T = TypeVar("T")

URGENT = int(MessageType.PAYMENT_REQUEST)
"""Messages of this type take the fast lane."""


class Lanes(Generic[T]):
    """A queue of two lanes."""

    __slots__ = ("_others", "_urgent", "count")

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._others: deque[T] = deque()
        self.count: int = 0
        """How many wait."""

    def __iter__(self) -> Iterator[T]:
        yield from self._urgent
        yield from self._others

    def put(self, item: T, *, urgent: bool) -> None:
        """To the end of its lane."""
        (self._urgent if urgent else self._others).append(item)
        self.count += 1

    def first(self) -> T | None:
        """Who is next."""
        lane = self._urgent or self._others
        return lane[0] if lane else None

    def pop(self) -> T:
        """Take who is next."""
        self.count -= 1
        return (self._urgent or self._others).popleft()

    def remove(self, item: T, *, urgent: bool) -> None:
        """Take one out of its lane."""
        (self._urgent if urgent else self._others).remove(item)
        self.count -= 1

    def clear(self) -> None:
        """Empty both."""
        self._urgent.clear()
        self._others.clear()
        self.count = 0
