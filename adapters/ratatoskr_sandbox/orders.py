"""Orders: placing reserves stock, paying binds a payment, cancelling frees both.

An order is paid as long as a payment holds money for it, or has moved some that was not refunded. That is looked up,
never stored a second time, so that a hold that lapses opens the order again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from ratatoskr import Fail, Status, v1
from ratatoskr_sandbox import catalogue, payments, providers
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import MAX_MINOR, Amount, amount_of
from ratatoskr_sandbox.refusals import refused_field
from ratatoskr_sandbox.series import ORDERS

_BY_NUMBER = "SELECT * FROM orders WHERE number = ? AND tenant = ? AND subject = ?"
_BY_ID = "SELECT * FROM orders WHERE order_id = ? AND tenant = ? AND subject = ?"


@dataclass(frozen=True, slots=True)
class Order:
    """One row of the table. ``total`` is in minor units of ``currency``."""

    number: int
    tenant: str
    subject: str
    order_id: str
    provider_id: str
    creditor_account: str
    currency: str
    total: int
    placed_at_ms: int
    cancelled_at_ms: int | None

    @property
    def order_number(self) -> str:
        """The platform's number for it."""
        return ORDERS.name(self.number)


def place(work: Work, buyer: Party, request: v1.PlaceOrder) -> v1.OrderPlaced:
    """Reserve every line, at the price that the buyer expects, or refuse the whole order."""
    creditor = providers.payout_account(work, request.provider_id)
    taken = "SELECT 1 FROM orders WHERE tenant = ? AND subject = ? AND order_id = ?"
    if work.db.execute(taken, (*buyer, request.order_id)).fetchone():
        raise Fail(Status.ALREADY_EXISTS, "ORDER_EXISTS", f"{request.order_id} names an earlier order of yours")
    lines: list[tuple[int, int, int]] = []
    total, currency = 0, ""
    for index, line in enumerate(request.lines):
        offer, price = catalogue.reserve(work, request.provider_id, line, f"lines[{index}]")
        if currency not in {"", price.currency}:
            raise refused_field(
                f"lines[{index}]", Status.INVALID_ARGUMENT, "MIXED_CURRENCIES", f"{price.currency} beside {currency}"
            )
        currency = price.currency
        total += price.minor * line.quantity
        lines.append((offer, line.quantity, price.minor))
    if total > MAX_MINOR:
        raise Fail(Status.INVALID_ARGUMENT, "AMOUNT_TOO_LARGE", f"an order is at most {Amount(currency, MAX_MINOR)}")
    (number,) = work.db.execute(
        """INSERT INTO orders (tenant, subject, order_id, provider_id, creditor_account, currency, total, placed_at_ms)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING number""",
        (*buyer, request.order_id, request.provider_id, creditor, currency, total, work.now_ms),
    ).fetchone()
    work.db.executemany(
        "INSERT INTO order_lines (order_number, offer_number, quantity, price) VALUES (?, ?, ?, ?)",
        [(number, *line) for line in lines],
    )
    return v1.OrderPlaced(
        order_id=request.order_id,
        order_number=ORDERS.name(number),
        total=Amount(currency, total).to_money(),
        status=v1.ORDER_STATUS_PLACED,
        creditor_account=creditor,
        placed_at_ms=work.now_ms,
    )


def pay(work: Work, payer: Party, request: v1.AuthorizePayment) -> v1.PaymentAuthorized:
    """Authorize a payment; where it names an order, exactly what that order costs, and once."""
    payments.release_lapsed(work)
    amount = amount_of(request.amount)
    if request.order_number:
        order = _own(work, _BY_NUMBER, ORDERS.number(request.order_number), payer, request.order_number)
        owed = Amount(order.currency, order.total)
        if order.cancelled_at_ms is not None:
            raise Fail(Status.FAILED_PRECONDITION, "ORDER_CANCELLED", f"{order.order_number} was cancelled")
        if payments.living_payment(work, order.order_number):
            raise Fail(Status.FAILED_PRECONDITION, "ORDER_PAID", f"{order.order_number} has its payment already")
        if request.creditor_account != order.creditor_account:
            raise refused_field(
                "creditor_account", Status.FAILED_PRECONDITION, "PAYEE_MISMATCH", f"pay {order.creditor_account}"
            )
        if amount != owed:
            raise refused_field("amount", Status.FAILED_PRECONDITION, "AMOUNT_MISMATCH", f"the order costs {owed}")
    providers.check_payment(work, request.creditor_account, amount)
    return payments.authorize(work, payer, request)


def cancel(work: Work, buyer: Party, request: v1.CancelOrder) -> v1.OrderCancelled:
    """Free the stock and what is held for the order. What was captured is the provider's to refund."""
    payments.release_lapsed(work)
    order = _own(work, _BY_ID, request.order_id, buyer, request.order_id)
    if order.cancelled_at_ms is not None:
        raise Fail(Status.FAILED_PRECONDITION, "ORDER_CANCELLED", f"{order.order_number} was cancelled before")
    payment = payments.living_payment(work, order.order_number)
    if payment and payment.captured > payment.refunded:
        raise Fail(
            Status.FAILED_PRECONDITION,
            "ORDER_PAID",
            f"{order.order_number} is paid: ask for a refund first",
        )
    if payment:
        payments.release(work, payment)
    for offer, quantity in work.db.execute(
        "SELECT offer_number, quantity FROM order_lines WHERE order_number = ?", (order.number,)
    ).fetchall():
        catalogue.restock(work, offer, quantity)
    work.db.execute("UPDATE orders SET cancelled_at_ms = ? WHERE number = ?", (work.now_ms, order.number))
    return v1.OrderCancelled(
        order_id=order.order_id,
        order_number=order.order_number,
        status=v1.ORDER_STATUS_CANCELLED,
        cancelled_at_ms=work.now_ms,
    )


def _own(work: Work, query: str, value: int | str, buyer: Party, name: str) -> Order:
    """An order of the buyer's own. Others' orders do not exist for it."""
    row = work.db.execute(query, (value, *buyer)).fetchone()
    if row is None:
        raise Fail(Status.NOT_FOUND, "ORDER_UNKNOWN", f"you have no order {name}")
    return Order(*row)
