"""local_client: calls to the handlers of a router, in memory. No socket, no thread, no task, no sleep.

::

    def test_a_search_finds_the_lamp() -> None:
        with local_client(router) as client:
            answer = run(client.request(MARKETPLACE_SEARCH, Search(query="lamp")))
        assert answer.offers[0].title == "Lamp"

Everything between caller and handler is real: the handshake, seals, rules of payloads, roles, middleware, at most once.
A handler runs inside the call that asked for it, so any runtime will do: ``asyncio.run``, trio, anyio, or :func:`run`
for handlers that wait for nothing outside. One thing differs from real transports: whoever gives a call up while its
handler waits for the runtime stops the handler at that place, also one that runs at most once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import count
from math import inf
from typing import Any, Self, TypeAlias, TypeVar, Unpack

from google.protobuf.message import Message

from ratatoskr.errors import CallError, LocalProtocolError
from ratatoskr.events import (
    Event,
    ItemReceived,
    RequestCancelled,
    RequestExpired,
    RequestFailed,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    Writable,
)
from ratatoskr.identity import Identity, Role, TrustPolicy, VerifiedPeer
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Evidence, Kind
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.service import (
    NO_RETRIES,
    Caller,
    CallOptions,
    Calls,
    Directory,
    Exchange,
    Level,
    Note,
    OncePolicy,
    OnceStore,
    PeerLink,
    RetryPolicy,
    Router,
    Service,
    Stream,
)
from ratatoskr.testing.authority import VALIDITY, Authority
from ratatoskr.testing.clock import Clock, seeded
from ratatoskr.testing.pair import End, Pair
from ratatoskr.testing.tasks import Signal, Tasks
from ratatoskr.timers import Now

T = TypeVar("T")
Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


def local_client(
    router: Router,
    *,
    role: Role = Role.DEVICE,
    subject: str = "",
    tenant: str = "",
    enrolled: bool = True,
    answers: Router | None = None,
    store: OnceStore | None = None,
    policy: OncePolicy | None = None,
    kinds: Collection[AnyKind] = (),
    limits: Limits | None = None,
    token: bytes = b"",
    clock: Clock | None = None,
    retry: RetryPolicy = NO_RETRIES,
    raise_errors: bool = True,
) -> LocalClient:
    """A client whose server has the handlers of ``router``.

    ``role``, ``subject`` and ``tenant`` are who asks: a device named ``device-1``, unless told otherwise. With
    ``enrolled=False`` it is a provider who certified itself. ``answers``: handlers of the client, for what the server
    asks back. ``store``: what keeps the outcomes of requests that run at most once; give the same, and the same
    ``clock``, to two clients, which are two processes then, or one that was restarted. ``kinds``: kinds beside the
    standard ones and those of the routers. ``limits``: of both ends. ``clock``: virtual time, its own by default.
    ``retry``: of both ends; every failure is told at once by default.

    ``raise_errors``: an exception that no handler should raise comes out of the call, with its traceback, and an answer
    that no handler should give comes out as LocalProtocolError. Otherwise the caller gets what a peer would: INTERNAL,
    with a reference that ``client.notes`` explains.
    """
    clock = clock or Clock()
    authority = Authority("local_client", now=clock.now.wall)
    served = answers or Router()
    registry = STANDARD_KINDS | [*router.kinds, *served.kinds, *kinds]
    name = subject or f"{role.name.lower()}-1"
    identity = (
        authority.issue(role, name, tenant=tenant)
        if enrolled
        else _self_issued(authority, Role.PROVIDER, subject or "provider-1", clock)
    )
    pair = Pair(
        client=authority.client_config(identity, kinds=registry, limits=limits, token=token),
        server=authority.server_config(
            trust=TrustPolicy(roots=authority.trust.roots, self_issued=True), kinds=registry, limits=limits
        ),
        clock=clock,
    )
    service, answering = (
        lambda host, directory: Service(router, host=host, store=store, policy=policy, directory=directory),
        lambda host, _: Service(served, host=host),
    )
    return LocalClient(pair, service, answering, limits or Limits(), retry, raise_errors=raise_errors)


def _self_issued(authority: Authority, role: Role, subject: str, clock: Clock) -> Identity:
    now = clock.now.wall
    return Identity.self_issued(
        authority.entropy, role=role, subject=subject, not_before=now - 3600, not_after=now + VALIDITY
    )


class LocalClient(Caller):
    """Comes from :func:`local_client`. A ``with`` block says goodbye at its end; nothing of it must be closed."""

    def __init__(
        self,
        pair: Pair,
        service: _MakeService,
        answering: _MakeService,
        limits: Limits,
        retry: RetryPolicy,
        *,
        raise_errors: bool,
    ) -> None:
        self._pair = pair
        self._host = host = _Host(pair.clock, Tasks(self._advance, lambda: min(pair.next_in, host.next_in)))
        self._raise_errors = raise_errors
        directory: Directory[PeerLink] = Directory()
        self._sides = [
            _attach(end, make(host, directory), host, limits, retry)
            for end, make in ((pair.client, answering), (pair.server, service))
        ]
        pair.open()
        client, server = self._sides
        directory.enter(server)
        super().__init__(client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def peer(self) -> VerifiedPeer:
        """The server, as the client sees it."""
        return self._link.peer

    @property
    def clock(self) -> Clock:
        """Virtual time. :meth:`advance` lets it pass."""
        return self._pair.clock

    @property
    def pair(self) -> Pair:
        """The connections below, and the link between them with its faults."""
        return self._pair

    @property
    def notes(self) -> list[Note]:
        """What the service wrote to the log, oldest first."""
        return self._host.notes

    async def exchange(self, kind: Kind[Req, Res], message: Req, **options: Unpack[CallOptions]) -> Exchange[Res]:
        """As :meth:`request`, with the receipt and whether a stored outcome was repeated."""
        with self._complaints(len(self.notes)):
            return await super().exchange(kind, message, **options)

    def stream(
        self, kind: Kind[Req, Res], message: Req, *, credit: int | None = None, **options: Unpack[CallOptions]
    ) -> Stream[Res]:
        """Ask the server for a stream; see :meth:`Caller.stream <ratatoskr.service.Caller.stream>`.

        When its block is left early, the handler has been stopped.
        """
        stream = super().stream(kind, message, credit=credit, **options)
        return _Watched(stream, partial(self._complaints, len(self.notes)), self._host.tasks.settle)

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: seals come, deadlines fall due."""
        self._advance(seconds)

    def close(self) -> None:
        """Stop the handlers that still run, and say goodbye, as a client does. No-op when it is closed."""
        self._host.tasks.stop()
        if self._pair.client.closed is None:
            self._pair.client.connection.close()
            self._pair.run(seconds=1.0)

    def _advance(self, seconds: float) -> None:
        """Let happen what happens by then, and begin the handlers of what has arrived."""
        self._pair.run(seconds)
        self._host.wake_sleepers()
        for side in self._sides:
            side.begin()

    @contextmanager
    def _complaints(self, noted: int) -> Iterator[None]:
        """Let out what is wrong with a handler, which its caller is not told: an error behind so many notes."""
        try:
            yield
        except CallError:
            for note in self.notes[noted:]:
                if self._raise_errors and note.level is Level.ERROR:
                    raise note.error or LocalProtocolError(note.text) from None
            raise


class _Watched(Stream[Res]):
    """A stream whose handler's mistakes come out, and whose handler is stopped where it is left."""

    def __init__(
        self,
        stream: Stream[Res],
        complaints: Callable[[], AbstractContextManager[None]],
        settle: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._complaints = complaints
        self._settle = settle

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stream.__aexit__(*error)
        await self._settle()

    async def __anext__(self) -> Res:
        with self._complaints():
            return await self._stream.__anext__()

    @property
    def evidence(self) -> Evidence | None:
        """What the item that was read last becomes provable by; None before the first."""
        return self._stream.evidence


def _attach(end: End, service: Service, host: _Host, limits: Limits, retry: RetryPolicy) -> Calls:
    """The calls of one end, which are given its events."""
    calls = Calls(service, host, limits=limits, retry=retry)
    footing = calls.stand(end.connection, _wakes_by_itself)
    accept = end.on_event

    def on_event(event: Event) -> bool:
        footing.handle(end.connection, event)
        return isinstance(event, _OF_CALLS) or (accept is not None and accept(event))

    end.on_event = on_event
    return calls


_OF_CALLS = (
    RequestReceived,
    ResponseReceived,
    ItemReceived,
    StreamEnded,
    RequestFailed,
    RequestExpired,
    RequestCancelled,
    Writable,
)


def _wakes_by_itself() -> None:
    """A Pair polls both ends whenever it runs."""


_HOSTS = count()


class _Host:
    """The world of a test: virtual time, repeatable entropy, no threads."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self.tasks: Tasks = tasks
        self._entropy = seeded(f"local_client host {next(_HOSTS)}")
        self._sleepers: list[tuple[float, Signal]] = []
        self.spawn = tasks.spawn
        self.notes: list[Note] = []

    def now(self) -> Now:
        """Both readings of the clock."""
        return self._clock.now

    def entropy(self, size: int, /) -> bytes:
        """The same in every run, and another for each client: two of them are two processes on a store."""
        return self._entropy(size)

    async def sleep(self, seconds: float, /) -> None:
        """Let virtual time pass."""
        if seconds <= 0:
            await self.tasks.pause()
            return
        signal = self.signal()
        self._sleepers.append((self._clock.now.mono + seconds, signal))
        await signal.wait()

    @property
    def next_in(self) -> float:
        """Seconds until somebody has slept enough; infinity where nobody sleeps."""
        return min((until for until, _ in self._sleepers), default=inf) - self._clock.now.mono

    def wake_sleepers(self) -> None:
        """Wake who has slept enough."""
        now = self._clock.now.mono
        due = [signal for until, signal in self._sleepers if until <= now]
        self._sleepers = [each for each in self._sleepers if each[0] > now]
        for signal in due:
            signal.set()

    def signal(self) -> Signal:
        """Something to wait for."""
        return Signal(self.tasks)

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Here and now."""
        return function()

    def log(self, note: Note, /) -> None:
        """Keep it."""
        self.notes.append(note)


_MakeService: TypeAlias = Callable[[_Host, Directory[PeerLink]], Service]


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing outside; its result. For tests without a runtime.

    Raises LocalProtocolError where it waits for a runtime, such as in ``asyncio.sleep``.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise LocalProtocolError("this waits for a runtime: use asyncio.run(...), or an async test")
