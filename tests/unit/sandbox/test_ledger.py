import multiprocessing
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from ratatoskr import Fail
from ratatoskr_sandbox import ledger, platform
from ratatoskr_sandbox.money import Amount
from tests.unit.sandbox.books import BUYER, SELLER, Books

OPENING = platform.OPENING.minor
BOOK = "INSERT INTO bookings (debit, credit, currency, amount, text, booked_at_ms) VALUES"


@pytest.fixture
def wallet(books: Books) -> str:
    return books.open_wallet()


@pytest.fixture
def other(books: Books) -> str:
    return books.open_wallet(SELLER)


def test_a_booking_moves_money_from_one_account_to_the_other(books: Books, wallet: str, other: str) -> None:
    with books.begin() as work:
        ledger.book(work, wallet, other, Amount("EUR", 250), "tea")
        assert ledger.balance_of(work, wallet, "EUR").booked == Amount("EUR", OPENING - 250)
        assert ledger.balance_of(work, other, "EUR").booked == Amount("EUR", OPENING + 250)
        newest = ledger.postings_of(work, other, 1)[0]
        assert (newest.amount, newest.counterparty, newest.text) == (Amount("EUR", 250), wallet, "tea")
        assert ledger.postings_of(work, wallet, 1)[0].amount == Amount("EUR", -250)
        assert ledger.postings_of(work, wallet, 1)[0].reference == newest.reference
    assert books.problems() == []


def test_accounts_hold_currencies_apart(books: Books, wallet: str) -> None:
    with books.begin() as work:
        ledger.book(work, platform.MINT, wallet, Amount("JPY", 500), "yen")
        assert [str(each.available) for each in ledger.balances_of(work, wallet)] == ["1,000.00 EUR", "500 JPY"]
        assert ledger.sums(work) == [Amount("EUR", 0), Amount("JPY", 0)]


@pytest.mark.parametrize("action", [ledger.book, ledger.hold])
@pytest.mark.parametrize(("excess", "refused"), [(-1, False), (0, False), (1, True)])
def test_no_customer_spends_more_than_is_available(
    books: Books, wallet: str, other: str, action: Callable[..., object], excess: int, refused: bool
) -> None:
    amount = Amount("EUR", OPENING - 100 + excess)
    with books.begin() as work:
        ledger.hold(work, wallet, Amount("EUR", 100))
        spend = partial(action, work, wallet, *([other] if action is ledger.book else []), amount)
        arguments = ["text"] if action is ledger.book else []
        if not refused:
            spend(*arguments)
            return
        with pytest.raises(Fail) as caught:
            spend(*arguments)
    assert caught.value.failure.reason == "INSUFFICIENT_FUNDS"
    assert "999.00 EUR available, 999.01 EUR are needed" in caught.value.failure.message


def test_an_account_without_the_currency_has_nothing_available(books: Books, wallet: str) -> None:
    with books.begin() as work, pytest.raises(Fail, match=r"INSUFFICIENT_FUNDS.* 0\.00 USD available"):
        ledger.hold(work, wallet, Amount("USD", 1))


@pytest.mark.parametrize(
    "statement",
    [
        f"{BOOK} ('nobody', 'house', 'EUR', 1, '', 0)",
        f"{BOOK} ('system:mint', 'nobody', 'EUR', 1, '', 0)",
        f"{BOOK} ('house', 'house', 'EUR', 1, '', 0)",
        f"{BOOK} ('system:mint', 'house', 'EUR', 0, '', 0)",
        "UPDATE bookings SET amount = 1",
        "DELETE FROM bookings",
        "UPDATE balances SET held = -1",
        "UPDATE balances SET held = 100001 WHERE NOT system",
        "UPDATE balances SET balance = -1 WHERE NOT system",
        "UPDATE offers SET stock = -1",
    ],
)
def test_the_database_itself_refuses_what_must_not_be(books: Books, wallet: str, statement: str) -> None:
    with books.begin() as work, pytest.raises(sqlite3.IntegrityError):
        work.db.execute(statement)
    assert books.problems() == []


@pytest.mark.parametrize(
    ("sabotage", "rule"),
    [
        ("UPDATE balances SET balance = balance + 1 WHERE account = 'house'", "all balances in a currency sum to zero"),
        ("UPDATE balances SET balance = balance + 1 WHERE account = 'house'", "a balance is the sum of its postings"),
        ("UPDATE accounts SET system = 0", "only system accounts are overdrawn"),
        ("UPDATE balances SET held = 5 WHERE account = 'house'", "what is held is what payments have authorized"),
    ],
)
def test_the_audit_finds_what_was_changed_behind_the_ledgers_back(books: Books, sabotage: str, rule: str) -> None:
    with books.begin() as work:
        ledger.book(work, platform.MINT, platform.SHOP, Amount("EUR", 100), "stake")
        work.db.execute(sabotage)
    assert rule in {problem.partition(":")[0] for problem in books.problems()}


def test_an_account_is_opened_once_and_keeps_its_owner(books: Books, wallet: str) -> None:
    with books.begin() as work:
        assert not ledger.open_account(work, wallet, SELLER)
        assert ledger.owner_of(work, wallet) == BUYER
        assert ledger.owner_of(work, "nobody") is None
        assert ledger.accounts_of(work, BUYER) == [wallet]


def _spend(path: Path, wallet: str, amounts: list[int]) -> int:
    """Debit as often as it goes; gives how many minor units went."""
    books = Books(path)
    spent = 0
    for minor in amounts:
        try:
            with books.begin() as work:
                ledger.book(work, wallet, platform.SHOP, Amount("EUR", minor), "spree")
        except Fail as fail:
            if fail.failure.reason != "INSUFFICIENT_FUNDS":
                raise
        else:
            spent += minor
    return spent


def test_concurrent_debits_from_threads_never_overdraw(books: Books, wallet: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        spent = sum(pool.map(partial(_spend, books.path, wallet), [[7_919] * 5] * 8))
    assert spent == 12 * 7_919  # of 100,000
    assert books.available(wallet) == OPENING - spent
    assert books.available(platform.SHOP) == spent
    assert books.problems() == []


def test_concurrent_debits_from_processes_never_overdraw(books: Books, wallet: str) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        spent = sum(pool.map(partial(_spend, books.path, wallet), [[7_919] * 10] * 4))
    assert spent == 12 * 7_919
    assert books.available(wallet) == OPENING - spent
    assert books.problems() == []
