"""Records: type u8, length u24, body. The reader that finds them in a byte stream, the cipher that protects them.

The stream's boundaries mean nothing: a chunk may hold a part of a record, or many. From type RESPONSE on, except
ALERT, a body is the output of the AEAD, its length includes the tag, and the four header bytes are the associated data.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag

from ratatoskr.channel.noise import MAX_COUNTER, rekeyed
from ratatoskr.channel.suites import TAG_BYTES, Suite
from ratatoskr.errors import Fault, LocalProtocolError, ProtocolFault
from ratatoskr.limits import MAX_RECORD_BYTES

HEADER_BYTES: Final = 4
MAX_PLAINTEXT_BYTES: Final = MAX_RECORD_BYTES - TAG_BYTES
"""No record carries more."""

RECORDS_PER_KEY: Final = 1 << 20
"""After so many records a sender changes its key; a receiver gives it twice as many."""
BYTES_PER_KEY: Final = 1 << 36
"""After so many bytes of bodies a sender changes its key; a receiver gives it twice as many."""


class RecordType(IntEnum):
    """What a record is."""

    M1 = 0x01
    """The client's first handshake message."""
    M2 = 0x02
    """The server's handshake message."""
    M3 = 0x03
    """The client's second handshake message."""
    RESPONSE = 0x04
    """CONNECTION_RESPONSE, record 0 of the server's cipher."""
    DATA = 0x10
    """A flight."""
    DATA_REKEY = 0x11
    """A flight, after which the sender changes its key."""
    ALERT = 0x1F
    """The end of a handshake that failed, in clear."""


_TYPES: Final[dict[int, RecordType]] = {int(each): each for each in RecordType}
_HEADER: Final = Struct(">I")
_ALERT: Final = Struct(">HI")
_pack_header = _HEADER.pack
_unpack_header = _HEADER.unpack_from
_DATA: Final = int(RecordType.DATA)
_DATA_REKEY: Final = int(RecordType.DATA_REKEY)


def encode_record(kind: int, body: bytes) -> bytes:
    """A whole record in clear: a handshake message or an alert."""
    if len(body) > MAX_RECORD_BYTES:
        raise LocalProtocolError(f"A record body may have {MAX_RECORD_BYTES} bytes, not {len(body)}")
    return _pack_header(kind << 24 | len(body)) + body


class Alert(NamedTuple):
    """What a refused peer is told: one code, and the number under which the other side's log has the reason."""

    code: int
    reference: int


def encode_alert(code: int, reference: int) -> bytes:
    """A whole ALERT record. ``code`` is a u16, ``reference`` a u32."""
    return encode_record(RecordType.ALERT, _ALERT.pack(code, reference))


def parse_alert(body: bytes) -> Alert:
    """Read the body of an ALERT record."""
    if len(body) != _ALERT.size:
        raise ProtocolFault(Fault.RECORD_MALFORMED, "record.alert", f"an alert has 6 bytes, not {len(body)}")
    return Alert(*_ALERT.unpack(body))


class RecordReader:
    """Finds records in a byte stream.

    It holds the bytes of one unfinished record and of the chunks that were fed since :meth:`next` last returned None.
    Every byte is copied a constant number of times, however the stream is cut.
    """

    __slots__ = ("_buffer", "_fault", "_start")

    def __init__(self) -> None:
        # bytes while records are cut from it, a bytearray while an unfinished record grows
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._fault: ProtocolFault | None = None

    @property
    def partial(self) -> bool:
        """Whether bytes wait that :meth:`next` has not returned: after it returned None, a record has begun."""
        return len(self._buffer) > self._start

    @property
    def buffered(self) -> int:
        """Bytes that wait."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream, in chunks of any size. After a fault they are dropped."""
        if self._fault is not None:
            return
        buffer = self._buffer
        if len(buffer) == self._start:
            self._buffer = bytes(data)
            self._start = 0
        elif isinstance(buffer, bytearray):
            buffer += data
        else:
            self._buffer = grown = bytearray(memoryview(buffer)[self._start :])
            self._start = 0
            grown += data

    def next(self, limit: Callable[[RecordType], int | None]) -> tuple[RecordType, bytes, bytes] | None:
        """The type, the header and the body of the next record; None while it is not whole.

        ``limit`` maps a type to the longest body, in bytes, that it may have now, and to None when it may not come
        at all; the ``get`` of a dictionary will do. A header is judged as soon as it is whole, before the body.

        Raises :class:`ProtocolFault`: RECORD_MALFORMED for an unknown type or one that may not come, RECORD_TOO_LONG.
        The same fault is raised ever after.
        """
        buffer = self._buffer
        start = self._start
        body = start + HEADER_BYTES
        if len(buffer) < body:
            if self._fault is not None:
                raise self._fault
            return None
        header: int = _unpack_header(buffer, start)[0]
        kind = _TYPES.get(header >> 24)
        allowed = None if kind is None else limit(kind)
        end = body + (header & 0xFFFFFF)
        if kind is None or allowed is None or end - body > allowed:
            raise self._fail(header >> 24, end - body, allowed)
        if len(buffer) < end:
            return None
        if isinstance(buffer, bytearray):
            self._buffer = buffer = bytes(buffer)
        record = kind, buffer[start:body], buffer[body:end]
        if len(buffer) == end:
            self._buffer = b""
            self._start = 0
        else:
            self._start = end
        return record

    def _fail(self, kind: int, length: int, allowed: int | None) -> ProtocolFault:
        self._buffer = b""
        self._start = 0
        if allowed is None:
            self._fault = ProtocolFault(
                Fault.RECORD_MALFORMED, "record.type", f"a record of type {kind:#04x} may not come here"
            )
        else:
            self._fault = ProtocolFault(
                Fault.RECORD_TOO_LONG,
                "record.length",
                f"a record of type {kind:#04x} may have {allowed} bytes, not {length}",
            )
        return self._fault


class RecordCipher:
    """Protects the records of one direction, or opens them; never both.

    The 64-bit counter starts at 0, moves only on success and runs on through every change of key. The sender changes
    its key by itself: the record that reaches a limit goes out as DATA_REKEY.
    """

    __slots__ = (
        "_bytes", "_bytes_limit", "_counter", "_decrypt", "_encrypt", "_fault", "_nonce", "_receive_until",
        "_records_limit", "_send_until", "_suite",
    )  # fmt: skip

    _bytes: int
    """Bytes of bodies under the present key."""
    _send_until: int
    """The counter of the last record that the sender gives the present key."""
    _receive_until: int
    """The first counter that the receiver does not give the present key."""

    def __init__(
        self, suite: Suite, key: bytes, *, records_per_key: int = RECORDS_PER_KEY, bytes_per_key: int = BYTES_PER_KEY
    ) -> None:
        self._suite = suite
        self._nonce = suite.nonce
        self._records_limit = records_per_key
        self._bytes_limit = bytes_per_key
        self._counter = 0
        self._fault: ProtocolFault | None = None
        self._use(key)

    @property
    def counter(self) -> int:
        """The counter of the next record."""
        return self._counter

    def protect(self, kind: int, plaintext: bytes) -> bytes:
        """The whole record. DATA becomes DATA_REKEY when the key has done its work.

        Raises :class:`LocalProtocolError` for a plaintext longer than any record, and :class:`ProtocolFault`
        (KEY_EXHAUSTED) when no counter is left.
        """
        length = len(plaintext) + TAG_BYTES
        if length > MAX_RECORD_BYTES:
            raise LocalProtocolError(f"A record may carry {MAX_PLAINTEXT_BYTES} bytes, not {len(plaintext)}")
        counter = self._counter
        used = self._bytes + length
        if counter >= self._send_until or used >= self._bytes_limit:
            if counter >= MAX_COUNTER:
                raise _exhausted()
            if kind == _DATA:
                kind = _DATA_REKEY
        header = _pack_header(kind << 24 | length)
        record = header + self._encrypt(self._nonce(counter), plaintext, header)
        self._counter = counter + 1
        self._bytes = used
        if kind == _DATA_REKEY:
            self._rekey()
        return record

    def open(self, kind: int, header: bytes, body: bytes) -> bytes:
        """The plaintext of one record, as :meth:`RecordReader.next` returns it.

        Raises :class:`ProtocolFault`: RECORD_FORGED when it does not authenticate, KEY_EXHAUSTED when its key should
        have been changed long ago. The cipher is dead then, and raises the same fault ever after.
        """
        counter = self._counter
        used = self._bytes + len(body)
        if counter >= self._receive_until or used > self._bytes_limit * 2:
            raise self._die(self._fault or _exhausted())
        try:
            plaintext = self._decrypt(self._nonce(counter), body, header)
        except InvalidTag:
            raise self._die(
                ProtocolFault(Fault.RECORD_FORGED, "record.forged", f"record {counter} does not authenticate")
            ) from None
        self._counter = counter + 1
        self._bytes = used
        if kind == _DATA_REKEY:
            self._rekey()
        return plaintext

    def _rekey(self) -> None:
        self._use(rekeyed(self._suite, self._encrypt))

    def _use(self, key: bytes) -> None:
        """Work with this key from the next record on. Nothing keeps the old one."""
        aead = self._suite.aead(key)
        self._encrypt = aead.encrypt
        self._decrypt = aead.decrypt
        self._bytes = 0
        self._send_until = min(self._counter + self._records_limit - 1, MAX_COUNTER)
        self._receive_until = min(self._counter + self._records_limit * 2, MAX_COUNTER)

    def _die(self, fault: ProtocolFault) -> ProtocolFault:
        self._fault = fault
        self._receive_until = 0
        return fault


def _exhausted() -> ProtocolFault:
    return ProtocolFault(Fault.KEY_EXHAUSTED, "record.key-exhausted", "a traffic key was used past its limit")
