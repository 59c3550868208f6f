"""The one strict verifier: every signature in this project is checked here, under a key that was checked here.

Ed25519 as in RFC 8032, without cofactor, with the edges closed that libraries leave open:

- a public key is 32 bytes, canonical (y < p), a point of the curve, and not of small order. `cryptography` loads all
  14 encodings of small order, and some of them verify a signature that nobody made;
- S is below the group's order (the library refuses the rest), and R is not of small order (the library takes one).

An X25519 public key is 32 bytes, canonical (bit 255 clear, u < p), and not of small order.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ratatoskr.errors import Fault, ProtocolFault

ED25519 = 1
"""Number of the signature suite: Ed25519."""
KEY_BYTES = 32
SIGNATURE_BYTES = 64
KEY_LABEL = b"ratatoskr-v1 key"

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT = 1 << 255
_SPACES = b" " * 64

_Y_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
"""y of four of the eight points of small order; the other four have y of 0 and ±1, and -y of this one."""
_U_ORDER_8 = (
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)


def _small_order_edwards() -> frozenset[bytes]:
    """All 14 encodings of the eight points of small order: 5 canonical y and 2 that are not, with either sign."""
    values = (0, 1, _P - 1, _Y_ORDER_8, _P - _Y_ORDER_8, _P, _P + 1)
    return frozenset((y | sign).to_bytes(KEY_BYTES, "little") for y in values for sign in (0, _SIGN_BIT))


SMALL_ORDER_SIGNING_KEYS = _small_order_edwards()
SMALL_ORDER_EXCHANGE_KEYS = frozenset(u.to_bytes(KEY_BYTES, "little") for u in (0, 1, _P - 1, *_U_ORDER_8))


class KeyRefused(ProtocolFault):
    """These bytes are no public key that anyone may use. Rules: ``key.length``, ``key.canonical``, ``key.small_order``,
    ``key.curve``.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(Fault.REFUSED, rule, detail)


def signed_input(label: bytes, *parts: bytes) -> bytes:
    """What is signed: 64 spaces, the label of the purpose, a zero byte, and the parts."""
    return b"".join((_SPACES, label, b"\0", *parts))


def key_id(public: bytes) -> bytes:
    """``SHA256("ratatoskr-v1 key" ‖ 00 ‖ signature suite ‖ public key)``: 32 bytes that name a signing key."""
    return sha256(KEY_LABEL + b"\0" + bytes((ED25519,)) + public).digest()


class VerifyKey:
    """An Ed25519 public key that passed every check.

    Raises :class:`KeyRefused` for any other bytes. Equal and hashable by its bytes.
    """

    __slots__ = ("_verify", "kid", "public")

    def __init__(self, public: bytes) -> None:
        _check_signing_key(public)
        self.public: bytes = bytes(public)
        """The key, 32 bytes."""
        self.kid: bytes = key_id(self.public)
        """:func:`key_id` of the key, 32 bytes."""
        self._verify = Ed25519PublicKey.from_public_bytes(self.public).verify

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether the holder of the secret key signed ``message``. Any bytes may be given; nothing is raised."""
        if signature[:KEY_BYTES] in SMALL_ORDER_SIGNING_KEYS:
            return False
        try:
            self._verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self.public == other.public if isinstance(other, VerifyKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"VerifyKey({self.public.hex()})"


def _check_signing_key(public: bytes) -> None:
    if len(public) != KEY_BYTES:
        raise KeyRefused("key.length", f"a signing key has {KEY_BYTES} bytes, this one {len(public)}")
    if public in SMALL_ORDER_SIGNING_KEYS:
        raise KeyRefused("key.small_order", "the signing key is a point of small order: anyone can sign for it")
    y = int.from_bytes(public, "little") & (_SIGN_BIT - 1)
    if y >= _P:
        raise KeyRefused("key.canonical", "the signing key is not in its canonical encoding")
    # x² = (y² - 1) / (dy² + 1) has a root where numerator times denominator is a square (Euler's criterion).
    square = y * y
    if pow((square - 1) * (_D * square + 1), (_P - 1) // 2, _P) != 1:
        raise KeyRefused("key.curve", "the signing key is not a point of the curve")


def check_exchange_key(public: bytes) -> None:
    """Raise :class:`KeyRefused` unless these bytes are an X25519 public key that is safe to use."""
    if len(public) != KEY_BYTES:
        raise KeyRefused("key.length", f"an exchange key has {KEY_BYTES} bytes, this one {len(public)}")
    if int.from_bytes(public, "little") >= _P:
        raise KeyRefused("key.canonical", "the exchange key is not in its canonical encoding")
    if public in SMALL_ORDER_EXCHANGE_KEYS:
        raise KeyRefused("key.small_order", "the exchange key is a point of small order: its secret is known to all")
