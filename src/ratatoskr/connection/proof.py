"""The proof that the other end of the handshake holds the keys of the certificate that it showed."""

from __future__ import annotations

from ratatoskr.admission import transcript_bytes
from ratatoskr.channel import SignedPayload
from ratatoskr.errors import Fault, ProtocolFault
from ratatoskr.identity import VerifiedPeer


def prove(peer: VerifiedPeer, static: bytes, payload: SignedPayload, label: bytes) -> None:
    """Raise ProtocolFault unless both keys of the certificate are those of the handshake."""
    if peer.exchange_key != static:
        raise ProtocolFault(Fault.REFUSED, "proof.exchange", f"{peer.subject}: the certificate names another key")
    if not peer.verify_key.verify(payload.signature, transcript_bytes(label, payload.h, payload.body)):
        raise ProtocolFault(Fault.REFUSED, "proof.signature", f"{peer.subject}: the transcript's signature is wrong")
