"""A router that sells lamps, for the tests of local_client."""

from __future__ import annotations

from ratatoskr import v1
from ratatoskr.errors import Fail, Status
from ratatoskr.identity import Role
from ratatoskr.messages import Kind
from ratatoskr.messages.standard import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE
from ratatoskr.service import Call, Router

NOTE = Kind(1000, 1, "NOTE", v1.Search, v1.GoAway)
REDEEM = Kind(1000, 2, "REDEEM", v1.Search, v1.GoAway, once=True)
COUNT = Kind(1000, 3, "COUNT", v1.Search, v1.GoAway, stream=True)


def payment(units: int = 12) -> v1.AuthorizePayment:
    return v1.AuthorizePayment(
        end_to_end_id="ORDER-1",
        debtor_account="buyer-1",
        creditor_account="shop-7",
        amount=v1.Money(currency="EUR", units=units),
    )


def ask(text: str = "") -> v1.Search:
    return v1.Search(query=text)


def shop(paid: list[int] | None = None) -> Router:
    """Searches find a lamp, payments are counted, notes are echoed."""
    router = Router()
    counted = [] if paid is None else paid

    @router.on(MARKETPLACE_SEARCH)
    async def search(message: v1.Search, call: Call) -> v1.SearchResult:
        price = v1.Money(currency="EUR", units=39)
        return v1.SearchResult(
            offers=[v1.Offer(offer_id="o-1", provider_id="p-1", title=message.query or "Lamp", price=price)]
        )

    @router.on(PAYMENT_AUTHORIZE, roles={Role.DEVICE})
    async def authorize(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
        if message.amount.units > 100:
            raise Fail(Status.FAILED_PRECONDITION, "NO_FUNDS", "the account holds 100")
        counted.append(message.amount.units)
        return v1.PaymentAuthorized(
            payment_id=f"payment-{len(counted)}",
            end_to_end_id=message.end_to_end_id,
            status=v1.PAYMENT_STATUS_AUTHORIZED,
            amount=message.amount,
            authorized_until_ms=int(call.issued_at + 3600) * 1000,
        )

    @router.on(NOTE)
    async def note(message: v1.Search, call: Call) -> v1.GoAway:
        return v1.GoAway(reason=f"{call.peer.subject}: {message.query}")

    return router
