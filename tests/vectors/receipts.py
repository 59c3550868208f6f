"""receipts.json: receipts that prove something, and one that does not for each rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ratatoskr import Direction, MessageSerializer, Receipt, ReceiptRefused, v1
from ratatoskr.identity import Identity, VerifyKey
from ratatoskr.messages.envelopes import request_envelope
from tests.vectors.cast import DEVICE, NOW_MS, PROVIDER, SERVER, secret
from tests.vectors.envelopes import REQUEST

SESSION_ID = secret("a session")
KEYS = {"device": DEVICE, "server": SERVER, "provider": PROVIDER}


def span(envelopes: list[bytes], before: int = 0, *, signer: Identity = DEVICE) -> list[Receipt]:
    """Receipts of messages under one seal, after so many others."""
    serializer = MessageSerializer(signer, SESSION_ID, Direction.FROM_CLIENT, SERVER.kid)
    for at in range(before):
        serializer.append(b"\1" + bytes([at]))
    first, chains, leaves = serializer.number + 1, [], []
    for envelope in envelopes:
        chains.append(serializer.chain)
        leaves.append(serializer.append(envelope))
    seal = serializer.seal(NOW_MS)
    return [
        Receipt(
            signature_suite=1,
            session_id=SESSION_ID,
            direction=0,
            number=first + at,
            envelope=envelope,
            previous_chain=chains[at],
            following_leaves=tuple(leaves[at + 1 :]),
            signer=signer.kid,
            recipient=SERVER.kid,
            signed_at_ms=NOW_MS,
            signature=seal.signature,
        )
        for at, envelope in enumerate(envelopes)
    ]


ENVELOPE = request_envelope(REQUEST)
THREE = span([ENVELOPE, b"\2between", b"\1last"], before=2)
GOOD = THREE[0]


def edited(edit: Callable[[v1.Receipt], object]) -> bytes:
    """A good receipt, changed, in its canonical encoding."""
    message = v1.Receipt.FromString(GOOD.to_bytes())
    edit(message)
    return message.SerializeToString(deterministic=True)


def changed(name: str, value: object) -> bytes:
    return edited(lambda message: setattr(message, name, value))


def flipped(data: bytes) -> bytes:
    """Its last bit is another."""
    return data[:-1] + bytes([data[-1] ^ 1])


def good() -> Iterator[tuple[str, bytes]]:
    """Receipts of the device."""
    yield "the first message of a session, alone in its span", span([ENVELOPE])[0].to_bytes()
    yield "the first of three", THREE[0].to_bytes()
    yield "the second of three", THREE[1].to_bytes()
    yield "the last of three", THREE[2].to_bytes()
    yield "the first of 256", span([b"\1" + bytes([at]) for at in range(256)])[0].to_bytes()
    yield "an envelope that is no message", span([b"\3"])[0].to_bytes()


def bad() -> Iterator[tuple[str, bytes, str]]:
    """What is wrong, the bytes, whose key."""
    exact = GOOD.to_bytes()
    yield "another key", exact, "provider"
    yield (
        "a changed bit in the envelope",
        changed("envelope", flipped(GOOD.envelope)),
        "device",
    )
    yield "another number", changed("number", GOOD.number + 1), "device"
    yield "another direction", changed("direction", 1), "device"
    yield "another session", changed("session_id", secret("another session")), "device"
    yield "another history", changed("previous_chain", secret("another history")), "device"
    yield "another recipient", changed("recipient", PROVIDER.kid), "device"
    yield "another time", changed("signed_at_ms", NOW_MS + 1), "device"
    yield "a leaf is missing", edited(lambda message: message.following_leaves.pop()), "device"
    yield "a leaf is added", edited(lambda message: message.following_leaves.append(secret("a leaf"))), "device"
    yield "two leaves are exchanged", edited(_exchange), "device"
    yield (
        "a changed bit in the signature",
        changed("signature", flipped(GOOD.signature)),
        "device",
    )
    yield "a victim's seal under another name", changed("signer", PROVIDER.kid), "provider"
    yield "cut short", exact[:-1], "device"
    yield "an unknown field", exact + b"\x78\1", "device"
    yield "longer than any receipt", exact + bytes(1_056_735 - len(exact)), "device"
    yield "version 2", changed("version", 2), "device"
    yield "suite 2", changed("signature_suite", 2), "device"
    yield "direction 2", changed("direction", 2), "device"
    yield "number 0", changed("number", 0), "device"
    yield "a number that ends beyond 64 bits", changed("number", 2**64 - 2), "device"
    yield "no envelope", changed("envelope", b""), "device"
    yield "a signature of 63 bytes", changed("signature", GOOD.signature[:63]), "device"
    yield "a history of 31 bytes", changed("previous_chain", bytes(31)), "device"
    yield "a leaf of 33 bytes", edited(lambda message: message.following_leaves.append(bytes(33))), "device"
    yield "256 leaves", edited(lambda message: message.following_leaves.extend([bytes(32)] * 254)), "device"


def _exchange(message: v1.Receipt) -> None:
    first, second = message.following_leaves
    message.following_leaves[:] = [second, first]


def judged(data: bytes, key: str) -> str:
    """The rule that a receipt breaks; nothing for a good one."""
    try:
        Receipt.from_bytes(data).verify(VerifyKey(KEYS[key].keys.public.signing_key))
    except ReceiptRefused as refused:
        return refused.rule
    return ""


def entry(what: str, data: bytes, key: str) -> dict[str, str]:
    """The longest one is told by what it ends with."""
    return {"what": what, "bytes": data.rstrip(b"\0").hex(), "zeros": len(data) - len(data.rstrip(b"\0"))} | {  # type: ignore[return-value]
        "key": key,
        "rule": judged(data, key),
    }


def contradictions() -> list[dict[str, Any]]:
    """Pairs of receipts, each good, and whether they prove that their signer told two stories."""
    one, other, later = span([b"\1one story"])[0], span([b"\1another story"])[0], span([b"\1one story"], before=1)[0]
    pairs = {"two messages at one place": (one, other), "the same twice": (one, one), "two places": (one, later)}
    return [
        {"what": what, "receipts": [a.to_bytes().hex(), b.to_bytes().hex()], "contradict": a.contradicts(b)}
        for what, (a, b) in pairs.items()
    ]


def make() -> dict[str, Any]:
    """receipts.json"""
    receipts = [entry(what, data, "device") for what, data in good()] + [entry(*each) for each in bad()]
    return {
        "about": "Receipts with the key to verify them under, and the rule that each breaks; nothing for a good one.",
        "keys": {name: identity.keys.public.signing_key.hex() for name, identity in KEYS.items()},
        "receipts": receipts,
        "contradictions": contradictions(),
    }
