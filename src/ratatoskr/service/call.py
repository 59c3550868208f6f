"""Call: what a handler knows and may do beside the message."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message

from ratatoskr.errors import CallRefused, Disposition, Failure, LocalProtocolError, Status
from ratatoskr.events import RequestReceived
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import AnyKind, Evidence
from ratatoskr.service.caller import Caller
from ratatoskr.service.directory import Directory
from ratatoskr.service.host import Host
from ratatoskr.service.link import CallOptions, PeerLink
from ratatoskr.service.store import StoreTransaction, Transaction


class Call(Caller):
    """One request, while its handler runs.

    It is a :class:`Caller` too: ``request``, ``exchange`` and ``stream`` ask the caller something back, in the time
    that this call has left. The CallError that they raise does not become this call's failure by itself.
    """

    def __init__(
        self, host: Host, link: PeerLink, event: RequestReceived, directory: Directory[PeerLink] | None = None
    ) -> None:
        super().__init__(link)
        self._host = host
        self._directory = directory
        self._id = event.id
        self._request = event.request
        self._received = event.received
        self._begin: Callable[[], StoreTransaction] | None = None
        self.deadline: float = event.deadline
        """Until when the caller waits, in seconds of the monotonic clock."""
        self.kind: AnyKind = event.kind
        self.attempt: int = event.attempt
        """How often the caller says that it has sent this request before."""
        self.metadata: dict[str, str] = event.metadata
        """What the caller sent beside the payload."""
        self.transaction: StoreTransaction | None = None
        """What :meth:`begin` has begun."""

    def __repr__(self) -> str:
        return f"<Call {self.kind} from {self.peer.subject}>"

    @property
    def peer(self) -> VerifiedPeer:
        """Who asks."""
        return self._link.peer

    @property
    def nonce(self) -> bytes:
        """16 bytes: the idempotency key."""
        return self._request.nonce

    @property
    def issued_at(self) -> float:
        """When the caller says that it issued the request, in seconds since the epoch."""
        return self._request.issued_at_ms / 1000

    @property
    def expires_at(self) -> float | None:
        """From when on the request must not be executed, in seconds since the epoch; None for never."""
        return self._request.expires_at_ms / 1000 or None

    @property
    def evidence(self) -> Evidence:
        """What the request becomes provable by."""
        return self._received.evidence

    def remaining(self) -> float:
        """For how many seconds the caller still waits; 0 when it has given up."""
        return max(0.0, self.deadline - self._host.now().mono)

    def reach(self, subject: str, *, tenant: str = "") -> Caller:
        """Another peer that is connected here now, to ask it something in the time that this call has left.

        The latest where several of that name are connected. Raises CallRefused where none is, which does not become
        this call's failure by itself.
        """
        if self._directory is None:
            raise LocalProtocolError("only a server's handlers reach other peers: here is none but the caller")
        return _Reached(self._directory.reach(subject, tenant), self)

    async def send(self, item: Message) -> None:
        """Send an item of a stream. Called by the service with what the handler yields."""
        await self._link.send(self._id, item)

    def within(self, options: CallOptions) -> CallOptions:
        """The options of a call that has no more time than this one. Raises CallRefused where there is none left."""
        remaining = self.remaining()
        if remaining <= 0:
            raise CallRefused(_NOBODY_WAITS)
        timeout = options.get("timeout")
        return {**options, "timeout": remaining if timeout is None else min(timeout, remaining)}

    async def begin(self) -> Transaction:
        """Begin the transaction in which the handler's effect and the stored outcome commit together.

        The commit comes after the handler has returned, on condition that the claim is still owned; raising anything
        rolls back. Other writers wait from here on: await nothing but the transaction.

        Raises LocalProtocolError where the kind is not executed at most once, the store has no transactions, or
        ``begin()`` was called before.
        """
        if self._begin is None:
            raise LocalProtocolError(f"{self.kind} does not run at most once: declare it with once= to use begin()")
        if self.transaction is not None:
            raise LocalProtocolError("begin() was called before: a call has one transaction")
        self.transaction = transaction = self._begin()
        await transaction.start()
        return transaction

    def allow_begin(self, begin: Callable[[], StoreTransaction]) -> None:
        """The call has claimed its nonce, and nothing is begun. Called by the service."""
        self.abandon()
        self.transaction = None
        self._begin = begin

    def abandon(self) -> None:
        """Roll back what was begun; no-op after a commit. Called by the service."""
        if self.transaction is not None:
            self.transaction.abandon()


class _Reached(Caller):
    """Another peer, in the time of a call."""

    def __init__(self, link: PeerLink, call: Call) -> None:
        super().__init__(link)
        self._call = call

    def within(self, options: CallOptions) -> CallOptions:
        """The options of a call that has no more time than the handler's."""
        return self._call.within(options)


_NOBODY_WAITS = Failure(
    Status.DEADLINE_EXCEEDED, "NO_TIME_LEFT", "the caller of this handler waits no longer", Disposition.NOT_PROCESSED
)
