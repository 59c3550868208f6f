"""Metadata of a request: names and values for the application, beside the payload."""

from __future__ import annotations

import re

from ratatoskr.errors import LocalProtocolError
from ratatoskr.limits import Limits
from ratatoskr.messages.validator import METADATA_ENTRY_BYTES

_NAME = re.compile(r"[a-z0-9_.-]{1,64}")
_VALUE_BYTES = 1024


def check_metadata(metadata: dict[str, str], limits: Limits) -> dict[str, str]:
    """The same metadata. Raises LocalProtocolError where the peer would refuse it."""
    size = 0
    for name, value in metadata.items():
        if not _NAME.fullmatch(name):
            raise LocalProtocolError(f"metadata name {name!r}: use 1 to 64 of a-z 0-9 _ . -")
        try:
            length = len(value.encode())
        except UnicodeEncodeError:
            raise LocalProtocolError(f"metadata {name}: {value!r} is no text: it has no UTF-8") from None
        if length > _VALUE_BYTES:
            raise LocalProtocolError(f"metadata {name}: {length} bytes; at most {_VALUE_BYTES}")
        size += METADATA_ENTRY_BYTES + len(name) + length
    if len(metadata) > limits.metadata_entries or size > limits.metadata_bytes:
        raise LocalProtocolError(
            f"metadata has {len(metadata)} entries, charged {size} bytes; the limits are "
            f"{limits.metadata_entries} and {limits.metadata_bytes}"
        )
    return metadata
