"""Spans: the messages between two seals, and the evidence that they are."""

from __future__ import annotations

from typing import NamedTuple

from ratatoskr.messages.chain import extend
from ratatoskr.messages.receipt import Receipt
from ratatoskr.messages.seals import SealContext


class SealedAt(NamedTuple):
    """A verified seal: when its signer says that it was made, and the signature."""

    signed_at_ms: int
    signature: bytes


class Span:
    """The leaves of the messages since the last seal, and the seal once there is one. Envelopes are not kept."""

    __slots__ = ("chain", "context", "first", "leaves", "seal")

    def __init__(self, context: SealContext, first: int, chain: bytes) -> None:
        self.context: SealContext = context
        self.first: int = first
        """Number of the first message."""
        self.chain: bytes = chain
        """The chain's value before the first message."""
        self.leaves: list[bytes] = []
        self.seal: SealedAt | None = None


class Evidence:
    """What one received message becomes provable by. Keeps the envelope for as long as you keep the evidence."""

    __slots__ = ("_envelope", "_number", "_span")

    def __init__(self, span: Span, number: int, envelope: bytes) -> None:
        self._span = span
        self._number = number
        self._envelope = envelope

    @property
    def session_id(self) -> bytes:
        """The session in which the message came, 32 bytes."""
        return self._span.context.session_id

    @property
    def sealed(self) -> bool:
        """Whether the seal over the message has come."""
        return self._span.seal is not None

    def receipt(self) -> Receipt | None:
        """A receipt that stands alone; None until the message's span is sealed (event ``SpanSealed``)."""
        span = self._span
        if span.seal is None:
            return None
        offset = self._number - span.first
        return Receipt(
            signature_suite=span.context.signature_suite,
            session_id=span.context.session_id,
            direction=span.context.direction,
            number=self._number,
            envelope=self._envelope,
            previous_chain=extend(span.chain, span.leaves[:offset]),
            following_leaves=tuple(span.leaves[offset + 1 :]),
            signer=span.context.signer,
            recipient=span.context.recipient,
            signed_at_ms=span.seal.signed_at_ms,
            signature=span.seal.signature,
        )
