"""chain.json: entries, leaves and chain values of both directions, and seals with what they sign."""

from __future__ import annotations

from typing import Any

from ratatoskr import Direction, MessageSerializer
from ratatoskr.messages.chain import Position, leaf, leaf_prefix, link
from ratatoskr.messages.envelopes import request_envelope, response_envelope
from ratatoskr.messages.seals import SealContext
from tests.vectors.cast import DEVICE, NOW_MS, SERVER, secret
from tests.vectors.envelopes import REQUEST, RESPONSE

SESSION_ID = secret("a session")
ENVELOPES = (request_envelope(REQUEST), b"\1", response_envelope(RESPONSE), b"\2" + secret("a long one", 700))


def direction(which: Direction) -> dict[str, Any]:
    """The first messages of one direction."""
    position = Position.start(SESSION_ID, which)
    chain, messages = position.chain, []
    for number, envelope in enumerate(ENVELOPES, 1):
        own = leaf(leaf_prefix(SESSION_ID, which), number, envelope)
        chain = link(chain, own)
        entry = SESSION_ID + bytes([which]) + number.to_bytes(8, "big") + envelope
        messages.append(
            {
                "number": number,
                "envelope": envelope.hex(),
                "entry": entry.hex(),
                "leaf": own.hex(),
                "chain": chain.hex(),
            }
        )
    return {"direction": int(which), "start": position.chain.hex(), "messages": messages}


def seals() -> list[dict[str, Any]]:
    """Seals of both ends, after the second message and after the last."""
    found = []
    for which, signer, recipient in ((Direction.FROM_CLIENT, DEVICE, SERVER), (Direction.FROM_SERVER, SERVER, DEVICE)):
        serializer = MessageSerializer(signer, SESSION_ID, which, recipient.kid)
        context = SealContext(SESSION_ID, signer.kid, recipient.kid, which)
        for number, envelope in enumerate(ENVELOPES, 1):
            serializer.append(envelope)
            if number not in {2, len(ENVELOPES)}:
                continue
            signed_at_ms = NOW_MS + number
            seal = serializer.seal(signed_at_ms)
            found.append(
                {
                    "direction": int(which),
                    "signer": "device" if signer is DEVICE else "server",
                    "recipient": "device" if recipient is DEVICE else "server",
                    "number": number,
                    "chain": serializer.chain.hex(),
                    "signed_at_ms": signed_at_ms,
                    "signed": context.signed_bytes(number, serializer.chain, signed_at_ms).hex(),
                    "signature": seal.signature.hex(),
                }
            )
    return found


def make() -> dict[str, Any]:
    """chain.json"""
    return {
        "about": "Both directions of a session: entries, leaves, chain values; seals with what they sign.",
        "session_id": SESSION_ID.hex(),
        "directions": [direction(each) for each in Direction],
        "seals": seals(),
    }
