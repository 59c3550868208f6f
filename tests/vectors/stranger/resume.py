"""docs/spec/resume.md: proofs, positions, and who may go on."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from .noise import mac


def client_proof(secret: bytes, h: bytes) -> bytes:
    return mac(secret, b"ratatoskr-v1 resume-client\0" + h)


def server_proof(secret: bytes, h: bytes) -> bytes:
    return mac(secret, b"ratatoskr-v1 resume-server\0" + h)


def disagreement(own: dict[str, Any], received: dict[str, Any], sent: dict[str, Any]) -> int:
    """Which of the five rules of "Positions that agree" is broken; 0 for none.

    ``own``: ``chain`` of my direction by number, from the last that was acknowledged to the last that was sent;
    ``received`` and ``received_chain`` of the peer's; ``span_messages``.
    """
    if received["number"] not in own["chain"]:
        return 1
    if own["chain"][received["number"]] != received["chain"]:
        return 2
    if received["number"] - received["sealed"] > own["span_messages"]:
        return 3
    if sent["number"] < own["received"]:
        return 4
    if sent["number"] == own["received"] and sent["chain"] != own["received_chain"]:
        return 5
    return 0


def judge(session: dict[str, Any], request: dict[str, Any], peer: dict[str, Any], own_kid: bytes, h: bytes) -> str:
    """ "The server judges": ``GRANTED``, ``UNKNOWN``, ``RESUME_STALE`` or ``SESSION_DIVERGED``."""
    known = (
        not session["ended"]
        and request["session_id"] == session["session_id"]
        and compare_digest(request["proof"], client_proof(session["secret"], h))
        and peer == session["peer"]
        and own_kid == session["own_kid"]
    )
    if not known:
        return "UNKNOWN"
    if request["attempt"] <= session["attempt"]:
        return "RESUME_STALE"
    return "SESSION_DIVERGED" if disagreement(session["own"], request["received"], request["sent"]) else "GRANTED"


def confirm(session: dict[str, Any], answer: dict[str, Any], h: bytes) -> str:
    """ "The client goes on": the rule that is broken; nothing for none."""
    if not compare_digest(answer["proof"], server_proof(session["secret"], h)):
        return "resume.proof"
    return "resume.positions" if disagreement(session["own"], answer["received"], answer["sent"]) else ""
