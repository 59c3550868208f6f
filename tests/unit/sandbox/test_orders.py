from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ratatoskr import Fail, v1
from ratatoskr_sandbox import catalogue, orders, payments, platform
from ratatoskr_sandbox.database import Party
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

STOCK = 5


class Shop:
    """A seller with two offers, and a buyer."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.provider = books.register_seller()
        self.wallet = books.open_wallet()
        for id, cents in (("lamp", 4990), ("bulb", 250), ("gift", 0)):
            self.publish(id, eur(cents))

    def publish(self, id: str, price: v1.Money, stock: int = STOCK) -> None:
        with self.books.begin() as work:
            catalogue.publish(work, SELLER, v1.PublishOffer(offer_id=id, title=id, price=price, stock=stock))

    def place(
        self,
        *lines: tuple[str, int, int],
        id: str = "o-1",
        provider: str | None = None,
        buyer: Party = BUYER,
    ) -> v1.OrderPlaced:
        request = v1.PlaceOrder(
            order_id=id,
            provider_id=self.provider if provider is None else provider,
            lines=[
                v1.OrderLine(offer_id=offer, quantity=count, unit_price=eur(cents)) for offer, count, cents in lines
            ],
        )
        with self.books.begin() as work:
            return orders.place(work, buyer, request)

    def pay(self, order: v1.OrderPlaced, *, id: str = "e2e-1", extra: int = 0, **changes: Any) -> v1.PaymentAuthorized:
        request = authorization(self.wallet, 0, id=id, creditor=order.creditor_account, order=order.order_number)
        request.amount.CopyFrom(order.total)
        request.amount.units += extra
        request.MergeFrom(v1.AuthorizePayment(**changes))
        with self.books.begin() as work:
            return orders.pay(work, BUYER, request)

    def cancel(self, id: str = "o-1", buyer: Party = BUYER) -> v1.OrderCancelled:
        with self.books.begin() as work:
            return orders.cancel(work, buyer, v1.CancelOrder(order_id=id))

    def stock(self, ids: Iterable[str] = ("lamp", "bulb")) -> list[int]:
        with self.books.begin() as work:
            offers = {offer.offer_id: offer.stock for offer in catalogue.search(work, v1.Search()).offers}
        return [offers[id] for id in ids]


@pytest.fixture
def shop(books: Books) -> Shop:
    return Shop(books)


def refusal(action: Callable[[], object]) -> tuple[str, list[str]]:
    with pytest.raises(Fail) as caught:
        action()
    return caught.value.failure.reason, [violation.field for violation in caught.value.failure.violations]


def test_an_order_reserves_its_pieces_and_says_what_it_costs(shop: Shop) -> None:
    order = shop.place(("lamp", 2, 4990), ("bulb", 3, 250))
    assert order == v1.OrderPlaced(
        order_id="o-1",
        order_number="O-000001",
        total=eur(2 * 4990 + 3 * 250),
        status=v1.ORDER_STATUS_PLACED,
        creditor_account=SELLER_ACCOUNT,
        placed_at_ms=shop.books.now_ms,
    )
    assert shop.stock() == [3, 2]


@pytest.mark.parametrize(
    ("lines", "reason", "field"),
    [
        ([("lamp", 1, 4990), ("sofa", 1, 1)], "OFFER_UNKNOWN", "lines[1].offer_id"),
        ([("lamp", 1, 4990), ("bulb", 1, 251)], "PRICE_CHANGED", "lines[1].unit_price"),
        ([("lamp", 1, 4990), ("bulb", STOCK + 1, 250)], "OUT_OF_STOCK", "lines[1].quantity"),
        ([("bulb", 3, 250), ("bulb", 3, 250)], "OUT_OF_STOCK", "lines[1].quantity"),
    ],
)
def test_an_order_is_refused_as_a_whole(shop: Shop, lines: list[tuple[str, int, int]], reason: str, field: str) -> None:
    assert refusal(lambda: shop.place(*lines)) == (reason, [field])
    assert shop.stock() == [STOCK, STOCK]


def test_the_same_offer_may_stand_in_two_lines(shop: Shop) -> None:
    shop.place(("bulb", 2, 250), ("bulb", 3, 250))
    assert shop.stock() == [STOCK, 0]


def test_lines_are_in_one_currency(shop: Shop) -> None:
    shop.publish("yen", v1.Money(currency="JPY", units=100))
    lines = [
        v1.OrderLine(offer_id="lamp", quantity=1, unit_price=eur(4990)),
        v1.OrderLine(offer_id="yen", quantity=1, unit_price=v1.Money(currency="JPY", units=100)),
    ]
    request = v1.PlaceOrder(order_id="o-1", provider_id=shop.provider, lines=lines)
    with shop.books.begin() as work, pytest.raises(Fail, match="MIXED_CURRENCIES"):
        orders.place(work, BUYER, request)


def test_a_sum_beyond_the_ledger_is_refused(shop: Shop) -> None:
    shop.publish("moon", eur(10**15), stock=2)
    assert refusal(lambda: shop.place(("moon", 2, 10**15)))[0] == "AMOUNT_TOO_LARGE"
    shop.place(("moon", 1, 10**15))


@pytest.mark.parametrize("provider", ["PR-0009", ""])
def test_orders_go_to_a_provider(shop: Shop, provider: str) -> None:
    assert refusal(lambda: shop.place(("lamp", 1, 4990), provider=provider))[0] == "PROVIDER_UNKNOWN"


def test_an_order_id_names_one_order_of_a_buyer(shop: Shop) -> None:
    shop.place(("bulb", 1, 250))
    assert refusal(lambda: shop.place(("bulb", 1, 250)))[0] == "ORDER_EXISTS"
    shop.place(("bulb", 1, 250), buyer=STRANGER)


def test_stock_is_never_sold_twice(shop: Shop) -> None:
    def order(number: int) -> bool:
        try:
            shop.place(("lamp", 1, 4990), id=f"o-{number}")
        except Fail as fail:
            if fail.failure.reason != "OUT_OF_STOCK":
                raise
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(order, range(20))) == STOCK
    assert shop.stock(["lamp"]) == [0]


def test_an_order_is_paid_once_and_in_full(shop: Shop) -> None:
    order = shop.place(("lamp", 1, 4990))
    assert refusal(lambda: shop.pay(order, extra=1))[0] == "AMOUNT_MISMATCH"
    assert refusal(lambda: shop.pay(order, extra=-1))[0] == "AMOUNT_MISMATCH"
    assert refusal(lambda: shop.pay(order, creditor_account=platform.SHOP))[0] == "PAYEE_MISMATCH"
    assert refusal(lambda: shop.pay(order, order_number="O-000002"))[0] == "ORDER_UNKNOWN"
    shop.pay(order)
    assert refusal(lambda: shop.pay(order, id="e2e-2"))[0] == "ORDER_PAID"


def test_an_order_of_somebody_else_cannot_be_paid(shop: Shop) -> None:
    order = shop.place(("lamp", 1, 4990), buyer=STRANGER)
    assert refusal(lambda: shop.pay(order))[0] == "ORDER_UNKNOWN"


def test_a_lapsed_hold_opens_the_order_again(shop: Shop) -> None:
    order = shop.place(("lamp", 1, 4990))
    shop.pay(order)
    shop.books.now_ms += HOLD_MS
    shop.pay(order, id="e2e-2")
    assert shop.books.available(shop.wallet) == platform.OPENING.minor - 4990


def test_a_payment_needs_no_order(shop: Shop) -> None:
    with shop.books.begin() as work:
        orders.pay(work, BUYER, authorization(shop.wallet, 100))


def test_cancelling_frees_the_pieces_and_the_money(shop: Shop) -> None:
    order = shop.place(("lamp", 2, 4990), ("bulb", 1, 250))
    payment = shop.pay(order)
    answer = shop.cancel()
    assert (answer.order_number, answer.status) == (order.order_number, v1.ORDER_STATUS_CANCELLED)
    assert shop.stock() == [STOCK, STOCK]
    assert shop.books.available(shop.wallet) == platform.OPENING.minor
    assert shop.books.problems() == []
    with shop.books.begin() as work, pytest.raises(Fail, match="AUTHORIZATION_LAPSED"):
        payments.capture(work, SELLER, capture_of(payment.payment_id, 1))
    assert refusal(shop.cancel)[0] == "ORDER_CANCELLED"
    assert refusal(lambda: shop.pay(order, id="e2e-2"))[0] == "ORDER_CANCELLED"


def test_what_was_captured_must_be_refunded_before_cancelling(shop: Shop) -> None:
    order = shop.place(("lamp", 1, 4990))
    payment = shop.pay(order).payment_id
    with shop.books.begin() as work:
        payments.capture(work, SELLER, capture_of(payment, 4990))
    assert refusal(shop.cancel)[0] == "ORDER_PAID"
    with shop.books.begin() as work:
        payments.refund(work, SELLER, refund_of(payment, 4990))
    shop.cancel()
    assert shop.stock() == [STOCK, STOCK]


def test_orders_of_others_cannot_be_cancelled(shop: Shop) -> None:
    shop.place(("lamp", 1, 4990))
    assert refusal(lambda: shop.cancel(buyer=STRANGER))[0] == "ORDER_UNKNOWN"
