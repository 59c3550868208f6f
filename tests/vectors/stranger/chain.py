"""docs/spec/chain.md and docs/spec/receipts.md."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from .certificates import kid, verifies
from .noise import Refused, require
from .protobuf import Malformed, NotCanonical, decode, encode

SUITE = b"\1"


def start(session_id: bytes, direction: int) -> bytes:
    return sha256(b"ratatoskr-v1 chain\0" + session_id + bytes([direction])).digest()


def entry(session_id: bytes, direction: int, number: int, envelope: bytes) -> bytes:
    return session_id + bytes([direction]) + number.to_bytes(8, "big") + envelope


def leaf_of(entry: bytes) -> bytes:
    return sha256(b"\0" + entry).digest()


def link(chain: bytes, leaf: bytes) -> bytes:
    return sha256(b"\2" + chain + leaf).digest()


def seal_input(
    session_id: bytes, signer: bytes, recipient: bytes, direction: int, number: int, chain: bytes, signed_at_ms: int
) -> bytes:
    place = bytes([direction]) + number.to_bytes(8, "big") + chain + signed_at_ms.to_bytes(8, "big")
    return b" " * 64 + b"ratatoskr-v1 seal\0" + SUITE + session_id + signer + recipient + place


def read_receipt(data: bytes) -> dict[str, Any]:
    """Raises Refused."""
    require(len(data) <= 1_056_734, "receipt.length")
    try:
        found = decode("Receipt", data)
    except Malformed:
        raise Refused("receipt.malformed") from None
    except NotCanonical:
        raise Refused("receipt.canonical") from None
    require(encode("Receipt", found) == data, "receipt.canonical")
    receipt: dict[str, Any] = {
        "direction": 0, "number": 0, "envelope": b"", "following_leaves": [], "signed_at_ms": 0, "signature": b"",
        "session_id": b"", "previous_chain": b"", "signer": b"", "recipient": b"",
    } | found  # fmt: skip
    leaves = receipt["following_leaves"]
    hashes = [receipt[name] for name in ("session_id", "previous_chain", "signer", "recipient")] + leaves
    require(receipt.get("version") == 1 and receipt.get("signature_suite") == 1, "receipt.field")
    require(receipt["direction"] <= 1 and len(leaves) <= 255, "receipt.field")
    require(receipt["number"] >= 1 and receipt["number"] + len(leaves) < 2**64, "receipt.field")
    require(1 <= len(receipt["envelope"]) <= 1_047_552 and len(receipt["signature"]) == 64, "receipt.field")
    require(all(len(each) == 32 for each in hashes), "receipt.field")
    return receipt


def verify_receipt(receipt: dict[str, Any], key: bytes) -> None:
    """Section "Verifying one". Raises Refused."""
    require(receipt["signature_suite"] == 1, "receipt.suite")
    require(receipt["signer"] == kid(key), "receipt.signer")
    own = leaf_of(entry(receipt["session_id"], receipt["direction"], receipt["number"], receipt["envelope"]))
    chain = receipt["previous_chain"]
    for leaf in (own, *receipt["following_leaves"]):
        chain = link(chain, leaf)
    place = receipt["number"] + len(receipt["following_leaves"])
    signed = seal_input(
        receipt["session_id"], receipt["signer"], receipt["recipient"], receipt["direction"], place, chain,
        receipt["signed_at_ms"],
    )  # fmt: skip
    require(verifies(key, receipt["signature"], signed), "receipt.signature")
