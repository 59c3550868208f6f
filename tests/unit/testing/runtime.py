"""A runtime that is none of those that there are: what is awaited of it are traps."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Trap:
    """What a runtime would have to do something about: it answers with a value, or with an error."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __await__(self) -> Generator[Trap, Any, Any]:
        return (yield self)


def drive(coroutine: Coroutine[Any, Any, T], answer: Callable[[str], Any]) -> T:
    """A runtime that knows traps alone. ``answer`` may raise, and that is thrown in."""
    value: Any = None
    error: BaseException | None = None
    while True:
        try:
            trap = coroutine.send(value) if error is None else coroutine.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        value = error = None
        try:
            value = answer(trap.name)
        except BaseException as raised:  # noqa: BLE001 - a runtime throws what it likes
            error = raised
