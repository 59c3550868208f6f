"""Call: what a handler knows and may do beside the message."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from ratatoskr.errors import LocalProtocolError
from ratatoskr.events import RequestReceived
from ratatoskr.identity import VerifiedPeer
from ratatoskr.messages import AnyKind, Evidence, Kind
from ratatoskr.service.host import Host, PeerLink
from ratatoskr.service.pending import Exchange
from ratatoskr.service.store import StoreTransaction, Transaction

Req = TypeVar("Req", bound=Message)
Res = TypeVar("Res", bound=Message)


class Call:
    """One request, while its handler runs."""

    __slots__ = ("_begin", "_host", "_link", "_received", "_request", "deadline", "kind", "metadata", "transaction")

    def __init__(self, host: Host, link: PeerLink, event: RequestReceived) -> None:
        self._host = host
        self._link = link
        self._request = event.request
        self._received = event.received
        self._begin: Callable[[], StoreTransaction] | None = None
        self.deadline: float = event.deadline
        """Until when the caller waits, in seconds of the monotonic clock."""
        self.kind: AnyKind = event.kind
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
        """Ask the caller something back. Raises CallError, which does not become this call's failure by itself."""
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
        """As :meth:`request`, with evidence and ``replayed``. Raises CallError."""
        return await self._link.exchange(
            kind, message, timeout=timeout, key=key, expires_at=expires_at, metadata=metadata
        )

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
        """The call has claimed its nonce. Called by the service."""
        self._begin = begin
