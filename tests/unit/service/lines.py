"""Two ends with their calls over a real Pair, on a host whose tasks go on when the test lets them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar, cast

from ratatoskr import v1
from ratatoskr.connection import Connection
from ratatoskr.events import Event
from ratatoskr.limits import Limits
from ratatoskr.messages import Kind
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.service import NO_RETRIES, Calls, Directory, OnceStore, PeerLink, RetryPolicy, Router, Service
from ratatoskr.testing.clock import Clock
from ratatoskr.testing.pair import End, Pair
from tests.unit.service.support import AUTHORITY, NOTE, REDEEM, Cancelled, Gate, World

T = TypeVar("T")

COUNT = Kind(1002, 1, "acme.Count", v1.Search, v1.GoAway, stream=True)
"""A stream of as many words as are asked for."""
PAY = Kind(11, 99, "acme.Pay", v1.Search, v1.GoAway)
"""A payment that may be made again and again, for the order of things alone."""
KINDS = STANDARD_KINDS | [NOTE, REDEEM, COUNT, PAY]


class Bell(Gate):
    """A signal: a gate that the service opens."""

    def set(self) -> None:
        self.open = True

    async def wait(self) -> None:
        await self


class Turn:
    """Lets the others run."""

    def __await__(self) -> Generator[None, None, None]:
        yield


@dataclass(eq=False)
class Strand:
    """A task of this runtime. Cancelling it, and whatever else it waits for, takes effect at its next step."""

    coroutine: Coroutine[Any, Any, Any]
    done: Callable[[], None] = lambda: None
    waits_for: Gate | None = None
    cancels: int = 0
    """How often it was cancelled."""
    result: Any = None
    error: BaseException | None = None
    _cancel: bool = False
    _over: bool = False

    def is_over(self) -> bool:
        return self._over

    def cancel(self) -> None:
        self.cancels += 1
        self._cancel = True

    @property
    def can_go_on(self) -> bool:
        return not self._over and (self._cancel or self.waits_for is None or self.waits_for.open)

    def step(self) -> None:
        cancel, self._cancel = self._cancel, False
        try:
            self.waits_for = self.coroutine.throw(Cancelled()) if cancel else self.coroutine.send(None)
        except StopIteration as stop:
            self._over, self.result = True, stop.value
            self.done()
        except BaseException as raised:  # noqa: BLE001 - as runtimes do
            self._over, self.error = True, raised
            self.done()


class Hands(World):
    """A host with tasks. ``eager``: a task takes its first step where it is spawned, as asyncio can from 3.12 on."""

    def __init__(self, clock: Clock, *, eager: bool, name: str = "hands") -> None:
        super().__init__(name, clock)
        self.eager = eager
        self.strands: list[Strand] = []
        self.slept: list[float] = []
        """How long each sleep was to take."""
        self._sleepers: list[tuple[float, Bell]] = []

    async def sleep(self, seconds: float, /) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await Turn()
            return
        bell = Bell()
        self._sleepers.append((self.clock.now.mono + seconds, bell))
        await bell

    def signal(self) -> Bell:
        return Bell()

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> Strand:  # type: ignore[override]
        strand = Strand(coroutine, done)
        self.strands.append(strand)
        if self.eager:
            strand.step()
        return strand

    @property
    def next_in(self) -> float:
        return min((until for until, _ in self._sleepers), default=inf) - self.clock.now.mono

    def turn(self) -> bool:
        """One step of each task that can go on. Whether there was one."""
        now = self.clock.now.mono
        for until, bell in self._sleepers:
            bell.open = until <= now
        self._sleepers = [each for each in self._sleepers if not each[1].open]
        ready = [strand for strand in self.strands if strand.can_go_on]
        for strand in ready:
            strand.step()
        return bool(ready)

    @property
    def unfinished(self) -> list[Strand]:
        return [strand for strand in self.strands if not strand.is_over()]


class Spy:
    """A connection that remembers what it was told to do with calls."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.said: list[str] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._connection, name)
        if name in {"request", "retry", "cancel", "grant", "respond", "fail"}:
            self.said.append(name)
        return value


class Side:
    """One end."""

    def __init__(self, lines: Lines, end: End, service: Service, limits: Limits, retry: RetryPolicy) -> None:
        self.end = end
        self.host = lines.host
        self.connection = end.connection
        self.spy = Spy(end.connection)
        self.woken = 0
        """How often the driver was asked to poll."""
        self.awake = False
        """Whether it was since it last did."""
        self.events: list[Event] = []
        self.calls = Calls(service, lines.host, limits=limits, retry=retry)
        connection = cast("Connection", self.spy)
        self.footing = self.calls.stand(connection, self._wake)
        accept = end.on_event

        def on_event(event: Event) -> bool:
            self.events.append(event)
            self.footing.handle(connection, event)
            return accept is not None and accept(event)

        end.on_event = on_event

    def _wake(self) -> None:
        self.woken += 1
        self.awake = True

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Strand:
        """Something that the program does at this end; it takes its first step at once."""
        strand = Strand(coroutine)
        self.host.strands.append(strand)
        strand.step()
        return strand

    def said(self, name: str) -> int:
        """How often the connection was told that."""
        return self.spy.said.count(name)

    def seen(self, cls: type[T]) -> list[T]:
        """The events of that class."""
        return [event for event in self.events if isinstance(event, cls)]

    @property
    def pending(self) -> int:
        """Calls of this end whose outcome somebody waits for."""
        return len(self.calls._asker.pending)

    @property
    def handlers(self) -> tuple[int, int, int]:
        """What this end knows of handlers: not begun, running, with a wait for room."""
        handlers = self.calls._handlers
        assert handlers._wishes.keys() <= handlers._running.keys(), "only what runs is wished to stop"
        return len(handlers._arrived), len(handlers._running), len(handlers._rooms)

    @property
    def slots(self) -> tuple[int, int]:
        """Slots that the requests of this end hold, and those of its peer here."""
        session = self.connection._session
        return session._asking.calls.in_flight, session._answering.calls.open


class Lines:
    """A client whose server has the handlers of ``router``; ``answers`` are the client's own.

    ``store``, ``clock`` and another ``name`` make the server the next one after one that died.
    """

    def __init__(
        self,
        router: Router | None = None,
        *,
        answers: Router | None = None,
        limits: Limits | None = None,
        retry: RetryPolicy = NO_RETRIES,
        eager: bool = False,
        store: OnceStore | None = None,
        clock: Clock | None = None,
        name: str = "hands",
    ) -> None:
        clock = clock or Clock()
        self.host = Hands(clock, eager=eager, name=name)
        self.pair = Pair(
            client=AUTHORITY.client_config(kinds=KINDS, limits=limits),
            server=AUTHORITY.server_config(kinds=KINDS, limits=limits),
            clock=clock,
        )
        directory: Directory[PeerLink] = Directory()
        served = Service(router or Router(), host=self.host, directory=directory, store=store)
        answering = Service(answers or Router(), host=self.host)
        limits = limits or Limits()
        self.client = Side(self, self.pair.client, answering, limits, retry)
        self.server = Side(self, self.pair.server, served, limits, retry)
        self.pair.open()
        directory.enter(self.server.calls)

    def move(self) -> None:
        """Bytes arrive and events are told, and handlers begin; nothing else goes on."""
        for side in (self.client, self.server):
            side.awake = False
        self.pair.run()
        for side in (self.client, self.server):
            side.calls.begin()

    def settle(self) -> None:
        """Let happen what happens now."""
        self.move()
        while self.host.turn() or self.client.awake or self.server.awake:
            self.move()

    def run(self, seconds: float) -> None:
        """Let happen what happens within so many seconds."""
        end = self.pair.clock.now.mono + seconds
        self.settle()
        while (ahead := min(self.pair.next_in, self.host.next_in)) + self.pair.clock.now.mono <= end:
            self.pair.run(ahead)
            self.settle()
        self.pair.run(end - self.pair.clock.now.mono)
        self.settle()

    def ask(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the client's question comes to, where time need not pass."""
        strand = self.client.start(coroutine)
        self.settle()
        assert strand.is_over(), "it waits for something"
        if strand.error is not None:
            raise strand.error
        result: T = strand.result
        return result

    def at_rest(self) -> bool:
        """Whether nothing is left of any call at either end, once the last acknowledgement has come."""
        self.run(0.1)
        return not self.host.unfinished and all(
            (side.pending, side.handlers, side.slots) == (0, (0, 0, 0), (0, 0)) for side in (self.client, self.server)
        )
