"""docs/spec/records.md: cutting the stream, and opening what is protected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag

from .noise import Refused, aead, require

RESPONSE, DATA, DATA_REKEY, ALERT = 0x04, 0x10, 0x11, 0x1F


def cut(stream: bytes, longest: Mapping[int, int]) -> Iterator[tuple[int, bytes, bytes]]:
    """Type, header and body of each whole record. ``longest``: which types may come, and how long. Raises Refused."""
    while len(stream) >= 4:
        kind, length = stream[0], int.from_bytes(stream[1:4], "big")
        require(kind in longest, "record.type")
        require(length <= longest[kind], "record.length")
        if len(stream) < 4 + length:
            return
        yield kind, stream[:4], stream[4 : 4 + length]
        stream = stream[4 + length :]


@dataclass
class Direction:
    """The records of one direction."""

    suite: int
    key: bytes
    counter: int = 0

    def open(self, kind: int, header: bytes, body: bytes) -> bytes:
        """The plaintext. Raises Refused."""
        cipher, nonce = aead(self.suite, self.key, self.counter)
        try:
            plaintext = cipher.decrypt(nonce, body, header)
        except InvalidTag:
            raise Refused("record.forged") from None
        self.counter += 1
        if kind == DATA_REKEY:
            self.key = self.next_key()
        return plaintext

    def protect(self, kind: int, plaintext: bytes) -> bytes:
        """The whole record."""
        header = bytes([kind]) + (len(plaintext) + 16).to_bytes(3, "big")
        cipher, nonce = aead(self.suite, self.key, self.counter)
        body = cipher.encrypt(nonce, plaintext, header)
        self.counter += 1
        if kind == DATA_REKEY:
            self.key = self.next_key()
        return header + body

    def next_key(self) -> bytes:
        cipher, nonce = aead(self.suite, self.key, 2**64 - 1)
        return cipher.encrypt(nonce, bytes(32), None)[:32]
