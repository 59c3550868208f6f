"""keys.json: public keys and signatures, good and bad, with the rule that each bad one breaks."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512
from typing import Any

from ratatoskr.identity import KeyRefused, VerifyKey, check_exchange_key
from ratatoskr.identity.verify import SMALL_ORDER_EXCHANGE_KEYS, SMALL_ORDER_SIGNING_KEYS
from tests.vectors.cast import DEVICE, PROVIDER, secret

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493


def verdict(check: Callable[[bytes], object], key: bytes) -> str:
    """The rule that a key breaks; nothing for a good one."""
    try:
        check(key)
    except KeyRefused as refused:
        return refused.rule
    return ""


def judged(check: Callable[[bytes], object], keys: dict[str, bytes]) -> list[dict[str, str]]:
    return [{"what": what, "key": key.hex(), "rule": verdict(check, key)} for what, key in keys.items()]


def signing() -> dict[str, bytes]:
    small = {f"small order, {at}": key for at, key in enumerate(sorted(SMALL_ORDER_SIGNING_KEYS), 1)}
    return {
        "of the device": DEVICE.keys.public.signing_key,
        "of the provider": PROVIDER.keys.public.signing_key,
        **small,
        "y of p and 3": (PRIME + 3).to_bytes(32, "little"),
        "y of 2^255-1, with a sign": b"\xff" * 32,
        "off the curve": (2).to_bytes(32, "little"),
        "31 bytes": DEVICE.keys.public.signing_key[:31],
        "33 bytes": DEVICE.keys.public.signing_key + b"\0",
    }


def exchange() -> dict[str, bytes]:
    small = {f"small order, {at}": key for at, key in enumerate(sorted(SMALL_ORDER_EXCHANGE_KEYS), 1)}
    return {
        "of the device": DEVICE.keys.public.exchange_key,
        "u of p-2": (PRIME - 2).to_bytes(32, "little"),
        **small,
        "u of p": PRIME.to_bytes(32, "little"),
        "u of p and 9": (PRIME + 9).to_bytes(32, "little"),
        "the highest bit set": DEVICE.keys.public.exchange_key[:31] + b"\x80",
        "31 bytes": DEVICE.keys.public.exchange_key[:31],
        "33 bytes": DEVICE.keys.public.exchange_key + b"\0",
    }


def signatures() -> list[dict[str, Any]]:
    """Of the device, over one message."""
    key, message = VerifyKey(DEVICE.keys.public.signing_key), secret("a message", 50)
    good = DEVICE.sign(message)
    s = int.from_bytes(good[32:], "little")
    cases = {
        "good": good,
        "a changed bit in R": bytes([good[0] ^ 1]) + good[1:],
        "a changed bit in S": good[:-1] + bytes([good[-1] ^ 1]),
        "S and the order": good[:32] + (s + ORDER).to_bytes(32, "little"),
        **{f"R of small order, {at}": r + bytes(32) for at, r in enumerate(sorted(SMALL_ORDER_SIGNING_KEYS)[:3], 1)},
        "R is the neutral point, and the equation holds": neutral(message),
        "63 bytes": good[:63],
        "65 bytes": good + b"\0",
        "by the provider": PROVIDER.sign(message),
    }
    return [
        {"what": what, "message": message.hex(), "signature": signature.hex(), "valid": key.verify(signature, message)}
        for what, signature in cases.items()
    ]


def neutral(message: bytes) -> bytes:
    """A signature of the device's own key that libraries take: S = k · a, so that R is the neutral point."""
    seed, public = DEVICE.keys.to_bytes()[32:], DEVICE.keys.public.signing_key
    scalar = int.from_bytes(sha512(seed).digest()[:32], "little") & ~7 & (1 << 254) - 1 | 1 << 254
    r = (1).to_bytes(32, "little")
    k = int.from_bytes(sha512(r + public + message).digest(), "little") % ORDER
    return r + (k * scalar % ORDER).to_bytes(32, "little")


def make() -> dict[str, Any]:
    """keys.json"""
    return {
        "about": "Public keys with the rule that each breaks, nothing for a good one; signatures of the device.",
        "signing_keys": judged(VerifyKey, signing()),
        "exchange_keys": judged(check_exchange_key, exchange()),
        "signatures": {"key": DEVICE.keys.public.signing_key.hex(), "by": "device", "signatures": signatures()},
        "kids": [{"key": each.keys.public.signing_key.hex(), "kid": each.kid.hex()} for each in (DEVICE, PROVIDER)],
    }
