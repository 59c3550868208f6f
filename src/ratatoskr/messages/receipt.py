"""Receipts: proof, for anyone with the public key, that a party said exactly this, here, in this order."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError

from ratatoskr import v1
from ratatoskr.errors import RatatoskrError
from ratatoskr.identity.verify import ED25519, VerifyKey
from ratatoskr.limits import MAX_RECORD_BYTES
from ratatoskr.messages.canonical import is_canonical
from ratatoskr.messages.chain import extend, leaf, leaf_prefix
from ratatoskr.messages.envelopes import REQUEST, RESPONSE
from ratatoskr.messages.seals import SIGNATURE_BYTES, SealContext
from ratatoskr.messages.wire import shape_of

RECEIPT_VERSION = 1
MAX_FOLLOWING = 255
HASH_BYTES = 32
MAX_ENVELOPE_BYTES = MAX_RECORD_BYTES - 1024
"""No configuration allows longer envelopes."""
MAX_RECEIPT_BYTES = MAX_ENVELOPE_BYTES + MAX_FOLLOWING * (HASH_BYTES + 2) + 512
"""No receipt is longer."""
_MESSAGE_FIELDS = 16 * 1024


class ReceiptRefused(RatatoskrError):
    """The bytes are no receipt, or the receipt proves nothing. ``rule`` is stable, the text is for people."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"[{rule}] {detail}")
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Receipt:
    """One message and the seal over it. ``signed_at_ms`` is the signer's claim."""

    signature_suite: int
    session_id: bytes
    direction: int
    number: int
    envelope: bytes
    previous_chain: bytes
    following_leaves: tuple[bytes, ...]
    signer: bytes
    recipient: bytes
    signed_at_ms: int
    signature: bytes

    @property
    def message(self) -> v1.RatatoskrRequest | v1.RatatoskrResponse:
        """What was said. Raises ReceiptRefused where the envelope holds neither request nor response."""
        classes: dict[bytes, type[v1.RatatoskrRequest | v1.RatatoskrResponse]]
        classes = {REQUEST: v1.RatatoskrRequest, RESPONSE: v1.RatatoskrResponse}
        cls, body = classes.get(self.envelope[:1]), self.envelope[1:]
        if cls is None or shape_of(cls).exceeds(body, _MESSAGE_FIELDS):
            raise ReceiptRefused("receipt.envelope", "the envelope is neither a request nor a response")
        try:
            return cls.FromString(body)
        except DecodeError:
            raise ReceiptRefused("receipt.envelope", "the envelope does not parse") from None

    @property
    def leaf(self) -> bytes:
        """The message's leaf; a response names the leaf of its request."""
        return leaf(leaf_prefix(self.session_id, self.direction), self.number, self.envelope)

    def verify(self, key: VerifyKey) -> None:
        """Raise ReceiptRefused unless the holder of ``key`` sealed this.

        Whether that key was certified, for whom and at which time, is the question of
        :meth:`TrustPolicy.judge <ratatoskr.identity.TrustPolicy.judge>`.
        """
        if self.signature_suite != ED25519:
            raise ReceiptRefused("receipt.suite", f"signature suite {self.signature_suite} is not known")
        if key.kid != self.signer:
            raise ReceiptRefused("receipt.signer", "the receipt names another signing key")
        context = SealContext(self.session_id, self.signer, self.recipient, self.direction, self.signature_suite)
        chain = extend(self.previous_chain, (self.leaf, *self.following_leaves))
        place = self.number + len(self.following_leaves)
        if not key.verify(self.signature, context.signed_bytes(place, chain, self.signed_at_ms)):
            raise ReceiptRefused("receipt.signature", "the seal does not verify: something in the receipt was changed")

    def contradicts(self, other: Receipt) -> bool:
        """Whether both, each verified, prove that their signer told two stories: different messages at one place, or
        one message after different ones.
        """
        place = (self.signer, self.session_id, self.direction, self.number)
        if place != (other.signer, other.session_id, other.direction, other.number):
            return False
        return (self.previous_chain, self.leaf) != (other.previous_chain, other.leaf)

    def to_bytes(self) -> bytes:
        """The receipt as a ``ratatoskr.v1.Receipt``, the content of a receipt file."""
        return v1.Receipt(
            version=RECEIPT_VERSION,
            signature_suite=self.signature_suite,
            session_id=self.session_id,
            direction=self.direction,
            number=self.number,
            envelope=self.envelope,
            previous_chain=self.previous_chain,
            following_leaves=self.following_leaves,
            signer=self.signer,
            recipient=self.recipient,
            signed_at_ms=self.signed_at_ms,
            signature=self.signature,
        ).SerializeToString(deterministic=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Receipt:
        """Read a receipt. Raises ReceiptRefused for any bytes that :meth:`to_bytes` does not produce."""
        if len(data) > MAX_RECEIPT_BYTES:
            raise ReceiptRefused("receipt.length", f"{len(data)} bytes are more than any receipt has")
        try:
            message = v1.Receipt.FromString(data)
        except DecodeError:
            raise ReceiptRefused("receipt.malformed", "these bytes are no receipt") from None
        if not is_canonical(message, data):
            raise ReceiptRefused("receipt.canonical", "the receipt is not in its canonical encoding")
        hashes = (message.session_id, message.previous_chain, message.signer, message.recipient)
        if (
            message.version != RECEIPT_VERSION
            or message.signature_suite != ED25519
            or message.direction > 1
            or not 1 <= message.number < (1 << 64) - len(message.following_leaves)
            or not 1 <= len(message.envelope) <= MAX_ENVELOPE_BYTES
            or len(message.following_leaves) > MAX_FOLLOWING
            or len(message.signature) != SIGNATURE_BYTES
            or any(len(each) != HASH_BYTES for each in (*hashes, *message.following_leaves))
        ):
            raise ReceiptRefused("receipt.field", "a field of the receipt has no valid value")
        return cls(
            signature_suite=message.signature_suite,
            session_id=message.session_id,
            direction=message.direction,
            number=message.number,
            envelope=message.envelope,
            previous_chain=message.previous_chain,
            following_leaves=tuple(message.following_leaves),
            signer=message.signer,
            recipient=message.recipient,
            signed_at_ms=message.signed_at_ms,
            signature=message.signature,
        )
