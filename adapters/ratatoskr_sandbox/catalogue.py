"""The catalogue: publishing offers, searching them, reserving stock."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

from ratatoskr import Fail, Status, v1
from ratatoskr_sandbox import providers
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import Amount, amount_of
from ratatoskr_sandbox.refusals import refused_field

PAGE_SIZE: Final = 20
"""Offers on a page where the search does not say."""
BROWSED_AT_ONCE: Final = 50
"""Offers that a browse reads in one transaction."""
SUMMARY_CHARACTERS: Final = 140
MAX_STOCK: Final = 1_000_000
"""Pieces of one offer, after the schema."""

_FILTER_COLUMNS = {
    v1.FILTER_FIELD_CATEGORY: "category",
    v1.FILTER_FIELD_PROVIDER_ID: "provider_id",
    v1.FILTER_FIELD_CURRENCY: "currency",
}
_TOKEN = struct.Struct(">8sHQ")  # digest of the search, score and number of the last offer on the page


def publish(work: Work, provider: Party, request: v1.PublishOffer) -> v1.OfferPublished:
    """Put an offer into the catalogue, or replace the provider's earlier one of that id."""
    provider_id = providers.active_id(work, provider)
    price = amount_of(request.price, "price")
    own = "SELECT count(*), count(CASE offer_id WHEN ? THEN 1 END) FROM offers WHERE provider_id = ?"
    offers, replaced = work.db.execute(own, (request.offer_id, provider_id)).fetchone()
    if not replaced and offers >= providers.MAX_OFFERS:
        raise Fail(Status.RESOURCE_EXHAUSTED, "TOO_MANY_OFFERS", f"{provider_id} has {offers} offers, its limit")
    title = request.title.casefold()
    work.db.execute(
        """INSERT INTO offers (provider_id, offer_id, title, description, category, currency, price, stock,
                               title_words, words, publication)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (provider_id, offer_id) DO UPDATE SET
               title = excluded.title, description = excluded.description, category = excluded.category,
               currency = excluded.currency, price = excluded.price, stock = excluded.stock,
               title_words = excluded.title_words, words = excluded.words,
               publication = excluded.publication""",
        (
            provider_id,
            request.offer_id,
            request.title,
            request.description,
            request.category,
            price.currency,
            price.minor,
            request.stock,
            title,
            f"{title}\n{request.description.casefold()}",
            _latest_publication(work) + 1,
        ),
    )
    return v1.OfferPublished(
        offer_id=request.offer_id, provider_id=provider_id, replaced=bool(replaced), published_at_ms=work.now_ms
    )


def search(work: Work, request: v1.Search) -> v1.SearchResult:
    """Offers that contain every word of the query and pass every filter; those with more words in the title first."""
    digest = _digest(request)
    after = _position(request.page_token, digest) if request.page_token else None
    size = request.page_size or PAGE_SIZE
    found = _Matches(request).read(work, after, size + 1)
    page = found[:size]
    return v1.SearchResult(
        offers=[each.offer for each in page],
        next_page_token=_TOKEN.pack(digest, *page[-1].position) if len(found) > size else b"",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """How far a browse has come. This alone is kept while its reader is not reading."""

    total: int
    """Offers that it was going to find when it began."""
    publication: int
    """The latest one then."""
    found: int = 0
    after: Position | None = None
    """Of the last offer found."""


def browse(work: Work, request: v1.Browse, place: Place | None = None) -> tuple[list[v1.OfferFound], Place | None]:
    """The next offers of a browse, in the order of a search, and the place to go on from; None after the last.

    Each call may be in a transaction of its own, however long after the one before. What is published or replaced in
    between is left out, so that no offer comes twice and the total stays what it was.
    """
    matches = _Matches(request)
    if place is None:
        count = matches.count(work)
        place = Place(min(count, request.limit) if request.limit else count, _latest_publication(work))
    matches.narrow("publication <= ?", place.publication)
    size = min(BROWSED_AT_ONCE, place.total - place.found)
    found = matches.read(work, place.after, size)
    items = [
        v1.OfferFound(offer=each.offer, found=number, total=place.total)
        for number, each in enumerate(found, place.found + 1)
    ]
    so_far = place.found + len(found)
    if len(found) < size or so_far == place.total:
        return items, None
    return items, replace(place, found=so_far, after=found[-1].position)


def reserve(work: Work, provider_id: str, line: v1.OrderLine, field: str) -> tuple[int, Amount]:
    """Take pieces out of stock: the offer's row, and what one piece costs.

    Fails with OFFER_UNKNOWN, PRICE_CHANGED or OUT_OF_STOCK, naming ``field`` of the order.
    """
    query = "SELECT number, currency, price, stock FROM offers WHERE provider_id = ? AND offer_id = ?"
    row = work.db.execute(query, (provider_id, line.offer_id)).fetchone()
    if row is None:
        raise refused_field(
            f"{field}.offer_id", Status.NOT_FOUND, "OFFER_UNKNOWN", f"{provider_id} has no offer {line.offer_id}"
        )
    number, price, stock = row[0], Amount(row[1], row[2]), row[3]
    if amount_of(line.unit_price, f"{field}.unit_price") != price:
        raise refused_field(
            f"{field}.unit_price", Status.FAILED_PRECONDITION, "PRICE_CHANGED", f"{line.offer_id} costs {price}"
        )
    if line.quantity > stock:
        raise refused_field(
            f"{field}.quantity", Status.FAILED_PRECONDITION, "OUT_OF_STOCK", f"{stock} of {line.offer_id} are left"
        )
    work.db.execute("UPDATE offers SET stock = stock - ? WHERE number = ?", (line.quantity, number))
    return number, price


def restock(work: Work, number: int, quantity: int) -> None:
    """Put pieces back that :func:`reserve` took."""
    work.db.execute("UPDATE offers SET stock = min(stock + ?, ?) WHERE number = ?", (quantity, MAX_STOCK, number))


Position: TypeAlias = tuple[int, int]
"""Score and number of an offer: its place among matches."""


class _Match(NamedTuple):
    position: Position
    offer: v1.Offer


class _Matches:
    """The offers that a request is about, and their order: those with more words in the title first, then the oldest.

    Only placeholders and names from this module are put together to SQL; every value is bound.
    """

    def __init__(self, request: v1.Search | v1.Browse) -> None:
        self._words = sorted(set(request.query.casefold().split()))
        self._conditions = ["1"]
        self._values: list[object] = []
        for word in self._words:
            self.narrow("instr(words, ?)", word)
        for each in request.filters:
            self.narrow(f"{_FILTER_COLUMNS[each.field]} IN ({', '.join('?' * len(each.values))})", *each.values)
        if request.HasField("max_price"):
            limit = amount_of(request.max_price, "max_price")
            self.narrow("currency = ? AND price <= ?", limit.currency, limit.minor)

    def narrow(self, condition: str, *values: object) -> None:
        """One more condition that all of them meet."""
        self._conditions.append(condition)
        self._values += values

    def count(self, work: Work) -> int:
        """How many there are."""
        query = f"SELECT count(*) FROM offers WHERE {' AND '.join(self._conditions)}"  # noqa: S608
        (count,) = work.db.execute(query, self._values).fetchone()
        return int(count)

    def read(self, work: Work, after: Position | None, size: int) -> list[_Match]:
        """So many of them, from the first or from the one after a position."""
        score = " + ".join(["0", *["(instr(title_words, ?) > 0)"] * len(self._words)])
        conditions, values = self._conditions, [*self._words, *self._values]
        if after is not None:
            conditions = [*conditions, "(score < ? OR (score = ? AND number > ?))"]
            values += [after[0], *after]
        query = f"""SELECT {score} AS score, number, offer_id, provider_id, title, description, category, currency,
                           price, stock
                    FROM offers WHERE {" AND ".join(conditions)} ORDER BY score DESC, number LIMIT ?"""  # noqa: S608
        return [_Match(row[:2], _offer(*row[2:])) for row in work.db.execute(query, (*values, size))]


def _latest_publication(work: Work) -> int:
    (latest,) = work.db.execute("SELECT coalesce(max(publication), 0) FROM offers").fetchone()
    return int(latest)


def _digest(request: v1.Search) -> bytes:
    """What a page token is bound to: the search without its pages."""
    bare = v1.Search(query=request.query, filters=request.filters)
    if request.HasField("max_price"):
        bare.max_price.CopyFrom(request.max_price)
    return sha256(bare.SerializeToString(deterministic=True)).digest()[:8]


def _position(token: bytes, digest: bytes) -> Position:
    found, score, number = _TOKEN.unpack(token) if len(token) == _TOKEN.size else (b"", 0, 0)
    if found != digest:
        raise Fail(Status.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID", "page_token: it belongs to another search")
    return score, min(number, (1 << 63) - 1)


def _offer(
    offer_id: str, provider_id: str, title: str, description: str, category: str, currency: str, price: int, stock: int
) -> v1.Offer:
    return v1.Offer(
        offer_id=offer_id,
        provider_id=provider_id,
        title=title,
        summary=description[:SUMMARY_CHARACTERS],
        category=category,
        price=Amount(currency, price).to_money(),
        stock=stock,
    )
