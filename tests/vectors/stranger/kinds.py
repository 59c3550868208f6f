"""docs/spec/envelopes.md, "Kinds" and "Nonces", and docs/spec/at-most-once.md, the digest."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, NamedTuple


class Kind(NamedTuple):
    request: str
    response: str
    sealed: bool
    key: str = ""
    stream: bool = False


KINDS = {
    (10, 1): Kind("Search", "SearchResult", sealed=False),
    (10, 2): Kind("PublishOffer", "OfferPublished", sealed=True, key="publication_id"),
    (10, 3): Kind("PlaceOrder", "OrderPlaced", sealed=True, key="order_id"),
    (10, 4): Kind("CancelOrder", "OrderCancelled", sealed=True, key="order_id"),
    (10, 5): Kind("Browse", "OfferFound", sealed=False, stream=True),
    (11, 1): Kind("AuthorizePayment", "PaymentAuthorized", sealed=True, key="end_to_end_id"),
    (11, 2): Kind("CapturePayment", "PaymentCaptured", sealed=True, key="capture_id"),
    (11, 3): Kind("RefundPayment", "PaymentRefunded", sealed=True, key="refund_id"),
    (12, 1): Kind("RegisterProvider", "ProviderRegistered", sealed=True, key="registration_id"),
}


def nonce(type: int, operation: int, key: bytes) -> bytes:
    place = type.to_bytes(4, "big") + operation.to_bytes(4, "big")
    return sha256(b"ratatoskr-v1 nonce\0" + place + key).digest()[:16]


def key_bytes(value: str | bytes | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def digest(type: int, operation: int, payload: bytes) -> bytes:
    place = type.to_bytes(4, "big") + operation.to_bytes(4, "big")
    return sha256(b"ratatoskr-v1 operation\0" + place + sha256(payload).digest()).digest()


def keeps_rules(name: str, payload: dict[str, Any]) -> bool:
    """docs/spec/payloads.md, as far as the vectors need it: of one payload."""
    if name != "AuthorizePayment":
        return True
    amount = payload.get("amount")
    return (
        re.fullmatch(r"[0-9A-Za-z/?:().,'+ -]{1,35}", payload.get("end_to_end_id", "")) is not None
        and all(
            re.fullmatch(r"[0-9A-Za-z._:/-]{1,34}", payload.get(account, ""))
            for account in ("debtor_account", "creditor_account")
        )
        and amount is not None
        and re.fullmatch(r"[A-Z]{3}", amount.get("currency", "")) is not None
        and amount.get("units", 0) >= 0
        and (amount.get("units", 0), amount.get("nanos", 0)) > (0, 0)
    )
