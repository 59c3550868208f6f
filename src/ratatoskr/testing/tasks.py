"""Tasks for tests: handlers that run inside the call that waits for them, in virtual time, under any runtime or none.

A handler's coroutine is stepped by whoever waits for something of the service. What a handler awaits of the service
parks it until that has happened. What it awaits of a runtime, such as ``asyncio.sleep``, is passed on to the runtime of
the test, which waits for it in the handler's place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from math import inf
from typing import Any

from ratatoskr.errors import LocalProtocolError


class Stopped(BaseException):
    """Raised inside a handler that is stopped, where a runtime would raise its own exception for that."""


class _Park:
    """Awaited by a handler that waits for a signal, or with None for its next turn."""

    def __init__(self, signal: Signal | None) -> None:
        self.signal = signal

    def __await__(self) -> Generator[_Park, None, None]:
        yield self


class _Passed:
    """Awaited in the place of a handler that waits for the runtime of the test."""

    def __init__(self, yielded: Any) -> None:
        self._yielded = yielded

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self._yielded)


class Signal:
    """Something that happens once."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self.waiting: list[Task] = []
        self.is_set: bool = False

    def set(self) -> None:
        """It happens."""
        self.is_set = True
        for task in self.waiting:
            self._tasks.ready.append(task)
        self.waiting.clear()

    async def wait(self) -> None:
        """Wait until it has happened."""
        while not self.is_set:
            await self._tasks.wait(self)


class Task:
    """One handler."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], tasks: Tasks, done: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._tasks = tasks
        self._done = done
        self._parked: Signal | None = None
        self._away = False
        self._stopped = False

    def cancel(self) -> None:
        """Stop it when it goes on; where it waits for the service, that is soon."""
        self._stopped = True
        if self._parked is not None:
            self._parked.waiting.remove(self)
            self._parked = None
            self._tasks.ready.append(self)

    def stop(self) -> None:
        """Stop it here and now; what it awaits on its way out does not come."""
        if self._away:  # whoever waits for that in its place would never go on
            self.cancel()
            return
        try:
            self._step(None, Stopped())
        except (StopIteration, Stopped):
            pass
        else:
            self._coroutine.close()
            self._end()

    async def run(self) -> None:
        """Run it until it waits for the service or has ended."""
        self._parked = None
        value: Any = None
        error: BaseException | None = None
        while True:
            if self._stopped:
                self._stopped, error = False, Stopped()
            try:
                yielded = self._step(value, error)
            except (StopIteration, Stopped):
                return
            value = error = None
            if isinstance(yielded, _Park):
                self._park(yielded.signal)
                return
            self._away = True
            try:
                value = await _Passed(yielded)
            except BaseException as raised:  # noqa: BLE001 - the handler's to deal with
                error = raised
            self._away = False

    def _step(self, value: Any, error: BaseException | None) -> Any:
        self._tasks.inside = True
        try:
            return self._coroutine.send(value) if error is None else self._coroutine.throw(error)
        except BaseException:
            self._end()
            raise
        finally:
            self._tasks.inside = False

    def _end(self) -> None:
        self._tasks.ended(self)
        self._done()

    def _park(self, signal: Signal | None) -> None:
        if signal is None or signal.is_set or self._stopped:
            self._tasks.ready.append(self)
        else:
            self._parked = signal
            signal.waiting.append(self)


class Tasks:
    """All handlers of a test. ``advance(seconds)`` lets things happen, and ``next_in()`` says when the next will."""

    def __init__(self, advance: Callable[[float], None], next_in: Callable[[], float]) -> None:
        self._advance = advance
        self._next_in = next_in
        self._running = 0
        self._alive: dict[Task, None] = {}
        self.ready: deque[Task] = deque()
        self.inside: bool = False
        """Whether a handler's own code runs right now."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> Task:
        """A handler that runs when somebody waits."""
        task = Task(coroutine, self, done)
        self._alive[task] = None
        self.ready.append(task)
        return task

    def ended(self, task: Task) -> None:
        """It has."""
        del self._alive[task]

    def stop(self) -> None:
        """Stop all handlers. Nothing where one of them asks for that."""
        if self.inside:
            return
        self.ready.clear()
        for task in list(self._alive):
            task.stop()

    async def pause(self) -> None:
        """Let others run."""
        if self.inside:
            await _Park(None)

    async def wait(self, signal: Signal) -> None:
        """Let things happen until the signal may be set. A handler parks; the test itself runs handlers, then time.

        Raises LocalProtocolError where it waits for a handler that waits for another task of the runtime.
        """
        if self.inside:
            await _Park(signal)
            return
        self._advance(0.0)
        if signal.is_set:
            return
        if self.ready:
            await self._run_next()
        elif self._running:
            raise LocalProtocolError(
                "this request waits for one that another task has made; local_client runs handlers inside the "
                "call that asks for them: make the requests one after the other, or test over a real transport"
            )
        else:
            ahead = self._next_in()
            if ahead == inf:
                raise LocalProtocolError("this waits for ever: nothing is on its way, and no deadline is ahead")
            self._advance(ahead)

    async def settle(self) -> None:
        """Let happen what happens now, and run the handlers that can go on. Nothing where one of them asks for that."""
        if self.inside:
            return
        self._advance(0.0)
        while self.ready:
            await self._run_next()
            self._advance(0.0)

    async def _run_next(self) -> None:
        self._running += 1
        try:
            await self.ready.popleft().run()
        finally:
            self._running -= 1
