import pytest

from ratatoskr import Fail, v1
from ratatoskr_sandbox import ledger, orders, platform, providers
from ratatoskr_sandbox.database import Party
from tests.unit.sandbox.books import BUYER, SELLER, SELLER_ACCOUNT, Books, authorization, registration

APPLICANT = Party("", "self-issued:00ff")


def register(
    books: Books,
    party: Party = SELLER,
    *,
    enrolled: bool = True,
    subject: str | None = None,
    account: str = SELLER_ACCOUNT,
) -> v1.ProviderRegistered:
    with books.begin() as work:
        request = registration(subject or party.subject, account)
        return providers.register(work, party, request, enrolled=enrolled)


def test_an_enrolled_provider_is_active_at_once_and_has_its_account(books: Books) -> None:
    answer = register(books)
    assert answer.status == v1.PROVIDER_STATUS_ACTIVE
    assert answer.limits.offers == providers.MAX_OFFERS
    with books.begin() as work:
        assert ledger.owner_of(work, SELLER_ACCOUNT) == SELLER
        assert providers.payout_account(work, answer.provider_id) == SELLER_ACCOUNT
        assert providers.active_id(work, SELLER) == answer.provider_id
        assert work.db.execute("SELECT count(*) FROM documents").fetchone() == (1,)


def test_registering_again_changes_the_entry_and_keeps_the_id(books: Books) -> None:
    first = register(books)
    second = register(books, account="DE-8")
    assert second.provider_id == first.provider_id
    with books.begin() as work:
        assert providers.payout_account(work, first.provider_id) == "DE-8"
        assert work.db.execute("SELECT count(*) FROM documents").fetchone() == (1,)


def test_who_is_not_enrolled_can_only_apply(books: Books) -> None:
    answer = register(books, APPLICANT, enrolled=False, subject=SELLER.subject)
    assert answer.status == v1.PROVIDER_STATUS_UNDER_REVIEW
    assert not answer.HasField("limits")
    with books.begin() as work:
        assert ledger.owner_of(work, SELLER_ACCOUNT) is None
        with pytest.raises(Fail, match="PROVIDER_NOT_REGISTERED"):
            providers.active_id(work, APPLICANT)
        with pytest.raises(Fail, match="PROVIDER_UNKNOWN"):
            providers.payout_account(work, answer.provider_id)
    assert register(books).status == v1.PROVIDER_STATUS_ACTIVE  # an application takes no name from its holder


def test_applications_are_bounded(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "MAX_APPLICATIONS", 2)
    for number in range(2):
        register(books, Party("", f"self-issued:{number}"), enrolled=False, subject="x")
    with pytest.raises(Fail, match="RESOURCE_EXHAUSTED/TOO_MANY_APPLICATIONS"):
        register(books, APPLICANT, enrolled=False, subject="x")
    register(books)


@pytest.mark.parametrize(
    ("subject", "account", "reason"),
    [
        ("shop-8", SELLER_ACCOUNT, "SUBJECT_NOT_YOURS"),
        (None, "system:mint", "ACCOUNT_RESERVED"),
        (None, "wallet:acme:till-1", "ACCOUNT_RESERVED"),
        (None, platform.SHOP, "ACCOUNT_TAKEN"),
    ],
)
def test_registrations_that_claim_too_much(books: Books, subject: str | None, account: str, reason: str) -> None:
    with pytest.raises(Fail) as caught:
        register(books, subject=subject, account=account)
    assert caught.value.failure.reason == reason
    assert caught.value.failure.violations


@pytest.mark.parametrize("id", ["PR-0009", "PR-1", "house", ""])
def test_ids_that_name_no_provider(books: Books, id: str) -> None:
    with books.begin() as work, pytest.raises(Fail, match="PROVIDER_UNKNOWN"):
        providers.payout_account(work, id)


@pytest.mark.parametrize(("cents", "refused"), [(1_000_000, False), (1_000_001, True)])
def test_a_provider_takes_no_payment_above_its_limit(books: Books, cents: int, refused: bool) -> None:
    register(books)
    wallet = books.open_wallet()
    with books.begin() as work:
        ledger.book(work, platform.MINT, wallet, providers.MAX_PAYMENT, "more")
        if refused:
            with pytest.raises(Fail, match="PAYMENT_TOO_LARGE"):
                orders.pay(work, BUYER, authorization(wallet, cents))
        else:
            orders.pay(work, BUYER, authorization(wallet, cents))


@pytest.mark.parametrize(
    ("party", "readable"),
    [
        (BUYER, "wallet:acme:till-1"),
        (Party("", "till-1"), "wallet::till-1"),
        (Party("a:b", "c"), None),
        (Party("a", "b:c"), None),
        (Party("", "with space"), None),
        (Party("x" * 20, "y" * 20), None),
    ],
)
def test_every_device_has_a_wallet_of_its_own(books: Books, party: Party, readable: str | None) -> None:
    wallet = books.open_wallet(party)
    assert readable in {None, wallet}
    assert 1 <= len(wallet) <= 34
    assert books.open_wallet(party) == wallet
    assert books.available(wallet) == platform.OPENING.minor
    with books.begin() as work:
        assert ledger.owner_of(work, wallet) == party


def test_names_that_could_be_confused_are_not() -> None:
    assert platform.wallet_of(Party("a:b", "c")) != platform.wallet_of(Party("a", "b:c"))
