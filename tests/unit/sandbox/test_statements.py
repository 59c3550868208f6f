import pytest

from ratatoskr import STANDARD_KINDS, Fail
from ratatoskr_sandbox import ledger, platform, statements
from ratatoskr_sandbox.money import Amount
from ratatoskr_sandbox.sandbox_pb2 import GetStatement
from ratatoskr_sandbox.statements import SANDBOX_STATEMENT
from tests.unit.sandbox.books import BUYER, SELLER, STRANGER, Books, eur
from tools import sandbox_proto


def test_a_statement_says_what_lies_on_the_account_and_how_it_came_there(books: Books) -> None:
    wallet = books.open_wallet()
    with books.begin() as work:
        ledger.book(work, wallet, platform.SHOP, Amount("EUR", 490), "tea")
        ledger.hold(work, wallet, Amount("EUR", 10))
        statement = statements.draw_up(work, BUYER, GetStatement(bookings=10))
    assert statement.account == wallet
    assert [(each.booked, each.held) for each in statement.balances] == [(eur(99_510), eur(10))]
    assert [(each.amount, each.counterparty, each.text) for each in statement.bookings] == [
        (eur(-490), platform.SHOP, "tea"),
        (eur(100_000), platform.MINT, "Opening balance"),
    ]
    assert list(statement.ledger_sums) == [eur(0)]
    assert statement.drawn_at_ms == books.now_ms


@pytest.mark.parametrize(("asked", "listed"), [(0, 0), (1, 1), (100, 100), (1000, 100)])
def test_a_statement_lists_at_most_a_hundred_bookings(books: Books, asked: int, listed: int) -> None:
    wallet = books.open_wallet()
    with books.begin() as work:
        for _ in range(101):
            ledger.book(work, wallet, platform.SHOP, Amount("EUR", 1), "drop")
        statement = statements.draw_up(work, BUYER, GetStatement(bookings=asked))
    assert len(statement.bookings) == listed


def test_nobody_sees_the_account_of_another(books: Books) -> None:
    wallet = books.open_wallet()
    with books.begin() as work:
        for party, request in (
            (STRANGER, GetStatement()),
            (STRANGER, GetStatement(account=wallet)),
            (BUYER, GetStatement(account=platform.MINT)),
            (BUYER, GetStatement(account="nobody")),
        ):
            with pytest.raises(Fail, match="ACCOUNT_UNKNOWN"):
                statements.draw_up(work, party, request)


def test_who_has_two_accounts_says_which(books: Books) -> None:
    with books.begin() as work:
        ledger.open_account(work, "DE-7", SELLER)
        ledger.open_account(work, "DE-8", SELLER)
        with pytest.raises(Fail, match="ACCOUNT_UNCLEAR: say which: DE-7, DE-8"):
            statements.draw_up(work, SELLER, GetStatement())
        assert statements.draw_up(work, SELLER, GetStatement(account="DE-8")).account == "DE-8"


def test_the_kind_is_custom_and_sealed() -> None:
    assert SANDBOX_STATEMENT.sealed
    assert SANDBOX_STATEMENT.type >= 1000
    assert SANDBOX_STATEMENT in STANDARD_KINDS | [SANDBOX_STATEMENT]


def test_the_generated_code_is_current() -> None:
    assert sandbox_proto.stale() == []
