from collections.abc import Iterator
from itertools import chain

import pytest

from ratatoskr import Fail, v1
from ratatoskr.messages.schema import check
from ratatoskr_sandbox import catalogue, providers
from ratatoskr_sandbox.catalogue import MAX_STOCK
from tests.unit.sandbox.books import BUYER, SELLER, Books, eur


@pytest.fixture
def shop(books: Books) -> Books:
    books.register_seller()
    return books


def publish(books: Books, id: str, title: str, *, cents: int = 100, stock: int = 5, **fields: str) -> v1.OfferPublished:
    request = v1.PublishOffer(
        publication_id="p",
        offer_id=id,
        title=title,
        price=eur(cents),
        stock=stock,
        **fields,
    )
    with books.begin() as work:
        return catalogue.publish(work, SELLER, request)


def search(books: Books, query: str = "", **fields: object) -> v1.SearchResult:
    with books.begin() as work:
        return catalogue.search(work, v1.Search(query=query, **fields))  # type: ignore[arg-type]


def pages(books: Books, query: str = "zz", **fields: object) -> Iterator[list[v1.OfferFound]]:
    """A browse, page by page, each in a transaction of its own."""
    place = None
    while True:
        with books.begin() as work:
            page, place = catalogue.browse(work, v1.Browse(query=query, **fields), place)  # type: ignore[arg-type]
        yield page
        if place is None:
            return


def browse(books: Books, query: str = "zz", **fields: object) -> list[v1.OfferFound]:
    return list(chain.from_iterable(pages(books, query, **fields)))


def ids(result: v1.SearchResult | list[v1.OfferFound]) -> list[str]:
    offers = result.offers if isinstance(result, v1.SearchResult) else [item.offer for item in result]
    return [offer.offer_id for offer in offers]


def progress(items: list[v1.OfferFound]) -> list[tuple[int, int]]:
    return [(item.found, item.total) for item in items]


def only(field: v1.FilterField.ValueType, *values: str) -> v1.SearchFilter:
    return v1.SearchFilter(field=field, values=values)


def test_an_offer_is_found_as_it_was_published(shop: Books) -> None:
    answer = publish(shop, "lamp-1", "Desk lamp", cents=4990, description="d" * 200, category="light")
    assert (answer.offer_id, answer.replaced, answer.published_at_ms) == ("lamp-1", False, shop.now_ms)
    (offer,) = search(shop, "DESK lamp").offers
    assert offer == v1.Offer(
        offer_id="lamp-1",
        provider_id=answer.provider_id,
        title="Desk lamp",
        summary="d" * 140,
        category="light",
        price=eur(4990),
        stock=5,
    )


def test_publishing_again_replaces(shop: Books) -> None:
    publish(shop, "lamp-1", "Desk lamp")
    assert publish(shop, "lamp-1", "Floor lamp", cents=200).replaced
    assert ids(search(shop, "desk")) == []
    assert [offer.price for offer in search(shop, "floor").offers] == [eur(200)]


def test_offers_with_more_words_in_the_title_come_first(shop: Books) -> None:
    publish(shop, "a", "Shade", description="for a green lamp")
    publish(shop, "b", "Lamp", description="green")
    publish(shop, "c", "Green lamp")
    publish(shop, "d", "Green tea")
    assert ids(search(shop, "green lamp")) == ["c", "b", "a"]


@pytest.mark.parametrize("query", ["ÉTÉ straße", "STRASSE été", "  strasse  "])
def test_letters_are_compared_in_any_case_and_language(shop: Books, query: str) -> None:
    publish(shop, "a", "L'Été", description="Straße")
    assert ids(search(shop, query)) == ["a"]


@pytest.mark.parametrize("query", ["%", "_", "' OR 1 --", "lamp\0", "lamp%"])
def test_a_query_is_only_words(shop: Books, query: str) -> None:
    publish(shop, "a", "Lamp")
    assert ids(search(shop, query)) == []


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([only(v1.FILTER_FIELD_CATEGORY, "x")], ["a"]),
        ([only(v1.FILTER_FIELD_CATEGORY, "x", "y")], ["a", "b"]),
        ([only(v1.FILTER_FIELD_CATEGORY, "x"), only(v1.FILTER_FIELD_CATEGORY, "y")], []),
        ([only(v1.FILTER_FIELD_PROVIDER_ID, "PR-0002")], ["a", "b"]),
        ([only(v1.FILTER_FIELD_PROVIDER_ID, "PR-0001")], ["tea", "mug", "lantern"]),
        ([only(v1.FILTER_FIELD_CURRENCY, "USD")], []),
    ],
)
def test_filters(shop: Books, filters: list[v1.SearchFilter], found: list[str]) -> None:
    publish(shop, "a", "A", category="x")
    publish(shop, "b", "B", category="y")
    assert ids(search(shop, filters=filters)) == found
    assert ids(browse(shop, "", filters=filters)) == found


@pytest.mark.parametrize(("cents", "found"), [(99, []), (100, ["a"]), (101, ["a", "b"])])
def test_no_offer_is_dearer_than_asked_for(shop: Books, cents: int, found: list[str]) -> None:
    publish(shop, "a", "Zz", cents=100)
    publish(shop, "b", "Zz", cents=101)
    assert ids(search(shop, "zz", max_price=eur(cents))) == found
    assert ids(browse(shop, "zz", max_price=eur(cents))) == found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_pages_show_every_offer_once(shop: Books, size: int) -> None:
    for number in range(7):
        publish(shop, f"o-{number}", "Zz" if number % 2 else "Other", description="zz")
    seen: list[str] = []
    token = b""
    while True:
        page = search(shop, "zz", page_size=size, page_token=token)
        seen += ids(page)
        token = page.next_page_token
        if not token:
            break
        assert len(page.offers) == size
    assert seen == ["o-1", "o-3", "o-5", "o-0", "o-2", "o-4", "o-6"]


def test_a_page_holds_twenty_unless_asked(shop: Books) -> None:
    for number in range(21):
        publish(shop, f"o-{number}", "Zz")
    assert len(search(shop, "zz").offers) == 20


def test_a_page_token_belongs_to_its_search(shop: Books) -> None:
    token = search(shop, page_size=1).next_page_token
    for query, wrong in (("other", token), ("", b"x"), ("", token + b"x"), ("", bytes(18))):
        with pytest.raises(Fail, match="PAGE_TOKEN_INVALID"):
            search(shop, query, page_token=wrong)
    assert ids(search(shop, page_size=2, page_token=token[:10] + b"\xff" * 8)) == []


@pytest.fixture
def three_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "BROWSED_AT_ONCE", 3)


@pytest.mark.parametrize("query", ["", "green lamp", "GREEN", "nothing of the kind"])
def test_a_browse_finds_what_a_search_finds_in_its_order(shop: Books, query: str) -> None:
    publish(shop, "a", "Shade", description="for a green lamp")
    publish(shop, "b", "Lamp", description="green")
    publish(shop, "c", "Green lamp")
    found = browse(shop, query)
    assert [item.offer for item in found] == list(search(shop, query, page_size=50).offers)
    assert progress(found) == [(number, len(found)) for number in range(1, len(found) + 1)]
    assert [violation for item in found for violation in check(item)] == []


@pytest.mark.usefixtures("three_at_once")
@pytest.mark.parametrize(
    ("offers", "sizes"), [(0, [0]), (1, [1]), (2, [2]), (3, [3]), (4, [3, 1]), (6, [3, 3]), (7, [3, 3, 1])]
)
def test_a_browse_reads_a_few_offers_at_a_time(shop: Books, offers: int, sizes: list[int]) -> None:
    for number in range(offers):
        publish(shop, f"o-{number}", "Zz" if number % 2 else "Other", description="zz")
    read = list(pages(shop))
    assert [len(page) for page in read] == sizes
    order = [*range(1, offers, 2), *range(0, offers, 2)]
    assert ids(list(chain(*read))) == [f"o-{number}" for number in order]
    assert progress(list(chain(*read))) == [(number, offers) for number in range(1, offers + 1)]


@pytest.mark.usefixtures("three_at_once")
@pytest.mark.parametrize(("limit", "sizes"), [(0, [3, 2]), (1, [1]), (3, [3]), (4, [3, 1]), (5, [3, 2]), (6, [3, 2])])
def test_a_browse_ends_at_its_limit(shop: Books, limit: int, sizes: list[int]) -> None:
    for number in range(5):
        publish(shop, f"o-{number}", "Zz")
    read = list(pages(shop, limit=limit))
    assert [len(page) for page in read] == sizes
    assert progress(list(chain(*read))) == [(number, sum(sizes)) for number in range(1, sum(sizes) + 1)]


def test_a_browse_reads_fifty_offers_at_once(shop: Books) -> None:
    for number in range(51):
        publish(shop, f"o-{number}", "Zz")
    assert [len(page) for page in pages(shop)] == [50, 1]


@pytest.mark.usefixtures("three_at_once")
def test_what_is_published_during_a_browse_is_left_out(shop: Books) -> None:
    for number in range(5):
        publish(shop, f"o-{number}", "Zz")
    reading = pages(shop)
    first = next(reading)
    publish(shop, "late", "Zz")
    assert progress([*first, *chain(*reading)]) == [(number, 5) for number in range(1, 6)]
    assert browse(shop)[-1].offer.offer_id == "late"


@pytest.mark.usefixtures("three_at_once")
def test_an_offer_that_is_replaced_during_a_browse_does_not_come_twice(shop: Books) -> None:
    for number in range(5):
        publish(shop, f"o-{number}", "Zz")
    reading = pages(shop)
    first = next(reading)
    publish(shop, "o-0", "Other", description="zz")  # it came, and would come again further down
    publish(shop, "o-3", "Other", description="zz")  # it has not come
    found = [*first, *chain(*reading)]
    assert ids(found) == ["o-0", "o-1", "o-2", "o-4"]
    assert progress(found) == [(1, 5), (2, 5), (3, 5), (4, 5)]
    assert len(browse(shop)) == 5


@pytest.mark.usefixtures("three_at_once")
def test_the_next_best_offers_fill_a_limit_that_others_left(shop: Books) -> None:
    for number in range(6):
        publish(shop, f"o-{number}", "Zz")
    reading = pages(shop, limit=5)
    first = next(reading)
    publish(shop, "o-3", "Other")
    assert ids([*first, *chain(*reading)]) == ["o-0", "o-1", "o-2", "o-4", "o-5"]


@pytest.mark.usefixtures("three_at_once")
def test_a_browse_shows_the_stock_of_the_moment(shop: Books) -> None:
    for number in range(4):
        publish(shop, f"o-{number}", "Zz", stock=5)
    reading = pages(shop)
    next(reading)
    line = v1.OrderLine(offer_id="o-3", quantity=2, unit_price=eur(100))
    with shop.begin() as work:
        catalogue.reserve(work, "PR-0002", line, "lines[0]")
    assert [item.offer.stock for item in next(reading)] == [3]


def test_a_browse_below_an_amount_that_nobody_can_pay_is_refused(shop: Books) -> None:
    with pytest.raises(Fail, match=r"AMOUNT_NOT_EXACT.*max_price"):
        browse(shop, max_price=v1.Money(currency="EUR", nanos=1))


def test_only_a_registered_provider_publishes(books: Books) -> None:
    with books.begin() as work, pytest.raises(Fail, match="PROVIDER_NOT_REGISTERED"):
        catalogue.publish(work, BUYER, v1.PublishOffer(offer_id="a", title="A", price=eur(1)))


def test_a_provider_has_a_limited_number_of_offers(shop: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "MAX_OFFERS", 2)
    publish(shop, "a", "A")
    publish(shop, "b", "B")
    with pytest.raises(Fail, match="TOO_MANY_OFFERS"):
        publish(shop, "c", "C")
    publish(shop, "b", "B again")


def test_restocking_stays_within_the_schema(shop: Books) -> None:
    publish(shop, "a", "Zz", stock=MAX_STOCK)
    with shop.begin() as work:
        (number,) = work.db.execute("SELECT number FROM offers WHERE offer_id = 'a'").fetchone()
        catalogue.restock(work, number, 3)
    assert search(shop, "zz").offers[0].stock == MAX_STOCK
