"""Seals: signatures over a chain's value at a place.

A seal binds the suite, the session, signer and recipient, the direction, the place, everything said up to it, and
the signer's clock::

    seal = Sign(64×20 ‖ "ratatoskr-v1 seal" ‖ 00 ‖ sig_suite ‖ session_id ‖ signer_kid ‖ recipient_kid
                ‖ direction ‖ n u64 ‖ c_n ‖ signed_at_ms u64)
"""

from __future__ import annotations

from dataclasses import dataclass

from ratatoskr.identity.verify import ED25519, signed_input

SEAL_LABEL = b"ratatoskr-v1 seal"
SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class SealContext:
    """What all seals of one direction of a session have in common."""

    session_id: bytes
    signer: bytes
    recipient: bytes
    direction: int
    signature_suite: int = ED25519

    def signed_bytes(self, number: int, chain: bytes, signed_at_ms: int) -> bytes:
        """What the seal at that place signs."""
        return signed_input(
            SEAL_LABEL,
            bytes((self.signature_suite,)),
            self.session_id,
            self.signer,
            self.recipient,
            bytes((self.direction,)),
            number.to_bytes(8, "big"),
            chain,
            signed_at_ms.to_bytes(8, "big"),
        )
