"""The handshake, byte for byte: three messages, after which both sides hold the same secrets.

    H1       = "RTSK" ‖ version u8 ‖ suite u16 ‖ name_len u8 ‖ server_name      in clear, before the first message
    prologue = "ratatoskr-v1" ‖ 00 ‖ H1
    m1: -> e, e1      m2: <- e, ee, ekem1, s, es, B2 ‖ sigS      m3: -> s, se, B3 ‖ sigC

e1 and ekem1 stand in hybrid suites only. What B2 and B3 say is opaque here, and so are the signatures: the caller makes
and verifies them over the transcript hash h that it is handed. The caller also compares the peer's static key with the
peer's certificate. Until it has done both, nothing is authenticated.

Steps come in one order: the client's are ``m1``, ``read_m2``, ``m3``, ``establish``, the server's ``read_m1``,
``m2``, ``read_m3``, ``establish``. A step out of order raises :class:`LocalProtocolError` and changes nothing. A step
that fails ends the handshake.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from ratatoskr.channel.noise import KEY_BYTES, XX, XXHFS, HandshakeState, refused
from ratatoskr.channel.records import RecordCipher
from ratatoskr.channel.suites import Entropy, Suite
from ratatoskr.errors import LocalProtocolError

VERSION: Final = 1
"""The version of the protocol that this package speaks."""
SIGNATURE_BYTES: Final = 64
MAX_SERVER_NAME_BYTES: Final = 255

_MAGIC: Final = b"RTSK"
_H1: Final = Struct(">4sBHB")
_SERVER_NAME: Final = re.compile(r"[a-z0-9._:-]{1,255}")

MakePayload: TypeAlias = Callable[[bytes], bytes]
"""From the transcript hash h, B ‖ signature."""


class H1(NamedTuple):
    """What the client says in clear."""

    suite_id: int
    server_name: str


class SignedPayload(NamedTuple):
    """B, the signature that follows it, and the transcript hash h that the signature covers beside B."""

    body: bytes
    signature: bytes
    h: bytes


def encode_h1(suite_id: int, server_name: str) -> bytes:
    """H1 for this version of the protocol.

    A server name is 1 to 255 characters out of ``a-z 0-9 . - _ :``, so that host names and addresses fit; anything else
    raises :class:`LocalProtocolError`.
    """
    if not _SERVER_NAME.fullmatch(server_name):
        raise LocalProtocolError(
            f"{server_name!r} is no server name: use 1 to 255 of the characters a-z, 0-9, '.', '-', '_' and ':'"
        )
    return _H1.pack(_MAGIC, VERSION, suite_id, len(server_name)) + server_name.encode("ascii")


def parse_h1(body: bytes) -> tuple[H1, bytes]:
    """H1 at the beginning of m1, and what follows it; :class:`ProtocolFault` (REFUSED) when it is not one of ours."""
    if len(body) < _H1.size:
        raise refused("handshake.short", "the first message ends inside its header")
    magic, version, suite_id, length = _H1.unpack_from(body)
    if magic != _MAGIC:
        raise refused("handshake.magic", "the first message is not of this protocol")
    if version != VERSION:
        raise refused("handshake.version", f"the client speaks version {version}, this server {VERSION}")
    end = _H1.size + length
    name = body[_H1.size : end].decode("latin-1")
    if len(name) < length or not _SERVER_NAME.fullmatch(name):
        raise refused("handshake.server-name", "the server name is cut short or has other characters than allowed")
    return H1(suite_id, name), body[end:]


def first_message_bytes(suite: Suite, server_name_bytes: int = MAX_SERVER_NAME_BYTES) -> int:
    """The exact length of m1, or the greatest when the length of the server's name is left out."""
    return _H1.size + server_name_bytes + KEY_BYTES + (0 if suite.kem is None else suite.kem.public_bytes)


class Exporter:
    """Secrets of one handshake for other uses, each bound to a label and a context."""

    __slots__ = ("_prk",)

    def __init__(self, handshake: HandshakeState) -> None:
        self._prk = handshake.derive(b"ratatoskr-v1 exporter\0" + handshake.h)

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """``length`` bytes, at most 8160."""
        info = b"ratatoskr-v1 " + label.encode("ascii") + b"\0" + sha256(context).digest()
        return HKDFExpand(SHA256(), length, info).derive(self._prk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """What a handshake leaves behind; everything else is dropped.

    ``h``: the transcript hash after m3. ``session_id`` and ``resume_secret``, 32 bytes each, belong to the session if
    this handshake begins one. ``send`` and ``receive`` protect and open records.
    """

    h: bytes
    session_id: bytes
    resume_secret: bytes = field(repr=False)
    send: RecordCipher
    receive: RecordCipher


class _Handshake:
    """What the two sides share."""

    __slots__ = ("_entropy", "_next", "_noise", "_static", "_suite")

    _suite: Suite
    _noise: HandshakeState | None

    def __init__(self, static: X25519PrivateKey, entropy: Entropy, first: str) -> None:
        self._static = static
        self._entropy = entropy
        self._noise = None
        self._next = first

    @property
    def suite(self) -> Suite:
        """The suite of this handshake; on the server, from m1 on."""
        return self._suite

    def _begin(self, suite: Suite, h1: bytes, *, initiator: bool) -> HandshakeState:
        self._suite = suite
        self._noise = HandshakeState(
            XX if suite.kem is None else XXHFS,
            suite,
            initiator=initiator,
            prologue=b"ratatoskr-v1\0" + h1,
            entropy=self._entropy,
            static=self._static,
        )
        return self._noise

    def _enter(self, step: str) -> None:
        """A step that fails leaves no next one."""
        if step != self._next:
            raise LocalProtocolError(f"{step}() is out of order: {self._next or 'a new handshake'} is next")
        self._next = ""

    def _running(self) -> HandshakeState:
        assert self._noise is not None
        return self._noise

    def _write(self, make: MakePayload) -> bytes:
        noise = self._running()
        noise.write_tokens()
        return noise.write_payload(make(noise.h))

    def _read(self, message: bytes) -> SignedPayload:
        noise = self._running()
        noise.read_tokens(message)
        if noise.remote_static == self._static.public_key().public_bytes_raw():
            raise refused("handshake.reflected", "the peer presents this side's own static key")
        h = noise.h
        payload = noise.read_payload()
        if len(payload) < SIGNATURE_BYTES:
            raise refused("handshake.signature", "a handshake payload is too short to hold a signature")
        return SignedPayload(payload[:-SIGNATURE_BYTES], payload[-SIGNATURE_BYTES:], h)

    def _peer_static(self) -> bytes:
        if self._noise is None or self._next not in {"m3", "establish"}:
            raise LocalProtocolError("The peer's static key is known after its signed message and until establish()")
        return self._noise.remote_static

    def _establish(self, *, client: bool) -> Established:
        noise = self._running()
        exporter = Exporter(noise)
        session_id = exporter.export("session-id", b"", 32)
        resume_secret = exporter.export("resume", b"", 32)
        ciphers = [RecordCipher(self._suite, key) for key in noise.split()]
        self._noise = None
        return Established(
            h=noise.h,
            session_id=session_id,
            resume_secret=resume_secret,
            send=ciphers[0 if client else 1],
            receive=ciphers[1 if client else 0],
        )


class ClientHandshake(_Handshake):
    """The side that connects."""

    __slots__ = ("_h1",)

    def __init__(self, *, static: X25519PrivateKey, suite: Suite, server_name: str, entropy: Entropy) -> None:
        super().__init__(static, entropy, "m1")
        self._h1 = encode_h1(suite.id, server_name)
        self._suite = suite

    @property
    def server_static(self) -> bytes:
        """The server's static public key, 32 bytes, after ``read_m2``. It must be the one of its certificate."""
        return self._peer_static()

    def m1(self) -> bytes:
        """The body of record M1."""
        self._enter("m1")
        noise = self._begin(self._suite, self._h1, initiator=True)
        noise.write_tokens()
        body = self._h1 + noise.write_payload(b"")
        self._next = "read_m2"
        return body

    def read_m2(self, body: bytes) -> SignedPayload:
        """B2, sigS and the h that sigS covers, from the body of record M2."""
        self._enter("read_m2")
        payload = self._read(body)
        self._next = "m3"
        return payload

    def m3(self, make: MakePayload) -> bytes:
        """The body of record M3; ``make`` is given the h that sigC covers and returns B3 ‖ sigC."""
        self._enter("m3")
        body = self._write(make)
        self._next = "establish"
        return body

    def establish(self) -> Established:
        """The channel. Its first record to come is the server's RESPONSE."""
        self._enter("establish")
        return self._establish(client=True)


class ServerHandshake(_Handshake):
    """The side that is connected to. ``suites`` are those that it accepts."""

    __slots__ = ("_server_name", "_suites")

    def __init__(self, *, static: X25519PrivateKey, suites: Iterable[Suite], entropy: Entropy) -> None:
        super().__init__(static, entropy, "read_m1")
        self._suites = {suite.id: suite for suite in suites}
        self._server_name = ""

    @property
    def m1_limit(self) -> int:
        """The longest first message that any accepted suite allows, in bytes."""
        return max(map(first_message_bytes, self._suites.values()))

    @property
    def server_name(self) -> str:
        """Whom the client wants to reach, after ``read_m1``; empty before."""
        return self._server_name

    @property
    def client_static(self) -> bytes:
        """The client's static public key, 32 bytes, after ``read_m3``. It must be the one of its certificate."""
        return self._peer_static()

    def read_m1(self, body: bytes) -> None:
        """Read the body of record M1."""
        self._enter("read_m1")
        (suite_id, server_name), message = parse_h1(body)
        suite = self._suites.get(suite_id)
        if suite is None:
            raise refused("handshake.suite", f"suite {suite_id:#06x} is not accepted here")
        if len(body) != first_message_bytes(suite, len(server_name)):
            raise refused("handshake.length", f"the first message has {len(body)} bytes, not what its suite prescribes")
        noise = self._begin(suite, body[: -len(message)], initiator=False)
        noise.read_tokens(message)
        noise.read_payload()
        self._server_name = server_name
        self._next = "m2"

    def m2(self, make: MakePayload) -> bytes:
        """The body of record M2; ``make`` is given the h that sigS covers and returns B2 ‖ sigS.

        Raises :class:`ProtocolFault` when a key in m1 is unusable.
        """
        self._enter("m2")
        body = self._write(make)
        self._next = "read_m3"
        return body

    def read_m3(self, body: bytes) -> SignedPayload:
        """B3, sigC and the h that sigC covers, from the body of record M3."""
        self._enter("read_m3")
        payload = self._read(body)
        self._next = "establish"
        return payload

    def establish(self) -> Established:
        """The channel. Its first record to go is the RESPONSE."""
        self._enter("establish")
        return self._establish(client=False)
