"""Two parties with fixed keys, their messages, and a peer that keeps no rule, for the tests of this floor and above.

What the specification says of leaves, chains and seals is computed here once more, from hashlib alone.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from ratatoskr import v1
from ratatoskr.errors import Disposition, Failure, Fault, ProtocolFault, Status
from ratatoskr.identity import SecretKeys, VerifyKey
from ratatoskr.limits import Limits
from ratatoskr.messages import (
    Direction,
    Kind,
    KindRegistry,
    MessageSerializer,
    MessageValidator,
    Position,
    business_nonce,
)
from ratatoskr.messages.standard import STANDARD_KINDS

SESSION_ID = bytes(range(32))
OTHER_SESSION_ID = bytes(range(1, 33))
NOW_MS = 1_700_000_000_000
NONCE = b"a nonce, 16 long"
LEAF = bytes(range(100, 132))
EUR = v1.Money(currency="EUR", units=12, nanos=500_000_000)

NOTE = Kind(1000, 1, "NOTE", v1.Search, v1.SearchResult)
"""A sealed kind without a key, whose payloads are small."""
PLAIN = Kind(1000, 2, "PLAIN", v1.GoAway, v1.GoAway, sealed=False)
"""A deferred kind whose payload has no rules."""
FEED = Kind(1000, 3, "FEED", v1.GoAway, v1.GoAway, sealed=False, stream=True)
"""A deferred stream whose payloads have no rules."""
VAULT = Kind(1000, 4, "VAULT", v1.GoAway, v1.GoAway, stream=True)
"""A sealed stream."""
KINDS = STANDARD_KINDS | [NOTE, PLAIN, FEED, VAULT]


def keys(label: str) -> SecretKeys:
    """Secret keys that are the same in every run."""
    return SecretKeys(sha256(f"{label} exchange".encode()).digest() + sha256(f"{label} signing".encode()).digest())


CLIENT, SERVER, STRANGER = keys("client"), keys("server"), keys("stranger")


def verify_key(of: SecretKeys) -> VerifyKey:
    return VerifyKey(of.public.signing_key)


# The specification, once more


def leaf_by_hand(number: int, envelope: bytes, *, session_id: bytes = SESSION_ID, direction: int = 0) -> bytes:
    entry = session_id + bytes([direction]) + number.to_bytes(8, "big") + envelope
    return sha256(b"\x00" + entry).digest()


def chain_by_hand(envelopes: list[bytes], *, session_id: bytes = SESSION_ID, direction: int = 0) -> bytes:
    """The chain's value after these envelopes, from the first number on."""
    chain = sha256(b"ratatoskr-v1 chain" + b"\x00" + session_id + bytes([direction])).digest()
    for number, envelope in enumerate(envelopes, 1):
        leaf = leaf_by_hand(number, envelope, session_id=session_id, direction=direction)
        chain = sha256(b"\x02" + chain + leaf).digest()
    return chain


def kid_by_hand(of: SecretKeys) -> bytes:
    return sha256(b"ratatoskr-v1 key" + b"\x00" + b"\x01" + of.public.signing_key).digest()


def seal_by_hand(
    number: int,
    chain: bytes,
    *,
    label: bytes = b"ratatoskr-v1 seal",
    suite: int = 1,
    session_id: bytes = SESSION_ID,
    signer: SecretKeys = CLIENT,
    signer_kid: bytes | None = None,
    recipient: SecretKeys = SERVER,
    direction: int = 0,
    signed_at_ms: int = NOW_MS,
) -> v1.Seal:
    """A seal, with anything in it that a forger likes."""
    signed = (
        b" " * 64
        + label
        + b"\x00"
        + bytes([suite])
        + session_id
        + (signer_kid or kid_by_hand(signer))
        + kid_by_hand(recipient)
        + bytes([direction])
        + number.to_bytes(8, "big")
        + chain
        + signed_at_ms.to_bytes(8, "big")
    )
    return v1.Seal(signature_suite=1, signed_at_ms=signed_at_ms, signature=signer.sign(signed))


# Messages


def payment(end_to_end_id: str = "ORDER 1/2026", **changes: Any) -> v1.RatatoskrRequest:
    """A valid request of a sealed kind with a key; ``changes`` are fields of the envelope."""
    payload = v1.AuthorizePayment(
        end_to_end_id=end_to_end_id,
        debtor_account="DE89370400440532013000",
        creditor_account="FR7630006000011234567890189",
        amount=EUR,
    )
    fields: dict[str, Any] = {
        "type": v1.MESSAGE_TYPE_PAYMENT_REQUEST,
        "operation": 1,
        "nonce": business_nonce(11, 1, end_to_end_id.encode()),
        "issued_at_ms": NOW_MS,
        "payload": payload.SerializeToString(deterministic=True),
    }
    return v1.RatatoskrRequest(**(fields | changes))


def search(query: str = "lamp", **changes: Any) -> v1.RatatoskrRequest:
    """A valid request of a deferred kind."""
    fields: dict[str, Any] = {
        "type": v1.MESSAGE_TYPE_MARKETPLACE_REQUEST,
        "operation": 1,
        "nonce": NONCE,
        "issued_at_ms": NOW_MS,
        "payload": v1.Search(query=query).SerializeToString(deterministic=True),
    }
    return v1.RatatoskrRequest(**(fields | changes))


def custom(operation: int, payload: bytes, **changes: Any) -> v1.RatatoskrRequest:
    """A request of NOTE (1), PLAIN (2), FEED (3) or VAULT (4), or of a kind that nobody knows."""
    fields: dict[str, Any] = {"operation": operation, "nonce": NONCE, "issued_at_ms": NOW_MS, "payload": payload}
    return v1.RatatoskrRequest(type=v1.MessageType.ValueType(1000), **(fields | changes))


def found(**changes: Any) -> v1.RatatoskrResponse:
    """A valid answer to a search."""
    fields: dict[str, Any] = {
        "request_number": 1,
        "request_leaf": LEAF,
        "type": v1.MESSAGE_TYPE_MARKETPLACE_REQUEST,
        "operation": 1,
        "last": True,
    }
    if not {"payload", "error"} & changes.keys():
        fields["payload"] = v1.SearchResult(next_page_token=b"next").SerializeToString(deterministic=True)
    return v1.RatatoskrResponse(**(fields | changes))


def item(index: int = 0, **changes: Any) -> v1.RatatoskrResponse:
    """A valid item of a feed; with ``last=True`` the last answer."""
    fields: dict[str, Any] = {
        "type": 1000,
        "operation": 3,
        "index": index,
        "last": False,
        "payload": v1.GoAway(reason=str(index)).SerializeToString(deterministic=True),
    }
    return found(**(fields | changes))


def end(index: int = 0, **changes: Any) -> v1.RatatoskrResponse:
    """The end of a feed after so many items."""
    ended = item(index, **({"last": True} | changes))
    ended.ClearField("payload")
    return ended


def authorized(**changes: Any) -> v1.RatatoskrResponse:
    """A valid answer to a payment."""
    payload = v1.PaymentAuthorized(
        payment_id="p-1",
        end_to_end_id="ORDER 1/2026",
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=EUR,
        authorized_until_ms=NOW_MS,
    )
    return found(
        **(
            {"type": v1.MESSAGE_TYPE_PAYMENT_REQUEST, "payload": payload.SerializeToString(deterministic=True)}
            | changes
        )
    )


def envelope(message: v1.RatatoskrRequest | v1.RatatoskrResponse) -> bytes:
    """The exact bytes that the specification asks for."""
    form = b"\x01" if isinstance(message, v1.RatatoskrRequest) else b"\x02"
    return form + message.SerializeToString(deterministic=True)


def failure(reason: str = "NO", **changes: Any) -> Failure:
    return Failure(Status.FAILED_PRECONDITION, reason, "no", Disposition.FAILED, **changes)


# The two ends


def serializer(position: Position | None = None) -> MessageSerializer:
    """The client's sending end."""
    return MessageSerializer(CLIENT, SESSION_ID, Direction.FROM_CLIENT, SERVER.kid, position)


def validator(
    position: Position | None = None, *, kinds: KindRegistry = KINDS, limits: Limits | None = None
) -> MessageValidator:
    """The server's receiving end."""
    return MessageValidator(
        verify_key(CLIENT),
        SESSION_ID,
        Direction.FROM_CLIENT,
        kinds,
        limits or Limits(),
        position,
        own_kid=SERVER.kid,
    )


class Forger:
    """A client that writes what it likes, under its own true key unless it is told otherwise; or a server."""

    def __init__(self, direction: Direction = Direction.FROM_CLIENT) -> None:
        self.direction = direction
        self.sent: list[bytes] = []
        """All envelopes so far."""

    def flight(self, *envelopes: bytes, seal: bool | v1.Seal = True, **changes: Any) -> bytes:
        """The next flight. ``seal`` is whether to sign it, or what stands in place of the signature."""
        first = len(self.sent) + 1
        self.sent.extend(envelopes)
        fields: dict[str, Any] = {"first_number": first, "envelopes": envelopes}
        if isinstance(seal, v1.Seal):
            fields["seal"] = seal
        elif seal:
            fields["seal"] = self.seal()
        return v1.Flight(**(fields | changes)).SerializeToString()

    def seal(self, **changes: Any) -> v1.Seal:
        """A seal over all envelopes so far."""
        ends = (CLIENT, SERVER) if self.direction is Direction.FROM_CLIENT else (SERVER, CLIENT)
        fields: dict[str, Any] = {
            "number": len(self.sent),
            "chain": chain_by_hand(self.sent, direction=self.direction),
            "direction": self.direction,
            "signer": ends[0],
            "recipient": ends[1],
        }
        return seal_by_hand(**(fields | changes))


def broken(validator: MessageValidator, flight: bytes) -> tuple[str, Fault]:
    """The rule by which a flight is refused, and the fault; the validator stands where it stood."""
    before, unsealed = validator.position, validator.unsealed
    with pytest.raises(ProtocolFault) as caught:
        validator.open(flight)
    assert (validator.position, validator.unsealed) == (before, unsealed)
    return caught.value.rule, caught.value.fault


# Bytes


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    """One field of a message: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value
