from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratatoskr import MARKETPLACE_ORDER, MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, PROVIDER_REGISTER, AnyKind, v1
from ratatoskr_cli.client import KINDS
from ratatoskr_cli.exits import Exit, Failed
from ratatoskr_cli.payloads import example_of, fields_text, payload_of, payload_to_json
from ratatoskr_cli.screen import printable, to_json


@pytest.mark.parametrize(
    ("text", "money"),
    [
        ("49.90 EUR", v1.Money(currency="EUR", units=49, nanos=900_000_000)),
        ("-1.75 USD", v1.Money(currency="USD", units=-1, nanos=-750_000_000)),
        ("-0.5 USD", v1.Money(currency="USD", nanos=-500_000_000)),
        ("0 EUR", v1.Money(currency="EUR")),
        (" 1200JPY ", v1.Money(currency="JPY", units=1200)),
        ("0.000000001 EUR", v1.Money(currency="EUR", nanos=1)),
    ],
)
def test_money_may_be_written_as_people_write_it(text: str, money: v1.Money) -> None:
    assert payload_of(PAYMENT_AUTHORIZE, to_json({"amount": text})).amount == money
    spelled = {"currency": money.currency, "units": str(money.units), "nanos": money.nanos}
    assert payload_of(PAYMENT_AUTHORIZE, to_json({"amount": spelled})).amount == money


def test_money_is_understood_inside_lists() -> None:
    order = payload_of(MARKETPLACE_ORDER, '{"lines": [{"offer_id": "a"}, {"unit_price": "2 EUR"}]}')
    assert order.lines[1].unit_price == v1.Money(currency="EUR", units=2)


@pytest.mark.parametrize("text", ["49,90 EUR", "EUR 49.90", "49.90", "1.2345678901 EUR", "1e3 EUR", "- 1 EUR", ""])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(Failed, match=r'amount: .* is no amount; write it as "49\.90 EUR"') as caught:
        payload_of(PAYMENT_AUTHORIZE, to_json({"amount": text}))
    assert caught.value.code is Exit.USAGE


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (MARKETPLACE_SEARCH, {"qery": ""}, "qery: Search has no such field; did you mean query?"),
        (
            MARKETPLACE_ORDER,
            {"lines": [{}, {"zzz": 1}]},
            r"lines\[1\].zzz: OrderLine has no such field; it has offer_id",
        ),
        (MARKETPLACE_ORDER, {"lines": {"offer_id": 1}}, "PlaceOrder: .*lines"),
        (MARKETPLACE_ORDER, {"lines": ["x"]}, "PlaceOrder: "),
        (PAYMENT_AUTHORIZE, {"amount": {"curency": "EUR"}}, "amount.curency: Money .* did you mean currency?"),
        (PAYMENT_AUTHORIZE, {"amount": 5}, "AuthorizePayment: "),
        (PROVIDER_REGISTER, {"documents": [{"kind": "PASSPORT"}]}, "RegisterProvider: .*PASSPORT"),
        (PROVIDER_REGISTER, {"documents": [{"sha256": "***"}]}, r"documents\[0\].sha256: '\*\*\*' is not base64"),
        (MARKETPLACE_SEARCH, "tea", "the payload of MARKETPLACE_SEARCH is a JSON object with the fields of Search"),
    ],
)
def test_a_wrong_field_is_named(kind: AnyKind, value: Any, said: str) -> None:
    with pytest.raises(Failed, match=said):
        payload_of(kind, to_json(value))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_example_of_every_kind_is_a_payload_of_it(kind: AnyKind) -> None:
    example = example_of(kind.request.DESCRIPTOR)
    message = payload_of(kind, to_json(example))
    assert payload_of(kind, to_json(payload_to_json(message))) == message
    assert fields_text(kind.request.DESCRIPTOR).startswith(next(iter(example), ""))


@given(st.text())
def test_no_text_of_a_peer_steers_the_terminal(text: str) -> None:
    assert printable(text).isprintable()
    assert to_json(payload_to_json(v1.Search(query=text.encode(errors="replace").decode()))).isprintable()


def test_what_is_printable_stays() -> None:
    assert printable("für 5 € \u2014 \x1b[31mred\n") == "für 5 € \u2014 \\x1b[31mred\\n"
