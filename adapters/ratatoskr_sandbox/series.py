"""Numbers that people read: "P-000042" for the payment in row 42."""

from __future__ import annotations

from typing import NamedTuple


class Series(NamedTuple):
    """The names of one table's rows."""

    prefix: str
    digits: int

    def name(self, number: int) -> str:
        """The name of row ``number``."""
        return f"{self.prefix}{number:0{self.digits}}"

    def number(self, name: str) -> int:
        """The row that a name stands for; 0, which is no row, for any other text."""
        digits = name.removeprefix(self.prefix)
        number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 18 else 0
        return number if number and self.name(number) == name else 0


BOOKINGS = Series("B-", 6)
ORDERS = Series("O-", 6)
PAYMENTS = Series("P-", 6)
PROVIDERS = Series("PR-", 4)
