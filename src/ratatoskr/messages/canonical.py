"""Canonical Protobuf: one value, one encoding.

Bytes are canonical when parsing them, discarding unknown fields and serializing again gives the same bytes.
Without the discard step unknown fields would pass.
"""

from __future__ import annotations

from google.protobuf.message import Message


def is_canonical(message: Message, encoded: bytes) -> bool:
    """Whether ``encoded`` is the canonical encoding of ``message``, which was parsed from it. Drops unknown fields."""
    message.DiscardUnknownFields()
    return message.SerializeToString(deterministic=True) == encoded
