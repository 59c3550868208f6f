"""An outbox with its courier in virtual time, over a link whose answers the test gives."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from google.protobuf.message import Message

from ratatoskr import v1
from ratatoskr.errors import CallError, Disposition, Failure, Status
from ratatoskr.identity import Certificate
from ratatoskr.messages import AnyKind, Kind
from ratatoskr.service import (
    Courier,
    Exchange,
    MemoryOutboxStore,
    Outbox,
    OutboxPolicy,
    OutboxStore,
    Posting,
    PostSettled,
)
from ratatoskr.testing.clock import Clock
from tests.unit.service.lines import Bell, Hands, Strand
from tests.unit.service.support import DEVICE, REDEEM, SERVER, Link, ask, received, say

T = TypeVar("T")

VOUCHER = Kind(1001, 3, "acme.Voucher", v1.Search, v1.GoAway, once="query")
"""At most once; the key is in the message."""
KINDS = [REDEEM, VOUCHER]
BUSY = Failure(Status.UNAVAILABLE, "BUSY", "later", Disposition.NOT_PROCESSED)
LOST = Failure(Status.UNAVAILABLE, "TRANSPORT_LOST", "the connection ended", Disposition.MAYBE)
DENIED = Failure(Status.PERMISSION_DENIED, "ROLE", "not for you", Disposition.NOT_PROCESSED)
NO_FUNDS = Failure(Status.FAILED_PRECONDITION, "NO_FUNDS", "too little")
OWN = DEVICE.certificate
POLICY = OutboxPolicy(first_delay=1.0, longest_delay=8.0, check_every=5.0, retention=1000.0, margin=100.0, lanes=2)


class Ask:
    """A request that the courier made, and waits for."""

    def __init__(self, kind: AnyKind, message: Message, options: dict[str, Any], state: Posting) -> None:
        self.kind = kind
        self.message = message
        self.options = options
        self.state = state
        """That of its post in the store, when it was made."""
        self.bell = Bell()
        self.reply: Exchange[Any] | Exception | None = None

    @property
    def text(self) -> str:
        assert isinstance(self.message, v1.Search)
        return self.message.query

    def answer(self, text: str = "", *, replayed: bool = False) -> None:
        """Answer it."""
        answer = say(text or self.text)
        evidence = received(self.kind, v1.RatatoskrResponse(payload=answer.SerializeToString()), answer).evidence
        self._end(Exchange(answer, self.kind, replayed, evidence))

    def fail(self, failure: Failure, *, replayed: bool = False) -> None:
        """Fail it."""
        self._end(CallError.of(failure, replayed=replayed))

    def raises(self, error: Exception) -> None:
        """End it with misuse, or a mistake in the link."""
        self._end(error)

    def _end(self, reply: Exchange[Any] | Exception) -> None:
        self.reply = reply
        self.bell.set()


class Wire(Link):
    """A link whose answers the test gives."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(SERVER)
        self.desk = desk
        self.asks: list[Ask] = []
        """All that were made."""

    async def exchange(self, kind: AnyKind, message: Message, **options: Any) -> Exchange[Any]:
        (state,) = [
            parcel.state
            for parcel in await self.desk.store.unsettled()
            if parcel.payload == message.SerializeToString(deterministic=True)
        ]
        made = Ask(kind, message, options, state)
        self.asks.append(made)
        await made.bell
        if isinstance(made.reply, Exception):
            raise made.reply
        assert made.reply is not None
        return made.reply

    def opens(self) -> None:
        """There is a line."""
        self.connected = True
        assert self.on_open is not None
        self.on_open()

    @property
    def open(self) -> list[Ask]:
        """Those that wait for an answer."""
        return [made for made in self.asks if made.reply is None]

    @property
    def only(self) -> Ask:
        """The one that waits."""
        (made,) = self.open
        return made


class Desk:
    """An outbox in a process of its own. ``with_courier`` starts what sends from it."""

    alive: ClassVar[list[Desk]] = []
    """Those that have not crashed; all do at the end of a test."""

    def __init__(
        self,
        policy: OutboxPolicy | None = None,
        store: OutboxStore | None = None,
        clock: Clock | None = None,
        *,
        eager: bool = False,
        certificate: Certificate = OWN,
    ) -> None:
        self.clock = clock or Clock()
        self.host = Hands(self.clock, eager=eager)
        self.store: OutboxStore = store or MemoryOutboxStore()
        self.outbox = Outbox(self.store, self.host, kinds=KINDS, policy=policy)
        self.wire = Wire(self)
        self.courier = Courier(self.outbox, self.wire, self.host, certificate)
        self.alive.append(self)
        self.told: list[PostSettled] = []
        """Outcomes, as :meth:`listen` got them."""

    # Doing

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Strand:
        strand = Strand(coroutine)
        self.host.strands.append(strand)
        return strand

    def with_courier(self) -> None:
        """The head of the courier's block."""
        self.run(self.courier.__aenter__())

    def end_block(self, error: BaseException | None = None) -> Strand:
        """The end of that block."""
        strand = self.start(self.courier.__aexit__(type(error) if error else None, error, None))
        self.settle()
        return strand

    def crash(self) -> None:
        """Nothing of the process goes on; whatever it locked is free."""
        for strand in self.host.strands:
            strand.coroutine.close()
        self.host.strands.clear()
        self.alive.remove(self)
        if isinstance(self.store, MemoryOutboxStore):
            self.store._sender = None

    def listen(self, *, done: bool = False) -> Strand:
        """Read outcomes, and say done to each."""

        async def read() -> None:
            async for settled in self.outbox.outcomes():
                self.told.append(settled)
                if done:
                    await settled.done()

        strand = self.start(read())
        self.settle()
        return strand

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it comes to, where time need not pass."""
        strand = self.start(coroutine)
        self.settle()
        assert strand.is_over(), "it waits for something"
        if strand.error is not None:
            raise strand.error
        result: T = strand.result
        return result

    def post(self, text: str = "one", kind: AnyKind = VOUCHER, **options: Any) -> int:
        return self.run(self.outbox.post(kind, ask(text), **options))

    def settle(self) -> None:
        """Let happen what happens now."""
        while self.host.turn():
            pass

    def pass_time(self, seconds: float) -> None:
        """Let happen what happens in that time."""
        end = self.clock.now.mono + seconds
        self.settle()
        while self.host.next_in + self.clock.now.mono <= end:
            self.clock.advance(max(0.0, self.host.next_in))
            self.settle()
        self.clock.advance(end - self.clock.now.mono)
        self.settle()

    # Looking

    @property
    def states(self) -> dict[str, str]:
        """Those of what has no outcome, by text."""
        return {
            post.message.query: post.state.name  # type: ignore[attr-defined]
            for post in self.run(self.outbox.pending())
        }

    @property
    def outcomes(self) -> dict[str, str]:
        """What was told, by text: the answer, or reason and disposition."""
        return {told.post.message.query: brief(told) for told in self.told}  # type: ignore[attr-defined]


def brief(told: PostSettled) -> str:
    outcome = told.outcome
    if isinstance(outcome, Failure):
        return f"{outcome.reason} {outcome.disposition.name}"
    assert isinstance(outcome, v1.GoAway)
    return f"answer {outcome.reason}"


def open_desk(*texts: str, policy: OutboxPolicy = POLICY, **options: Any) -> Desk:
    """A desk with these posts, whose courier is at work."""
    desk = Desk(policy)
    for text in texts:
        desk.post(text, **options)
    desk.with_courier()
    return desk
