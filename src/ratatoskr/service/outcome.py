"""Outcomes: an answer or a failure, and the bytes that a store keeps of it.

What is kept is what the wire carries, so that a replayed answer is the same as the first.
"""

from __future__ import annotations

from typing import TypeAlias

from google.protobuf.message import DecodeError, Message

from ratatoskr import v1
from ratatoskr.errors import Failure
from ratatoskr.messages import AnyKind
from ratatoskr.messages.envelopes import failure_from_error, failure_to_error

Outcome: TypeAlias = Message | Failure


def encode_outcome(outcome: Outcome) -> bytes:
    """The outcome as the result of a ``RatatoskrResponse``."""
    if isinstance(outcome, Failure):
        response = v1.RatatoskrResponse(error=failure_to_error(outcome))
    else:
        response = v1.RatatoskrResponse(payload=outcome.SerializeToString(deterministic=True))
    return response.SerializeToString(deterministic=True)


def decode_outcome(kind: AnyKind, data: bytes) -> Outcome | None:
    """What was stored for a request of that kind; None where it cannot be read."""
    try:
        response = v1.RatatoskrResponse.FromString(data)
        if response.HasField("error"):
            return failure_from_error(response.error)
        payload: Message | None = kind.response.FromString(response.payload) if response.HasField("payload") else None
    except DecodeError:
        return None
    return payload
