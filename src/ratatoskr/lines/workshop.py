"""The workshop: where handlers run. One for a server with all its connections, one for a client."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from math import inf
from typing import Any, Self, TypeVar

from ratatoskr.config import Config
from ratatoskr.errors import LocalProtocolError
from ratatoskr.lines.runtime import Runtime
from ratatoskr.service import (
    Calls,
    Courier,
    Directory,
    Level,
    MemoryStore,
    Note,
    OncePolicy,
    OnceStore,
    Outbox,
    PeerLink,
    RetryPolicy,
    Router,
    Service,
    Signal,
    Task,
)
from ratatoskr.service.broadcast import Broadcast
from ratatoskr.session import ResumableSession
from ratatoskr.timers import Now

T = TypeVar("T")


class Bench:
    """A host that knows what was spawned on it and has not ended."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ended = Broadcast(runtime)
        self.tasks: dict[object, Task | None] = {}
        """What was spawned; None while it is being spawned, and when it was cancelled."""

    def now(self) -> Now:
        """Both clocks."""
        return self._runtime.now()

    def entropy(self, size: int, /) -> bytes:
        """Unpredictable bytes."""
        return self._runtime.entropy(size)

    async def sleep(self, seconds: float, /) -> None:
        """Let time pass."""
        await self._runtime.sleep(seconds)

    def signal(self) -> Signal:
        """Something to wait for."""
        return self._runtime.signal()

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> Task:
        """Run a coroutine by itself."""
        token = object()
        self.tasks[token] = None

        def ended() -> None:
            del self.tasks[token]
            done()
            self._ended.fire()

        task = self._runtime.spawn(coroutine, ended)
        if token in self.tasks:
            self.tasks[token] = task
        return task

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Run what blocks where it blocks nobody."""
        return await self._runtime.run_in_thread(function)

    def log(self, note: Note, /) -> None:
        """Take a note."""
        self._runtime.log(note)

    async def rest(self, seconds: float = inf) -> None:
        """Wait until nothing runs any more, for so long at most."""
        until = self.now().mono + seconds
        alarm = None if until == inf else self._runtime.alarm(until, self._ended.fire)
        try:
            while self.tasks and self.now().mono < until:
                await self._ended.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    def cancel(self) -> None:
        """Cancel what runs."""
        for token, task in list(self.tasks.items()):
            if task is not None:
                self.tasks[token] = None
                task.cancel()


class Workshop:
    """The service, its upkeep, and the tasks of handlers.

    Handlers that run at most once outlive the connection that asked for them, because their outcome is owed to the
    next one that asks. An ``async with`` block keeps the store in order; at its end no handler is left.
    """

    def __init__(
        self,
        router: Router | None,
        config: Config,
        store: OnceStore | None,
        retry: RetryPolicy,
        runtime: Runtime,
        directory: Directory[PeerLink] | None = None,
        policy: OncePolicy | None = None,
    ) -> None:
        policy = policy or OncePolicy(retention=config.retention)
        if policy.retention != config.retention:
            raise LocalProtocolError(
                f"policy keeps outcomes for {policy.retention:g} s and the configuration announces "
                f"{config.retention:g} s: say the same in Config.retention"
            )
        self.runtime: Runtime = runtime
        self.bench: Bench = Bench(runtime)
        self._certificate = config.identity.certificate
        self._limits = config.limits
        self._retry = retry
        self._service = Service(
            Router() if router is None else router,
            host=self.bench,
            store=MemoryStore() if store is None else store,
            policy=policy,
            directory=directory,
        )
        self._upkeep = Bench(runtime)

    def calls(
        self,
        *,
        renew: Callable[[], ResumableSession] | None = None,
        on_rest: Callable[[ResumableSession], None] | None = None,
        on_end: Callable[[], None] | None = None,
    ) -> Calls:
        """The calls of one peer, whose handlers run here."""
        return Calls(
            self._service,
            self.bench,
            limits=self._limits,
            retry=self._retry,
            renew=renew,
            on_rest=on_rest,
            on_end=on_end,
        )

    def courier(self, outbox: Outbox | None, calls: Calls) -> AbstractAsyncContextManager[object]:
        """What sends the posts of an outbox, while its block lasts."""
        return nullcontext() if outbox is None else Courier(outbox, calls, self.bench, self._certificate)

    async def __aenter__(self) -> Self:
        self._upkeep.spawn(self._keep(), _nothing)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Wait for handlers, for up to ``Limits.drain_timeout``; then stop them."""
        try:
            await self.bench.rest(self._limits.drain_timeout)
        finally:
            self._upkeep.cancel()
            self.stop()
            await self.bench.rest()
            await self._upkeep.rest()

    def stop(self) -> None:
        """Stop all handlers. What was to run at most once and was stopped has an unknown outcome."""
        count = sum(task is not None for task in self.bench.tasks.values())
        if count:
            self.runtime.log(Note(Level.WARNING, "handlers stopped before they were done", str(count)))
        self.bench.cancel()

    async def _keep(self) -> None:
        while True:
            await self.runtime.sleep(await self._service.upkeep())


def _nothing() -> None:
    """Upkeep ends with the workshop."""
