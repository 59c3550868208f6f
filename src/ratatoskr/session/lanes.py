"""Two lanes: payments overtake everything else, and nothing overtakes within a lane."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from ratatoskr.messages import AnyKind, MessageType

T = TypeVar("T")

_PAYMENT = int(MessageType.PAYMENT_REQUEST)


def is_urgent(kind: AnyKind | None) -> bool:
    """Whether messages of that kind take the fast lane."""
    return kind is not None and kind.type == _PAYMENT


class Lanes(Generic[T]):
    """A queue of two lanes."""

    __slots__ = ("_others", "_urgent")

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._others: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def __iter__(self) -> Iterator[T]:
        yield from self._urgent
        yield from self._others

    def put(self, item: T, *, urgent: bool) -> None:
        """To the end of its lane."""
        (self._urgent if urgent else self._others).append(item)

    def first(self) -> T | None:
        """Who is next."""
        lane = self._urgent or self._others
        return lane[0] if lane else None

    def pop(self) -> T:
        """Take who is next."""
        return (self._urgent or self._others).popleft()

    def remove(self, item: T, *, urgent: bool) -> None:
        """Take one out of its lane."""
        (self._urgent if urgent else self._others).remove(item)

    def clear(self) -> None:
        """Empty both."""
        self._urgent.clear()
        self._others.clear()
