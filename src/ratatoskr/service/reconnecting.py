"""Reconnecting: a client's lines, one after the other, for calls that outlive them.

The adapter dials and drives; when to, and when no more, is decided by :mod:`ratatoskr.service.redial`. While there is
no line, and after the server has said goodbye on one that still completes, calls wait on the session for the next line.
Whoever asks for something after a goodbye is connected at once: to spread clients over time is for those that need
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ratatoskr.errors import Fault
from ratatoskr.events import Closed
from ratatoskr.service.calls import Calls
from ratatoskr.service.host import Host, Level, Note, Signal
from ratatoskr.service.redial import Redial, Redialing


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a line has ended, or why there was none.

    ``going_away``: the server had said goodbye; the line may still complete what is open. ``advice``: seconds after
    which the server wants to see this client again, None where it said nothing.
    """

    fault: Fault
    detail: str
    going_away: bool = False
    advice: float | None = None


class Reconnecting:
    """Dials until it is not to, or stopped. ``dial`` opens a line for ``calls``, and returns when that has ended, or
    the server has said goodbye on it. It must not raise.
    """

    def __init__(self, calls: Calls, host: Host, policy: Redial, dial: Callable[[], Awaitable[Attempt]]) -> None:
        self._calls = calls
        self._host = host
        self._redialing = Redialing(policy, host.entropy)
        self._dial = dial
        self._pause: Signal | None = None
        self._until_asked = False

    async def run(self) -> Attempt:
        """Dial again and again. Returns the last attempt, after which there are no more."""
        while True:
            attempt = await self._dial()
            now = self._host.now().mono
            opened_at = self._calls.take_opened()
            if opened_at is not None:
                self._redialing.opened(opened_at)
            delay = self._redialing.after(attempt.fault, now, going_away=attempt.going_away, advice=attempt.advice)
            if delay is None:
                self._note(Level.WARNING, "line.given_up", f"{attempt.detail}; there is no other try")
                self._calls.give_up(Closed(attempt.fault, "redial", attempt.detail))
                return attempt
            self._note(Level.INFO, "line.lost", f"{attempt.detail}; the next try is in {delay:.1f} s")
            await self._wait(delay, until_asked=attempt.going_away)

    def asked(self) -> None:
        """Something waits for a line."""
        if self._until_asked:
            self.hurry()

    def hurry(self) -> None:
        """Dial now, if it waits to."""
        pause, self._pause = self._pause, None
        if pause is not None:
            self._redialing.hurried(self._host.now().mono)
            pause.set()

    async def _wait(self, seconds: float, *, until_asked: bool) -> None:
        self._pause = pause = self._host.signal()
        self._until_asked = until_asked
        session = self._calls.waiting
        if session is not None and session.queued:  # since before it came here
            self.asked()
        sleeper = self._host.spawn(self._sleep(seconds, pause), _nothing)
        try:
            await pause.wait()
        finally:
            self._pause = None
            sleeper.cancel()

    async def _sleep(self, seconds: float, pause: Signal) -> None:
        await self._host.sleep(seconds)
        pause.set()

    def _note(self, level: Level, event: str, text: str) -> None:
        self._host.log(Note(level, event, text))


def _nothing() -> None:
    """Who waits is woken by the signal."""
