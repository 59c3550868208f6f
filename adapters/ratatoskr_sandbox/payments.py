"""Payments: an amount is authorized (held), then captured (moved), then perhaps refunded (moved back).

The payer authorizes. Payer or payee captures, in as many parts as they like. Only the payee refunds, and never more
than was captured. A hold that nobody captures lapses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ratatoskr import Fail, Status, v1
from ratatoskr_sandbox import ledger
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import Amount, amount_of
from ratatoskr_sandbox.series import BOOKINGS, PAYMENTS

HOLD_MS: Final = 7 * 24 * 3600 * 1000
"""How long an authorized amount stays held."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One row of the table. Amounts are in minor units of ``currency``."""

    number: int
    tenant: str
    subject: str
    end_to_end_id: str
    debtor_account: str
    creditor_account: str
    order_number: str
    text: str
    currency: str
    authorized: int
    held: int
    captured: int
    refunded: int
    until_ms: int

    @property
    def payment_id(self) -> str:
        """The platform's id for it."""
        return PAYMENTS.name(self.number)

    @property
    def status(self) -> v1.PaymentStatus.ValueType:
        """Where it stands, on the wire."""
        if self.refunded:
            whole = self.refunded == self.captured
            return v1.PAYMENT_STATUS_REFUNDED if whole else v1.PAYMENT_STATUS_PARTIALLY_REFUNDED
        if self.captured:
            whole = self.captured == self.authorized
            return v1.PAYMENT_STATUS_CAPTURED if whole else v1.PAYMENT_STATUS_PARTIALLY_CAPTURED
        return v1.PAYMENT_STATUS_AUTHORIZED

    def money(self, minor: int) -> Amount:
        """So many minor units of the payment's currency."""
        return Amount(self.currency, minor)


def authorize(work: Work, payer: Party, request: v1.AuthorizePayment) -> v1.PaymentAuthorized:
    """Hold the amount on the payer's account."""
    release_lapsed(work)
    amount = amount_of(request.amount)
    if ledger.owner_of(work, request.debtor_account) != payer:
        raise Fail(Status.NOT_FOUND, "ACCOUNT_UNKNOWN", f"you have no account {request.debtor_account!r}")
    if ledger.owner_of(work, request.creditor_account) is None:
        raise Fail(Status.NOT_FOUND, "ACCOUNT_UNKNOWN", f"there is no account {request.creditor_account!r}")
    if request.creditor_account == request.debtor_account:
        raise Fail(Status.INVALID_ARGUMENT, "SAME_ACCOUNT", "the account that pays is the account that is paid")
    payment = _insert(work, payer, request, amount)
    ledger.hold(work, request.debtor_account, amount)
    return v1.PaymentAuthorized(
        payment_id=payment.payment_id,
        end_to_end_id=payment.end_to_end_id,
        status=payment.status,
        amount=amount.to_money(),
        authorized_until_ms=payment.until_ms,
    )


def capture(work: Work, caller: Party, request: v1.CapturePayment) -> v1.PaymentCaptured:
    """Move a held amount to the payee."""
    release_lapsed(work)
    payment = _visible(work, caller, request.payment_id)
    amount = _same_currency(payment, amount_of(request.amount))
    if payment.captured == payment.authorized:
        raise Fail(
            Status.FAILED_PRECONDITION,
            "ALREADY_CAPTURED",
            f"{payment.payment_id} is captured already",
        )
    if not payment.held:
        raise Fail(
            Status.FAILED_PRECONDITION, "AUTHORIZATION_LAPSED", f"nothing is held for {payment.payment_id} any more"
        )
    if amount.minor > payment.held:
        held = payment.money(payment.held)
        raise Fail(Status.FAILED_PRECONDITION, "CAPTURE_TOO_LARGE", f"{held} are held for {payment.payment_id}")
    ledger.release(work, payment.debtor_account, amount)
    booking = ledger.book(
        work, payment.debtor_account, payment.creditor_account, amount, payment.text or payment.end_to_end_id
    )
    _move(work, caller, "capture", request.capture_id, payment, booking)
    work.db.execute(
        "UPDATE payments SET held = held - ?, captured = captured + ? WHERE number = ?",
        (amount.minor, amount.minor, payment.number),
    )
    return v1.PaymentCaptured(
        payment_id=payment.payment_id,
        capture_id=request.capture_id,
        status=_visible(work, caller, request.payment_id).status,
        amount=amount.to_money(),
        booking_reference=BOOKINGS.name(booking),
    )


def refund(work: Work, caller: Party, request: v1.RefundPayment) -> v1.PaymentRefunded:
    """Move a captured amount back to the payer."""
    release_lapsed(work)
    payment = _visible(work, caller, request.payment_id)
    amount = _same_currency(payment, amount_of(request.amount))
    if ledger.owner_of(work, payment.creditor_account) != caller:
        raise Fail(Status.PERMISSION_DENIED, "NOT_PAYEE", f"only who was paid refunds {payment.payment_id}")
    if not payment.captured:
        raise Fail(Status.FAILED_PRECONDITION, "NOT_CAPTURED", f"nothing of {payment.payment_id} was captured")
    if payment.refunded == payment.captured:
        raise Fail(Status.FAILED_PRECONDITION, "ALREADY_REFUNDED", f"{payment.payment_id} is refunded already")
    if amount.minor > payment.captured - payment.refunded:
        left = payment.money(payment.captured - payment.refunded)
        raise Fail(Status.FAILED_PRECONDITION, "REFUND_TOO_LARGE", f"{left} of {payment.payment_id} can be refunded")
    booking = ledger.book(
        work, payment.creditor_account, payment.debtor_account, amount, request.reason or payment.end_to_end_id
    )
    _move(work, caller, "refund", request.refund_id, payment, booking)
    work.db.execute("UPDATE payments SET refunded = refunded + ? WHERE number = ?", (amount.minor, payment.number))
    return v1.PaymentRefunded(
        payment_id=payment.payment_id,
        refund_id=request.refund_id,
        status=_visible(work, caller, request.payment_id).status,
        amount=amount.to_money(),
        booking_reference=BOOKINGS.name(booking),
    )


def release_lapsed(work: Work) -> None:
    """Free what is held for payments whose time is over."""
    lapsed = work.db.execute("SELECT * FROM payments WHERE held > 0 AND until_ms <= ?", (work.now_ms,))
    for row in lapsed.fetchall():
        release(work, Payment(*row))


def release(work: Work, payment: Payment) -> None:
    """Free what is still held for a payment. What was captured stays where it is."""
    ledger.release(work, payment.debtor_account, payment.money(payment.held))
    work.db.execute("UPDATE payments SET held = 0 WHERE number = ?", (payment.number,))


def living_payment(work: Work, order_number: str) -> Payment | None:
    """The payment that holds money for an order, or has moved some that was not refunded."""
    query = "SELECT * FROM payments WHERE order_number = ? AND (held > 0 OR captured > refunded)"
    row = work.db.execute(query, (order_number,)).fetchone()
    return Payment(*row) if row else None


def _insert(work: Work, payer: Party, request: v1.AuthorizePayment, amount: Amount) -> Payment:
    columns = {
        "tenant": payer.tenant,
        "subject": payer.subject,
        "end_to_end_id": request.end_to_end_id,
        "debtor_account": request.debtor_account,
        "creditor_account": request.creditor_account,
        "order_number": request.order_number,
        "text": request.remittance_text,
        "currency": amount.currency,
        "authorized": amount.minor,
        "held": amount.minor,
        "until_ms": work.now_ms + HOLD_MS,
    }
    row = work.db.execute(
        """INSERT INTO payments (tenant, subject, end_to_end_id, debtor_account, creditor_account, order_number, text,
                                 currency, authorized, held, until_ms)
           VALUES (:tenant, :subject, :end_to_end_id, :debtor_account, :creditor_account, :order_number, :text,
                   :currency, :authorized, :held, :until_ms)
           ON CONFLICT DO NOTHING RETURNING *""",
        columns,
    ).fetchone()
    if row is None:
        raise Fail(
            Status.ALREADY_EXISTS, "PAYMENT_EXISTS", f"{request.end_to_end_id} names an earlier payment of yours"
        )
    return Payment(*row)


def _visible(work: Work, caller: Party, payment_id: str) -> Payment:
    """A payment that the caller makes or receives. Others' payments do not exist for it."""
    row = work.db.execute("SELECT * FROM payments WHERE number = ?", (PAYMENTS.number(payment_id),)).fetchone()
    payment = Payment(*row) if row else None
    if payment is None or caller not in {
        Party(payment.tenant, payment.subject),
        ledger.owner_of(work, payment.creditor_account),
    }:
        raise Fail(Status.NOT_FOUND, "PAYMENT_UNKNOWN", f"you have no payment {payment_id}")
    return payment


def _same_currency(payment: Payment, amount: Amount) -> Amount:
    if amount.currency != payment.currency:
        raise Fail(Status.INVALID_ARGUMENT, "CURRENCY_MISMATCH", f"{payment.payment_id} is in {payment.currency}")
    return amount


def _move(work: Work, caller: Party, operation: str, id: str, payment: Payment, booking: int) -> None:
    """Remember a capture or refund by its caller's id, for longer than outcomes are kept."""
    remembered = work.db.execute(
        """INSERT INTO movements (tenant, subject, operation, id, payment, booking) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT DO NOTHING""",
        (*caller, operation, id, payment.number, booking),
    )
    if not remembered.rowcount:
        reason = f"{operation.upper()}_EXISTS"
        raise Fail(Status.ALREADY_EXISTS, reason, f"{id} names an earlier {operation} of yours")
