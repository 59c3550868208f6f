"""The kinds of Yggdrasil: marketplace, payments, provider registration."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.messages.kinds import Kind, KindRegistry, MessageType

_MARKETPLACE = MessageType.MARKETPLACE_REQUEST
_PAYMENT = MessageType.PAYMENT_REQUEST
_PROVIDER = MessageType.PROVIDER_REGISTRATION

MARKETPLACE_SEARCH = Kind(_MARKETPLACE, 1, "MARKETPLACE_SEARCH", v1.Search, v1.SearchResult, sealed=False)
MARKETPLACE_PUBLISH = Kind(
    _MARKETPLACE, 2, "MARKETPLACE_PUBLISH", v1.PublishOffer, v1.OfferPublished, once="publication_id"
)
MARKETPLACE_ORDER = Kind(_MARKETPLACE, 3, "MARKETPLACE_ORDER", v1.PlaceOrder, v1.OrderPlaced, once="order_id")
MARKETPLACE_CANCEL = Kind(_MARKETPLACE, 4, "MARKETPLACE_CANCEL", v1.CancelOrder, v1.OrderCancelled, once="order_id")
MARKETPLACE_BROWSE = Kind(_MARKETPLACE, 5, "MARKETPLACE_BROWSE", v1.Browse, v1.OfferFound, sealed=False, stream=True)
PAYMENT_AUTHORIZE = Kind(
    _PAYMENT, 1, "PAYMENT_AUTHORIZE", v1.AuthorizePayment, v1.PaymentAuthorized, once="end_to_end_id"
)
PAYMENT_CAPTURE = Kind(_PAYMENT, 2, "PAYMENT_CAPTURE", v1.CapturePayment, v1.PaymentCaptured, once="capture_id")
PAYMENT_REFUND = Kind(_PAYMENT, 3, "PAYMENT_REFUND", v1.RefundPayment, v1.PaymentRefunded, once="refund_id")
PROVIDER_REGISTER = Kind(
    _PROVIDER, 1, "PROVIDER_REGISTER", v1.RegisterProvider, v1.ProviderRegistered, once="registration_id"
)

STANDARD_KINDS = KindRegistry(
    [
        MARKETPLACE_SEARCH,
        MARKETPLACE_PUBLISH,
        MARKETPLACE_ORDER,
        MARKETPLACE_CANCEL,
        MARKETPLACE_BROWSE,
        PAYMENT_AUTHORIZE,
        PAYMENT_CAPTURE,
        PAYMENT_REFUND,
        PROVIDER_REGISTER,
    ]
)
"""What every peer knows unless its configuration says otherwise."""
