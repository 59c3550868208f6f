import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import Fail, v1
from ratatoskr_sandbox.money import MAX_MINOR, Amount, amount_of


@pytest.mark.parametrize(
    ("money", "amount", "text"),
    [
        (v1.Money(currency="EUR", units=49, nanos=900_000_000), Amount("EUR", 4990), "49.90 EUR"),
        (v1.Money(currency="EUR", units=-1, nanos=-750_000_000), Amount("EUR", -175), "-1.75 EUR"),
        (v1.Money(currency="EUR", nanos=10_000_000), Amount("EUR", 1), "0.01 EUR"),
        (v1.Money(currency="JPY", units=1200), Amount("JPY", 1200), "1,200 JPY"),
        (v1.Money(currency="BHD", units=1, nanos=1_000_000), Amount("BHD", 1001), "1.001 BHD"),
        (v1.Money(currency="CLF", nanos=100_000), Amount("CLF", 1), "0.0001 CLF"),
    ],
)
def test_money_is_counted_in_minor_units(money: v1.Money, amount: Amount, text: str) -> None:
    assert amount_of(money) == amount
    assert amount.to_money() == money
    assert str(amount) == text


@given(st.sampled_from(["EUR", "JPY", "BHD", "CLF"]), st.integers(-MAX_MINOR, MAX_MINOR))
def test_no_amount_is_rounded_on_its_way_over_the_wire(currency: str, minor: int) -> None:
    assert amount_of(Amount(currency, minor).to_money()) == Amount(currency, minor)


@pytest.mark.parametrize(
    ("money", "reason"),
    [
        (v1.Money(currency="EUR", nanos=1_000_000), "AMOUNT_NOT_EXACT"),
        (v1.Money(currency="JPY", nanos=500_000_000), "AMOUNT_NOT_EXACT"),
        (v1.Money(currency="EUR", units=MAX_MINOR // 100, nanos=10_000_000), "AMOUNT_TOO_LARGE"),
    ],
)
def test_what_the_ledger_cannot_hold_exactly_is_refused(money: v1.Money, reason: str) -> None:
    with pytest.raises(Fail) as caught:
        amount_of(money, "lines[0].unit_price")
    assert caught.value.failure.reason == reason
    assert caught.value.failure.violations[0].field == "lines[0].unit_price"
