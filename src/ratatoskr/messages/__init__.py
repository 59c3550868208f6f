"""Messages: kinds, nonces, the hash chain, seals, flights, receipts."""

from ratatoskr.messages.chain import Direction, Position
from ratatoskr.messages.kinds import CUSTOM_TYPES_FROM, AnyKind, Kind, KindRegistry, MessageType
from ratatoskr.messages.nonces import NonceSource, business_nonce
from ratatoskr.messages.receipt import Receipt, ReceiptRefused
from ratatoskr.messages.rules import Rule
from ratatoskr.messages.serializer import MessageSerializer, Signer
from ratatoskr.messages.span import Evidence
from ratatoskr.messages.validator import MessageValidator, OpenedFlight, Received

__all__ = [
    "CUSTOM_TYPES_FROM",
    "AnyKind",
    "Direction",
    "Evidence",
    "Kind",
    "KindRegistry",
    "MessageSerializer",
    "MessageType",
    "MessageValidator",
    "NonceSource",
    "OpenedFlight",
    "Position",
    "Receipt",
    "ReceiptRefused",
    "Received",
    "Rule",
    "Signer",
    "business_nonce",
]
