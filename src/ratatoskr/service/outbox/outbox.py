"""Outbox: posts that survive the process, and what became of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from ratatoskr.errors import CallError, CallRefused, Failure, LocalProtocolError
from ratatoskr.limits import Limits
from ratatoskr.messages import AnyKind, Kind, KindRegistry, Receipt, Rule, business_nonce
from ratatoskr.messages.schema import check
from ratatoskr.messages.standard import STANDARD_KINDS
from ratatoskr.service.outbox.news import News, OutboxHost
from ratatoskr.service.outbox.owner import shown
from ratatoskr.service.outbox.policy import CANCELLED, OutboxPolicy
from ratatoskr.service.outbox.states import POSTING, Posting, PostingInput
from ratatoskr.service.outbox.store import OutboxStore, Parcel, Settlement
from ratatoskr.service.outcome import Outcome, decode_outcome, encode_outcome
from ratatoskr.session.metadata import check_metadata
from ratatoskr.session.outgoing import serialize_payload

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)

KEY_BYTES = 16
_BATCH = 100
_LANE_BYTES = 256
_LATEST = 1e16
"""Seconds since the epoch that no expiry reaches."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A post, read back."""

    id: int
    """What :meth:`Outbox.post` returned. Posts are numbered in their order."""
    kind: AnyKind
    message: Message
    key: bytes
    """Its business key; random bytes where it was posted without one."""
    lane: str
    metadata: dict[str, str]
    issued_at: float
    """When it was posted, in seconds since the epoch."""
    expires_at: float | None
    state: Posting


@dataclass(frozen=True, slots=True)
class PostSettled:
    """The outcome of a post. It comes again, in this process or a later one, until :meth:`done` has returned."""

    post: Posted
    outcome: Outcome
    """The answer, or the failure; its ``disposition`` says whether it may have been executed."""
    receipt: Receipt | None
    """The receipt of the answer; None for failures."""
    delivery: int
    """How often this outcome was given to the application, this time included."""
    _outbox: Outbox = field(repr=False)

    def answer(self, kind: Kind[Any, Res]) -> Res:
        """The answer, typed by its kind.

        Raises the :class:`~ratatoskr.CallError` that a call would have raised, LocalProtocolError for another kind.
        """
        if kind != self.post.kind:
            raise LocalProtocolError(f"post {self.post.id} is a {self.post.kind.name}, and no {kind.name}")
        if isinstance(self.outcome, Failure):
            raise CallError.of(self.outcome)
        assert isinstance(self.outcome, kind.response)
        return self.outcome

    async def done(self) -> None:
        """The application has taken note of the outcome, durably: forget the post. Idempotent."""
        await self._outbox.store.forget(self.post.id)


class Outbox:
    """Keeps what is posted until its outcome is known, and the outcome until the application has taken note of it.

    It can be used with and without a connection; what sends is a :class:`~ratatoskr.service.Courier`. One outbox
    belongs to one identity and one platform: they know a post by its nonce. ``kinds``: what may be posted.
    """

    def __init__(
        self,
        store: OutboxStore,
        host: OutboxHost,
        *,
        kinds: Iterable[AnyKind] = STANDARD_KINDS,
        policy: OutboxPolicy | None = None,
    ) -> None:
        self._host = host
        self.store: OutboxStore = store
        self.kinds: KindRegistry = KindRegistry(kinds)
        self.policy: OutboxPolicy = policy or OutboxPolicy()
        self.news: News = News(host)
        """Of what this process changed."""

    async def post(
        self,
        kind: Kind[Req, Any],
        message: Req,
        *,
        key: str | bytes | None = None,
        expires_at: float | None = None,
        metadata: dict[str, str] | None = None,
        lane: str = "",
    ) -> int:
        """Store a request that runs at most once; it is on disk when this returns. Returns its id.

        What is sent is fixed now, its issue time included, and sent again until there is an outcome. Posts of one lane
        are sent in their order, each when the one before has its outcome. ``key``: for kinds declared ``once=True``;
        without one, a second post is a second operation. ``expires_at``: seconds since the epoch, from when on it must
        not be executed.

        The same request under the same key is the same post, as long as that is not forgotten: its id is returned, and
        nothing changes. Raises LocalProtocolError for another request under its key and for other misuse, CallRefused
        where the message breaks rules of its kind, :class:`OutboxFull` where there is no room. Then nothing was stored.
        """
        if not kind.once:
            raise LocalProtocolError(f"{kind} may run twice: what is posted is repeated, and must run at most once")
        if kind not in self.kinds:
            raise LocalProtocolError(f"{kind} is not known to the outbox: name it in kinds=")
        if expires_at is not None and not 0 < expires_at < _LATEST:
            raise LocalProtocolError(f"expires_at={expires_at}; it is in seconds since the epoch, and above 0")
        _check_lane(lane)
        payload = serialize_payload(kind, message)
        business_key = kind.business_key(message, self._key(kind, key))
        assert business_key is not None
        if violations := check(message):
            first = violations[0]
            raise CallRefused(Rule.PAYLOAD_SCHEMA.failure(f"{first.field}: {first.description}", violations))
        parcel = Parcel(
            nonce=business_nonce(kind.type, kind.operation, business_key),
            type=kind.type,
            operation=kind.operation,
            key=business_key,
            payload=payload,
            metadata=tuple(sorted(check_metadata(metadata or {}, Limits()).items())),
            lane=lane,
            issued_at=self._host.now().wall,
            expires_at=expires_at,
        )
        stored = await self.store.add(parcel, max_entries=self.policy.entries, max_bytes=self.policy.bytes)
        if stored.payload != payload:
            raise LocalProtocolError(
                f"{kind.name}: post {stored.id} has the key {_shown(business_key)} and asks for something else"
            )
        self.news.fire()
        return stored.id

    def _key(self, kind: AnyKind, key: str | bytes | None) -> str | bytes | None:
        return self._host.entropy(KEY_BYTES) if kind.once is True and key is None else key

    async def pending(self) -> list[Posted]:
        """What has no outcome yet, in the order of posts."""
        return [self._posted(parcel) for parcel in await self.store.unsettled()]

    async def cancel(self, id: int) -> bool:
        """Take a post back that surely was not executed: its outcome is CANCELLED, *not processed*.

        False where it is too late for that: it is being sent, may have been executed, or has its outcome.
        """
        parcel = await self.store.get(id)
        return parcel is not None and await self.move(parcel, PostingInput.CANCEL, settlement_of(CANCELLED))

    async def outcomes(self) -> AsyncGenerator[PostSettled, None]:
        """Every outcome, oldest first, also those of earlier processes; then it waits for more, without end.

        An outcome comes at least once, and again from each new call of this, until ``done()``: call that when what
        follows from the outcome is safe. Outcomes are for one loop; two at a time would both get each of them.
        """
        after = 0
        while True:
            seen = self.news.count
            await self.expire()
            settled = await self.store.settled(after, _BATCH)
            for parcel in settled:
                after = parcel.settled
                delivery = await self.store.deliver(parcel.id)
                if delivery:
                    yield self._settled(parcel, delivery)
            if not settled:
                await self.news.wait(seen, self.policy.check_every)

    # For the courier

    async def bind(self, owner: bytes) -> None:
        """From now on it is sent as ``owner``. Raises LocalProtocolError where it is another one's, and not empty."""
        bound = await self.store.bind(owner)
        if bound != owner:
            raise LocalProtocolError(
                f"this outbox is of {shown(bound)} and holds posts without an outcome; sent by another identity they "
                f"could be executed twice: connect as {shown(bound)} until they have one, or use another outbox"
            )

    async def expire(self, sending: Collection[int] | None = None, said: float | None = None) -> None:
        """End what is too old. ``sending``: what the courier that asks is about; others end only what waits. ``said``:
        for how many seconds the server says that it keeps outcomes.
        """
        now = self._host.now().wall
        for parcel in await self.store.overdue(now, self.policy.issued_until(now, said)):
            failure = self.policy.ending(parcel, now, said)
            free = parcel.state is Posting.WAITING if sending is None else parcel.id not in sending
            if failure is not None and free:
                await self.move(parcel, PostingInput.EXPIRE, settlement_of(failure))

    async def move(self, parcel: Parcel, input: PostingInput, settlement: Settlement | None = None) -> bool:
        """Move the post as the table says. False, with no effect, where it is not in the parcel's state any more, or
        where that state has no such move.
        """
        after = POSTING.get((parcel.state, input))
        if after is parcel.state:
            return True
        if after is None or not await self.store.move(parcel.id, parcel.state, after, settlement):
            return False
        if settlement is not None:
            self.news.fire()
        return True

    def read(self, parcel: Parcel) -> tuple[AnyKind, Message]:
        """Kind and message of a post. Raises LocalProtocolError where they are not known here, or not as they were."""
        kind = self.kinds.get(parcel.type, parcel.operation)
        if kind is None:
            raise LocalProtocolError(
                f"post {parcel.id} is of kind {parcel.type}/{parcel.operation}, which the outbox does not know: "
                "name it in kinds="
            )
        try:
            message = kind.request.FromString(parcel.payload)
        except DecodeError:
            raise LocalProtocolError(f"post {parcel.id} is no {kind.request.DESCRIPTOR.name} any more") from None
        return kind, message

    def _posted(self, parcel: Parcel) -> Posted:
        kind, message = self.read(parcel)
        return Posted(
            id=parcel.id,
            kind=kind,
            message=message,
            key=parcel.key,
            lane=parcel.lane,
            metadata=dict(parcel.metadata),
            issued_at=parcel.issued_at,
            expires_at=parcel.expires_at,
            state=parcel.state,
        )

    def _settled(self, parcel: Parcel, delivery: int) -> PostSettled:
        assert parcel.settlement is not None
        post = self._posted(parcel)
        outcome = decode_outcome(post.kind, parcel.settlement.outcome)
        if outcome is None:
            answer = post.kind.response.DESCRIPTOR.name
            raise LocalProtocolError(f"the outcome of post {post.id} is no {answer} any more")
        receipt = Receipt.from_bytes(parcel.settlement.receipt) if parcel.settlement.receipt else None
        return PostSettled(post, outcome, receipt, delivery, self)


def settlement_of(outcome: Outcome, receipt: Receipt | None = None) -> Settlement:
    """The outcome as it is stored."""
    return Settlement(encode_outcome(outcome), b"" if receipt is None else receipt.to_bytes())


def _shown(key: bytes) -> str:
    try:
        return repr(key.decode())
    except UnicodeDecodeError:
        return key.hex()


def _check_lane(lane: str) -> None:
    try:
        length = len(lane.encode())
    except UnicodeEncodeError:
        raise LocalProtocolError(f"lane={lane!r} is no text: it has no UTF-8") from None
    if length > _LANE_BYTES:
        raise LocalProtocolError(f"lane= has {length} bytes; at most {_LANE_BYTES}")
