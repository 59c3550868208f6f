"""Exact amounts: whole minor units of one currency, such as 4990 cents.

The wire says units and billionths. The ledger counts what the currency can be paid in, so that nothing is ever
rounded: an amount finer than that is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from ratatoskr import Status, v1
from ratatoskr_sandbox.refusals import refused_field

MAX_MINOR = 10**15
"""No price, payment or order is larger, in minor units: sums of thousands of them still fit SQLite's integers."""

_NANOS = 10**9
_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS = "CLF UYW"
_DECIMALS = {
    currency: decimals
    for decimals, currencies in ((0, _NO_DECIMALS), (3, _THREE_DECIMALS), (4, _FOUR_DECIMALS))
    for currency in currencies.split()
}


def decimals(currency: str) -> int:
    """Decimal places of a currency's minor unit after ISO 4217; 2 where the standard names no other."""
    return _DECIMALS.get(currency, 2)


@dataclass(frozen=True, slots=True)
class Amount:
    """So many minor units of a currency."""

    currency: str
    minor: int

    def __str__(self) -> str:
        return f"{self.digits} {self.currency}"

    @property
    def digits(self) -> str:
        """The amount without its currency: ``1,234.50``."""
        places = decimals(self.currency)
        sign, digits = "-" if self.minor < 0 else "", str(abs(self.minor)).zfill(places + 1)
        point = len(digits) - places
        return f"{sign}{int(digits[:point]):,}{'.' if places else ''}{digits[point:]}"

    def to_money(self) -> v1.Money:
        """The same on the wire."""
        scale = 10 ** decimals(self.currency)
        units, rest = divmod(abs(self.minor), scale)
        sign = -1 if self.minor < 0 else 1
        return v1.Money(currency=self.currency, units=sign * units, nanos=sign * rest * (_NANOS // scale))


def amount_of(money: v1.Money, field: str = "amount") -> Amount:
    """The amount that a payload states in ``field``.

    Fails with AMOUNT_NOT_EXACT where the currency has no coin that small, and with AMOUNT_TOO_LARGE past MAX_MINOR.
    """
    step = _NANOS // 10 ** decimals(money.currency)
    total = money.units * _NANOS + money.nanos
    if total % step:
        places = decimals(money.currency)
        raise refused_field(
            field, Status.INVALID_ARGUMENT, "AMOUNT_NOT_EXACT", f"{money.currency} has {places} decimal places"
        )
    if abs(total // step) > MAX_MINOR:
        most = Amount(money.currency, MAX_MINOR)
        raise refused_field(field, Status.INVALID_ARGUMENT, "AMOUNT_TOO_LARGE", f"at most {most}")
    return Amount(money.currency, total // step)
