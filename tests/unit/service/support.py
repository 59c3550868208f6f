"""A runtime without clock and threads, a host, links that remember what they were told, and requests as they arrive.

The runtime proves what the service promises: it awaits only what it is given. Tests decide when each gate opens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import Failure, LocalProtocolError
from ratatoskr.events import RequestFailed, RequestId, RequestReceived, ResponseReceived
from ratatoskr.identity import Identity, VerifiedPeer
from ratatoskr.messages import AnyKind, Kind, Receipt, Received
from ratatoskr.messages.envelopes import request_envelope, response_envelope
from ratatoskr.messages.nonces import business_nonce
from ratatoskr.messages.seals import SealContext
from ratatoskr.messages.span import SealedAt, Span
from ratatoskr.service import (
    Call,
    Claim,
    Entry,
    Exchange,
    MemoryStore,
    Note,
    Router,
    Service,
    Signal,
    Stream,
)
from ratatoskr.testing.authority import Authority
from ratatoskr.testing.clock import Clock, seeded

T = TypeVar("T")
Answer = Message | Failure

NOTE = Kind(1000, 1, "acme.Note", v1.Search, v1.GoAway)
"""Sealed, may run again and again."""
REDEEM = Kind(1001, 2, "acme.Redeem", v1.Search, v1.GoAway, once=True)
"""At most once; the key is the caller's."""
EUR = v1.Money(currency="EUR", units=12)


# A runtime


class Cancelled(BaseException):
    """What this runtime throws into a task that it cancels."""


class Gate:
    """An awaitable that waits until the test opens it."""

    def __init__(self) -> None:
        self.open = False
        self.error: Exception | None = None

    def __await__(self) -> Generator[Gate, None, None]:
        while not self.open:
            yield self
        if self.error is not None:
            raise self.error


@dataclass(eq=False)
class Task:
    coroutine: Coroutine[Any, Any, Any]
    done: bool = False
    result: Any = None
    error: BaseException | None = None

    def step(self, error: BaseException | None = None) -> None:
        if self.done:
            return
        try:
            self.coroutine.send(None) if error is None else self.coroutine.throw(error)
        except StopIteration as stop:
            self.done, self.result = True, stop.value
        except BaseException as raised:  # noqa: BLE001 - as runtimes do
            self.done, self.error = True, raised

    def cancel(self) -> None:
        self.step(Cancelled())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what waits for nothing."""
    task = Task(coroutine)
    task.step()
    if task.error is not None:
        raise task.error
    assert task.done, "it waits for a gate that nobody opens"
    result: T = task.result
    return result


# Peers

AUTHORITY = Authority("service")


def peer_of(identity: Identity, *, enrolled: bool = True) -> VerifiedPeer:
    certificate = identity.certificate
    return VerifiedPeer(
        subject=certificate.subject if enrolled else f"self-issued:{certificate.kid.hex()}",
        role=certificate.role,
        names=certificate.names,
        tenant=certificate.tenant if enrolled else "",
        certificate=certificate,
        enrolled=enrolled,
    )


DEVICE = peer_of(AUTHORITY.device("device-1"))
OTHER_DEVICE = peer_of(AUTHORITY.device("device-2"))
PROVIDER = peer_of(AUTHORITY.provider("provider-1"))
UNENROLLED = peer_of(AUTHORITY.provider("nobody"), enrolled=False)
SERVER = peer_of(AUTHORITY.server("yggdrasil.test"))


@dataclass(eq=False)
class Link:
    """A connection to ``peer`` that remembers what the peer was told."""

    peer: VerifiedPeer = DEVICE
    told: dict[RequestId, tuple[Answer, bool]] = field(default_factory=dict)
    longest: int = 1 << 20
    closed: bool = False
    ended: list[RequestId] = field(default_factory=list)
    items: dict[RequestId, list[Message]] = field(default_factory=dict)
    asked: list[tuple[AnyKind, Message, dict[str, Any]]] = field(default_factory=list)
    replies: list[Exchange[Any] | Exception] = field(default_factory=list)
    connected: bool = True
    retention: float | None = None
    on_open: Callable[[], None] | None = None

    def respond(self, id: RequestId, message: Message | None = None, *, replayed: bool = False) -> None:
        if message is None:
            self.ended.append(id)
            return
        if message.ByteSize() > self.longest:
            raise LocalProtocolError(f"the answer has {message.ByteSize()} bytes; the limit is {self.longest}")
        self._tell(id, message, replayed)

    def fail(self, id: RequestId, failure: Failure, *, replayed: bool = False) -> None:
        self._tell(id, failure, replayed)

    def _tell(self, id: RequestId, answer: Answer, replayed: bool) -> None:
        if self.closed:
            raise LocalProtocolError("the session ended")
        assert id not in self.told, "a request has one answer"
        self.told[id] = (answer, replayed)

    async def send(self, id: RequestId, item: Message) -> None:
        self.items.setdefault(id, []).append(item)

    def stream(self, kind: AnyKind, message: Message, *, credit: int | None = None, **options: Any) -> Stream[Any]:
        raise NotImplementedError("tests of streams have real links")

    async def receipt(self, exchange: Exchange[Any]) -> Receipt:
        raise NotImplementedError("tests of receipts have real links")

    async def exchange(self, kind: AnyKind, message: Message, **options: Any) -> Exchange[Any]:
        self.asked.append((kind, message, options))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class World:
    """A host: a clock that the test moves, repeatable entropy, threads that are none, and the notes that were taken."""

    def __init__(self, seed: str = "world", clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.entropy = seeded(seed)
        self.notes: list[Note] = []
        self.threads = 0

    def now(self) -> Any:
        return self.clock.now

    async def sleep(self, seconds: float, /) -> None:
        self.clock.advance(seconds)

    def signal(self) -> Signal:
        raise NotImplementedError("the service waits for nothing but what it is given")

    def spawn(self, coroutine: Coroutine[Any, Any, None], done: Callable[[], None], /) -> Task:
        raise NotImplementedError("tests run jobs themselves")

    async def run_in_thread(self, function: Callable[[], T], /) -> T:
        self.threads += 1
        return function()

    def log(self, note: Note, /) -> None:
        self.notes.append(note)

    @property
    def logged(self) -> list[str]:
        return [note.event for note in self.notes]


# Messages

_CONTEXT = SealContext(bytes(32), bytes(32), bytes(32), 0)


def received(kind: AnyKind, message: v1.RatatoskrRequest | v1.RatatoskrResponse, payload: Message | None) -> Received:
    envelope = request_envelope(message) if isinstance(message, v1.RatatoskrRequest) else response_envelope(message)
    span = Span(_CONTEXT, 1, bytes(32))
    span.leaves.append(bytes(32))
    span.seal = SealedAt(0, bytes(64))
    found = Received(1, bytes(32), envelope, message, kind, span)
    found.payload = payload
    return found


def request(
    kind: AnyKind,
    payload: Message,
    *,
    key: bytes = b"key",
    at: float | None = None,
    expires_at: float | None = None,
    timeout: float | None = None,
    metadata: dict[str, str] | None = None,
) -> RequestReceived:
    """A request as it arrives. ``at``: issue time, seconds since the epoch; the start of the clock by default."""
    message = v1.RatatoskrRequest(
        type=v1.MessageType.ValueType(kind.type),
        operation=kind.operation,
        nonce=business_nonce(kind.type, kind.operation, key),
        issued_at_ms=int((Clock().now.wall if at is None else at) * 1000),
        expires_at_ms=0 if expires_at is None else int(expires_at * 1000),
        payload=payload.SerializeToString(deterministic=True),
        metadata=[v1.MetadataEntry(name=name, value=value) for name, value in (metadata or {}).items()],
    )
    deadline = Clock().now.mono + (30.0 if timeout is None else timeout)
    return RequestReceived(RequestId(), kind, payload, received(kind, message, payload), deadline)


def response(id: RequestId, kind: AnyKind, payload: Message, *, replayed: bool = False) -> ResponseReceived:
    message = v1.RatatoskrResponse(payload=payload.SerializeToString(), replayed=replayed)
    return ResponseReceived(id, payload, received(kind, message, payload))


def failed(id: RequestId, failure: Failure, kind: AnyKind | None = None) -> RequestFailed:
    """A failure that this side decided, or with ``kind`` the peer."""
    return RequestFailed(id, failure, received(kind, v1.RatatoskrResponse(), None) if kind else None)


def ask(text: str = "") -> v1.Search:
    return v1.Search(query=text)


def say(text: str) -> v1.GoAway:
    return v1.GoAway(reason=text)


def answer_of(link: Link, event: RequestReceived) -> Answer:
    return link.told[event.id][0]


def failure_of(link: Link, event: RequestReceived) -> Failure:
    answer = answer_of(link, event)
    assert isinstance(answer, Failure)
    return answer


def serve(service: Service, event: RequestReceived, link: Link | None = None) -> Answer:
    """Answer a request whose handler waits for nothing."""
    link = link or Link()
    run(service.job(link, event).run())
    return answer_of(link, event)


def echo_router(kind: AnyKind = NOTE) -> Router:
    router = Router()

    @router.on(kind)
    async def echo(message: v1.Search, call: Call) -> v1.GoAway:
        return say(message.query)

    return router


# A store whose every step waits for the test


class SlowStore:
    """A memory store with a gate before and after what it does.

    ``before`` and ``after`` name a method and give the gate to pass; where a gate has an error, the method raises it.
    """

    transactional = True

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.before: dict[str, Gate] = {}
        self.after: dict[str, Gate] = {}
        self.calls: list[str] = []
        self.transactions: list[FakeTransaction] = []
        self.lease_over = False
        """Whether a commit comes after the lease of its claim."""

    async def _pass(self, gates: dict[str, Gate], name: str) -> None:
        gate = gates.get(name)
        if gate is not None:
            await gate

    async def _do(self, name: str, step: Coroutine[Any, Any, T]) -> T:
        self.calls.append(name)
        try:
            await self._pass(self.before, name)
            result = await step
        finally:
            step.close()
        await self._pass(self.after, name)
        return result

    async def claim(self, claim: Claim, *, per_subject: int | None = None) -> Entry | None:
        return await self._do("claim", self.store.claim(claim, per_subject=per_subject))

    async def take_over(self, claim: Claim, seen: Entry) -> bool:
        return await self._do("take_over", self.store.take_over(claim, seen))

    async def complete(self, claim: Claim, outcome: bytes, *, keep_until: float) -> bool:
        return await self._do("complete", self.store.complete(claim, outcome, keep_until=keep_until))

    async def release(self, claim: Claim) -> bool:
        return await self._do("release", self.store.release(claim))

    async def renew(self, claims: Collection[Claim], lease_until: float) -> None:
        await self._do("renew", self.store.renew(claims, lease_until))

    async def purge(self, now: float, limit: int) -> int:
        return await self._do("purge", self.store.purge(now, limit))

    def begin(self, claim: Claim) -> FakeTransaction:
        self.transactions.append(FakeTransaction(self, claim))
        return self.transactions[-1]


class FakeTransaction:
    """Effects are strings in a list; a commit makes them last together with the outcome."""

    def __init__(self, store: SlowStore, claim: Claim) -> None:
        self.store = store
        self.claim = claim
        self.started = False
        self.committed: list[str] | None = None
        self.abandoned = False
        self.effects: list[str] = []

    async def start(self) -> None:
        await self.store._pass(self.store.before, "start")
        self.started = True

    async def run(self, function: Callable[[Any], T], /) -> T:
        return function(self.effects)

    async def commit(self, outcome: bytes, *, keep_until: float, now: float) -> bool:
        kept = await self.store._do("commit", self._commit(outcome, keep_until, now))
        if kept:
            self.committed = self.effects
        return kept

    async def _commit(self, outcome: bytes, keep_until: float, now: float) -> bool:
        return not self.store.lease_over and await self.store.store.complete(self.claim, outcome, keep_until=keep_until)

    def abandon(self) -> None:
        self.abandoned = True


def failing(error: Exception) -> Gate:
    """A gate that raises."""
    gate = Gate()
    gate.open, gate.error = True, error
    return gate
