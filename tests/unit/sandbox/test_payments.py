from collections.abc import Callable

import pytest

from ratatoskr import Fail, v1
from ratatoskr_sandbox import payments, platform
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.payments import HOLD_MS
from tests.unit.sandbox.books import (
    BUYER,
    SELLER,
    SELLER_ACCOUNT,
    STRANGER,
    Books,
    authorization,
    capture_of,
    eur,
    refund_of,
)

OPENING = platform.OPENING.minor


class Till:
    """A buyer and a seller who know each other's accounts."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.wallet = books.open_wallet()
        books.register_seller()

    def authorize(self, cents: int, *, id: str = "e2e-1", payer: Party = BUYER) -> v1.PaymentAuthorized:
        with self.books.begin() as work:
            return payments.authorize(work, payer, authorization(self.wallet, cents, id=id))

    def capture(self, payment: str, cents: int, *, id: str = "c-1", by: Party = BUYER) -> v1.PaymentCaptured:
        with self.books.begin() as work:
            return payments.capture(work, by, capture_of(payment, cents, id=id))

    def refund(self, payment: str, cents: int, *, id: str = "r-1", by: Party = SELLER) -> v1.PaymentRefunded:
        with self.books.begin() as work:
            return payments.refund(work, by, refund_of(payment, cents, id=id))

    @property
    def balances(self) -> tuple[int, int]:
        """What buyer and seller can spend, as changes from the beginning."""
        return self.books.available(self.wallet) - OPENING, self.books.available(SELLER_ACCOUNT)


@pytest.fixture
def till(books: Books) -> Till:
    return Till(books)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(Fail) as caught:
        action()
    return caught.value.failure.reason


def test_a_payment_from_hold_to_refund(till: Till) -> None:
    authorized = till.authorize(4990)
    assert authorized.status == v1.PAYMENT_STATUS_AUTHORIZED
    assert authorized.authorized_until_ms == till.books.now_ms + HOLD_MS
    assert till.balances == (-4990, 0)

    captured = till.capture(authorized.payment_id, 4990)
    assert (captured.status, captured.amount) == (v1.PAYMENT_STATUS_CAPTURED, eur(4990))
    assert till.balances == (-4990, 4990)

    refunded = till.refund(authorized.payment_id, 4990)
    assert (refunded.status, refunded.amount) == (v1.PAYMENT_STATUS_REFUNDED, eur(4990))
    assert refunded.booking_reference != captured.booking_reference
    assert till.balances == (0, 0)
    assert till.books.problems() == []


def test_a_payment_in_parts(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    assert till.capture(payment, 400, id="c-1").status == v1.PAYMENT_STATUS_PARTIALLY_CAPTURED
    assert till.capture(payment, 600, id="c-2", by=SELLER).status == v1.PAYMENT_STATUS_CAPTURED
    assert till.refund(payment, 1, id="r-1").status == v1.PAYMENT_STATUS_PARTIALLY_REFUNDED
    assert till.refund(payment, 999, id="r-2").status == v1.PAYMENT_STATUS_REFUNDED
    assert till.balances == (0, 0)


@pytest.mark.parametrize(("excess", "reason"), [(-1, None), (0, None), (1, "CAPTURE_TOO_LARGE")])
def test_no_more_is_captured_than_is_held(till: Till, excess: int, reason: str | None) -> None:
    payment = till.authorize(1000).payment_id
    till.capture(payment, 400)

    def capture() -> None:
        till.capture(payment, 600 + excess, id="c-2")

    if reason is None:
        capture()
    else:
        assert refusal(capture) == reason
    assert till.books.problems() == []


@pytest.mark.parametrize(("excess", "reason"), [(-1, None), (0, None), (1, "REFUND_TOO_LARGE")])
def test_no_more_is_refunded_than_was_captured(till: Till, excess: int, reason: str | None) -> None:
    payment = till.authorize(1000).payment_id
    till.capture(payment, 700)
    till.refund(payment, 200)

    def refund() -> None:
        till.refund(payment, 500 + excess, id="r-2")

    if reason is None:
        refund()
    else:
        assert refusal(refund) == reason
    assert till.books.problems() == []


def test_what_is_done_is_not_done_again(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    assert refusal(lambda: till.refund(payment, 1)) == "NOT_CAPTURED"
    assert refusal(lambda: till.authorize(1000)) == "PAYMENT_EXISTS"
    till.capture(payment, 500)
    assert refusal(lambda: till.capture(payment, 500)) == "CAPTURE_EXISTS"
    till.capture(payment, 500, id="c-2")
    assert refusal(lambda: till.capture(payment, 500, id="c-3")) == "ALREADY_CAPTURED"
    till.refund(payment, 400)
    assert refusal(lambda: till.refund(payment, 400)) == "REFUND_EXISTS"
    till.refund(payment, 600, id="r-2")
    assert refusal(lambda: till.refund(payment, 1, id="r-3")) == "ALREADY_REFUNDED"
    assert till.balances == (0, 0)


def test_a_refusal_leaves_no_trace(till: Till) -> None:
    assert refusal(lambda: till.authorize(OPENING + 1)) == "INSUFFICIENT_FUNDS"
    assert till.authorize(OPENING).payment_id == "P-000001"
    assert till.balances == (-OPENING, 0)


def test_a_hold_lapses(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    till.capture(payment, 400)
    till.books.now_ms += HOLD_MS - 1
    till.capture(payment, 1, id="c-2")
    till.books.now_ms += 1
    assert refusal(lambda: till.capture(payment, 1, id="c-3")) == "AUTHORIZATION_LAPSED"
    till.authorize(OPENING - 401, id="e2e-2")  # the rest is free again
    assert till.balances == (-OPENING, 401)
    assert till.books.problems() == []


def test_money_is_refunded_only_as_long_as_the_payee_has_it(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    till.capture(payment, 1000)
    with till.books.begin() as work:
        request = authorization(SELLER_ACCOUNT, 1, id="e2e-out", creditor=platform.SHOP)
        payments.authorize(work, SELLER, request)
    assert refusal(lambda: till.refund(payment, 1000)) == "INSUFFICIENT_FUNDS"
    till.refund(payment, 999, id="r-2")


def test_a_lapsed_hold_of_the_payee_hinders_no_refund(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    till.capture(payment, 1000)
    with till.books.begin() as work:
        request = authorization(SELLER_ACCOUNT, 1000, id="e2e-out", creditor=platform.SHOP)
        payments.authorize(work, SELLER, request)
    till.books.now_ms += HOLD_MS
    till.refund(payment, 1000)
    assert till.balances == (0, 0)


def test_payments_of_others_do_not_exist(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    assert refusal(lambda: till.capture(payment, 1, by=STRANGER)) == "PAYMENT_UNKNOWN"
    till.capture(payment, 1000)
    assert refusal(lambda: till.refund(payment, 1, by=STRANGER)) == "PAYMENT_UNKNOWN"
    assert refusal(lambda: till.refund(payment, 1, by=BUYER)) == "NOT_PAYEE"
    assert refusal(lambda: till.authorize(1, payer=STRANGER)) == "ACCOUNT_UNKNOWN"


@pytest.mark.parametrize(
    "id", ["P-000002", "P-1", "P-0000001", "1", "", "O-000001", "P-\N{ARABIC-INDIC DIGIT ONE}", "P-" + "9" * 40]
)
def test_ids_that_name_no_payment(till: Till, id: str) -> None:
    till.authorize(1000)
    assert refusal(lambda: till.capture(id, 1)) == "PAYMENT_UNKNOWN"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"debtor_account": SELLER_ACCOUNT}, "ACCOUNT_UNKNOWN"),
        ({"debtor_account": platform.MINT}, "ACCOUNT_UNKNOWN"),
        ({"creditor_account": "nobody"}, "ACCOUNT_UNKNOWN"),
        ({"creditor_account": "wallet:acme:till-1"}, "SAME_ACCOUNT"),
        ({"amount": v1.Money(currency="EUR", nanos=1)}, "AMOUNT_NOT_EXACT"),
        ({"amount": v1.Money(currency="USD", units=1)}, "INSUFFICIENT_FUNDS"),
    ],
)
def test_payments_that_cannot_be(till: Till, change: dict[str, object], reason: str) -> None:
    request = authorization(till.wallet, 100)
    for field, value in change.items():
        if isinstance(value, v1.Money):
            request.amount.CopyFrom(value)
        else:
            setattr(request, field, value)

    def authorize() -> None:
        with till.books.begin() as work:
            payments.authorize(work, BUYER, request)

    assert refusal(authorize) == reason


def test_another_currency_captures_nothing(till: Till) -> None:
    payment = till.authorize(1000).payment_id
    request = capture_of(payment, 1)
    request.amount.currency = "USD"

    def capture(work: Work) -> None:
        payments.capture(work, BUYER, request)

    with till.books.begin() as work:
        assert refusal(lambda: capture(work)) == "CURRENCY_MISMATCH"
