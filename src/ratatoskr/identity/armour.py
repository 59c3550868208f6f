"""Armour: keys, certificates and requests as text, one block each, with lines of comment between them.

An example::

# Ratatoskr identity: `shop-7`, DEVICE
-----BEGIN RATATOSKR CERTIFICATE-----
base64, lines of 64
-----END RATATOSKR CERTIFICATE-----
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Iterable
from typing import NamedTuple

from ratatoskr.identity.claims import CertificateRefused

SECRET_KEYS = "SECRET KEYS"  # noqa: S105 - the name of a block
CERTIFICATE = "CERTIFICATE"
REQUEST = "CERTIFICATE REQUEST"
MAX_ARMOUR_BYTES = 1 << 20
"""Longest text that is read; a file of roots is the longest."""

_LINE = 64
_EDGE = re.compile(rb"-----(BEGIN|END) RATATOSKR ([A-Z ]{1,40})-----")


class Block(NamedTuple):
    """One block: what it says it is, and its bytes."""

    label: str
    data: bytes

    def __repr__(self) -> str:
        return f"<Block {self.label}>"


def armour(blocks: Iterable[Block], comment: str = "") -> bytes:
    """The text that :func:`dearmour` reads back. Each line of ``comment`` stands before the blocks, behind a ``#``."""
    lines = [f"# {line}".encode() for line in comment.splitlines()]
    for label, data in blocks:
        encoded = b64encode(data)
        lines.append(b"-----BEGIN RATATOSKR %b-----" % label.encode())
        lines.extend(encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE))
        lines.append(b"-----END RATATOSKR %b-----" % label.encode())
    return b"".join(line + b"\n" for line in lines)


def dearmour(text: bytes) -> list[Block]:
    """The blocks of a text.

    Any bytes give blocks or raise :class:`CertificateRefused` with the rule ``armour`` and the number of the line,
    never what stands there.
    """
    if len(text) > MAX_ARMOUR_BYTES:
        raise CertificateRefused("armour", f"{len(text)} bytes; at most {MAX_ARMOUR_BYTES} are read")
    blocks: list[Block] = []
    label: bytes | None = None
    encoded = b""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        edge = _EDGE.fullmatch(line)
        if edge is None and label is not None:
            encoded += line
        elif edge is None:
            if line and not line.startswith(b"#"):
                raise CertificateRefused("armour", f"line {number} is neither a comment nor the begin of a block")
        elif edge[1] == b"BEGIN" and label is None:
            label, encoded = edge[2], b""
        elif edge[1] == b"END" and label == edge[2]:
            blocks.append(Block(edge[2].decode(), _decode(encoded, number)))
            label = None
        else:
            raise CertificateRefused("armour", f"line {number} begins or ends another block than the open one")
    if label is not None:
        raise CertificateRefused("armour", "the last block does not end")
    return blocks


def _decode(encoded: bytes, number: int) -> bytes:
    try:
        data = a2b_base64(encoded, strict_mode=True)
    except Base64Error:
        data = None
    if data is None or b64encode(data) != encoded:
        raise CertificateRefused("armour", f"the block that ends in line {number} is not in base64")
    return data
