"""MessageSerializer: numbers messages, chains them, seals them, and packs them into flights."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from ratatoskr import v1
from ratatoskr.messages.chain import Direction, Position, leaf_prefix
from ratatoskr.messages.envelopes import request_envelope, response_envelope
from ratatoskr.messages.seals import SealContext


class Signer(Protocol):
    """What seals are made with: an Identity, or secret keys alone."""

    @property
    def kid(self) -> bytes:
        """The id of the signing key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        ...


class MessageSerializer:
    """The sending end of one direction of a session.

    ``position`` is where it stands; it moves with every message. Usable alone: two of these, two validators and a
    queue between them are a complete exchange without any connection.
    """

    __slots__ = ("_chain", "_context", "_number", "_prefix", "_sealed", "_signer")

    def __init__(
        self, signer: Signer, session_id: bytes, direction: Direction, peer_kid: bytes, position: Position | None = None
    ) -> None:
        self._signer = signer
        self._context = SealContext(session_id, signer.kid, peer_kid, direction)
        self._prefix = leaf_prefix(session_id, direction)
        self._number, self._chain, self._sealed = position or Position.start(session_id, direction)

    @property
    def position(self) -> Position:
        """Last number, chain value there, last number under a seal."""
        return Position(self._number, self._chain, self._sealed)

    @property
    def number(self) -> int:
        """The last number."""
        return self._number

    @property
    def unsealed(self) -> int:
        """Messages since the last seal."""
        return self._number - self._sealed

    @property
    def chain(self) -> bytes:
        """The chain's value at the last number."""
        return self._chain

    def at(self, position: Position) -> MessageSerializer:
        """The same direction, from another place on."""
        context = self._context
        return MessageSerializer(
            self._signer, context.session_id, Direction(context.direction), context.recipient, position
        )

    def append(self, envelope: bytes) -> bytes:
        """Give the envelope the next number. Returns its leaf."""
        self._number = number = self._number + 1
        leaf = sha256(self._prefix + number.to_bytes(8, "big") + envelope).digest()
        self._chain = sha256(b"\2" + self._chain + leaf).digest()
        return leaf

    def seal(self, signed_at_ms: int) -> v1.Seal:
        """A seal over everything up to the last number."""
        signed = self._context.signed_bytes(self._number, self._chain, signed_at_ms)
        self._sealed = self._number
        return v1.Seal(
            signature_suite=self._context.signature_suite,
            signed_at_ms=signed_at_ms,
            signature=self._signer.sign(signed),
        )

    def pack(
        self,
        messages: Sequence[v1.RatatoskrRequest | v1.RatatoskrResponse],
        *,
        signed_at_ms: int | None = None,
        ack: int = 0,
    ) -> bytes:
        """One flight of these messages; sealed where ``signed_at_ms`` (milliseconds since the epoch) is given."""
        first = self._number + 1
        envelopes = [
            request_envelope(each) if isinstance(each, v1.RatatoskrRequest) else response_envelope(each)
            for each in messages
        ]
        for envelope in envelopes:
            self.append(envelope)
        seal = None if signed_at_ms is None else self.seal(signed_at_ms)
        return v1.Flight(first_number=first, envelopes=envelopes, ack=ack, seal=seal).SerializeToString()
