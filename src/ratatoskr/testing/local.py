"""local_client: calls to the handlers of a router, in memory. No socket, no thread, no task, no sleep.

::

    def test_a_search_finds_the_lamp() -> None:
        with local_client(router) as client:
            answer = run(client.request(MARKETPLACE_SEARCH, Search(query="lamp")))
        assert answer.offers[0].title == "Lamp"

Everything between caller and handler is real: the handshake, seals, rules of payloads, roles, middleware, at most once.
A handler runs inside the call that asked for it, so any runtime will do: ``asyncio.run``, trio, anyio, or :func:`run`
for handlers that wait for nothing outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Self, TypeAlias, TypeVar

from google.protobuf.message import Message

from ratatoskr.errors import CallError, Failure, LocalProtocolError
from ratatoskr.events import Event, RequestFailed, RequestId, RequestReceived, ResponseReceived
from ratatoskr.identity import Identity, Role, TrustPolicy, VerifiedPeer
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.service import Exchange, Level, Note, OncePolicy, OnceStore, PendingCalls, Router, Service
from ratatoskr.testing.authority import VALIDITY, Authority
from ratatoskr.testing.clock import Clock, seeded
from ratatoskr.testing.pair import End, Pair
from ratatoskr.timers import Now

T = TypeVar("T")
Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

_Outcome: TypeAlias = Exchange[Any] | CallError


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
    raise_errors: bool = True,
) -> LocalClient:
    """A client whose server has the handlers of ``router``.

    ``role``, ``subject`` and ``tenant`` are who asks: a device named ``device-1``, unless told otherwise. With
    ``enrolled=False`` it is a provider who certified itself. ``answers``: handlers of the client, for what the server
    asks back. ``store``: what keeps the outcomes of requests that run at most once; give the same to two clients, one
    after the other, to restart one. ``kinds``: kinds beside the standard ones and those of the routers. ``limits``:
    of both ends. ``clock``: virtual time, its own by default.

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
    return LocalClient(pair, router, served, store, policy, raise_errors=raise_errors)


def _self_issued(authority: Authority, role: Role, subject: str, clock: Clock) -> Identity:
    now = clock.now.wall
    return Identity.self_issued(
        authority.entropy, role=role, subject=subject, not_before=now - 3600, not_after=now + VALIDITY
    )


class LocalClient:
    """Comes from :func:`local_client`. A ``with`` block says goodbye at its end; nothing of it must be closed."""

    def __init__(
        self,
        pair: Pair,
        router: Router,
        answers: Router,
        store: OnceStore | None,
        policy: OncePolicy | None,
        *,
        raise_errors: bool,
    ) -> None:
        self._pair = pair
        self._host = host = _Host(pair.clock)
        self._raise_errors = raise_errors
        self._arrived: deque[tuple[_Side, RequestReceived]] = deque()
        self._running = 0
        self._client = _Side(self, pair.client, Service(answers, host=host))
        self._server = _Side(self, pair.server, Service(router, host=host, store=store, policy=policy))
        pair.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def peer(self) -> VerifiedPeer:
        """The server, as the client sees it."""
        return self._client.peer

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

    async def request(
        self,
        kind: Kind[Req, Res],
        message: Req,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Res:
        """Ask the server; its answer. Arguments and exceptions are those of any adapter's ``request``."""
        exchange = await self.exchange(
            kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata
        )
        return exchange.message

    async def exchange(
        self,
        kind: Kind[Req, Res],
        message: Req,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Exchange[Res]:
        """As :meth:`request`, with the receipt and whether a stored outcome was repeated."""
        link = _Link(self._client, 0)
        noted = len(self.notes)
        try:
            return await link.exchange(
                kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata
            )
        except CallError:
            self._complain(noted)
            raise

    def advance(self, seconds: float) -> None:
        """Let virtual time pass: seals come, deadlines fall due."""
        self._pair.run(seconds)

    def close(self) -> None:
        """Say goodbye, as a client does. No-op when it is closed."""
        if self._pair.client.closed is None:
            self._pair.client.connection.close()
            self._pair.run(seconds=1.0)

    def _complain(self, noted: int) -> None:
        """Let out what is wrong with a handler, which its caller is not told."""
        for note in self.notes[noted:]:
            if self._raise_errors and note.level is Level.ERROR:
                raise note.error or LocalProtocolError(note.text) from None

    def arrive(self, side: _Side, event: RequestReceived) -> None:
        """A request waits for its handler."""
        self._arrived.append((side, event))

    async def settle(self, outcome: list[_Outcome], depth: int) -> _Outcome:
        """Run handlers, then time, until there is an outcome. ``depth``: how many handlers wait for it below."""
        while True:
            self._pair.run()
            if outcome:
                return outcome[0]
            if self._arrived:
                side, event = self._arrived.popleft()
                await self._run(side, event, depth)
            elif self._running > depth:
                raise LocalProtocolError(
                    "this request waits for one that another task has made; local_client runs handlers inside the "
                    "call that asks for them: make the requests one after the other, or test over a real transport"
                )
            else:
                self._pair.run(self._pair.next_in)

    async def _run(self, side: _Side, event: RequestReceived, depth: int) -> None:
        self._running += 1
        try:
            await side.service.job(_Link(side, depth + 1), event).run()
        finally:
            self._running -= 1


class _Side:
    """One end: its connection, its handlers, and the calls that it waits for."""

    def __init__(self, local: LocalClient, end: End, service: Service) -> None:
        self.local = local
        self.end = end
        self.service = service
        self.pending: PendingCalls[list[_Outcome]] = PendingCalls()
        accept = end.on_event
        end.on_event = lambda event: self._take(event) or (accept is not None and accept(event))

    @property
    def peer(self) -> VerifiedPeer:
        """Who is at the other end."""
        peer = self.end.connection.peer
        assert peer is not None
        return peer

    def _take(self, event: Event) -> bool:
        if isinstance(event, RequestReceived):
            self.local.arrive(self, event)
            return True
        if isinstance(event, ResponseReceived | RequestFailed):
            settled = self.pending.settle(event)
            if settled is not None:
                settled.waiter.append(settled.outcome)
            return True
        return False


class _Link:
    """A side as a handler sees it that runs at this depth of calls within calls."""

    def __init__(self, side: _Side, depth: int) -> None:
        self._side = side
        self._depth = depth

    @property
    def peer(self) -> VerifiedPeer:
        """Who asks."""
        return self._side.peer

    def respond(self, id: RequestId, message: Message, *, replayed: bool = False) -> None:
        """Answer."""
        self._side.end.connection.respond(id, message, replayed=replayed)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        """End a call without an answer."""
        self._side.end.connection.fail(id, failure, replayed=replayed)

    async def exchange(
        self,
        kind: Kind[Req, Res],
        message: Req,
        *,
        timeout: float | None = None,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Exchange[Res]:
        """Ask the peer, and run what comes of it."""
        side = self._side
        id = side.end.connection.request(
            kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata
        )
        waiter: list[_Outcome] = []
        side.pending.add(id, waiter)
        try:
            outcome = await side.local.settle(waiter, self._depth)
        finally:
            side.pending.forget(id)
        if isinstance(outcome, CallError):
            raise outcome
        return outcome


class _Host:
    """The world of a test: virtual time, repeatable entropy, no threads."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entropy = seeded("local_client host")
        self.notes: list[Note] = []

    def now(self) -> Now:
        """Both readings of the clock."""
        return self._clock.now

    def entropy(self, size: int, /) -> bytes:
        """The same in every run."""
        return self._entropy(size)

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        """Here and now."""
        return function()

    def log(self, note: Note, /) -> None:
        """Keep it."""
        self.notes.append(note)


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
