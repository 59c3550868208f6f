"""The catalogue: publishing offers, searching them, reserving stock."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Final

from ratatoskr import Fail, Status, v1
from ratatoskr_sandbox import providers
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.money import Amount, amount_of
from ratatoskr_sandbox.refusals import refused_field

PAGE_SIZE: Final = 20
"""Offers on a page where the search does not say."""
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
                               title_words, words)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT (provider_id, offer_id) DO UPDATE SET
               title = excluded.title, description = excluded.description, category = excluded.category,
               currency = excluded.currency, price = excluded.price, stock = excluded.stock,
               title_words = excluded.title_words, words = excluded.words""",
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
        ),
    )
    return v1.OfferPublished(
        offer_id=request.offer_id, provider_id=provider_id, replaced=bool(replaced), published_at_ms=work.now_ms
    )


def search(work: Work, request: v1.Search) -> v1.SearchResult:
    """Offers that contain every word of the query and pass every filter; those with more words in the title first."""
    words = sorted(set(request.query.casefold().split()))
    conditions = ["1"] + ["instr(words, ?)"] * len(words)
    parameters: list[object] = [*words, *words]  # first for the score, then for the conditions
    for each in request.filters:
        conditions.append(f"{_FILTER_COLUMNS[each.field]} IN ({', '.join('?' * len(each.values))})")
        parameters += each.values
    if request.HasField("max_price"):
        limit = amount_of(request.max_price, "max_price")
        conditions.append("currency = ? AND price <= ?")
        parameters += [limit.currency, limit.minor]
    digest = _digest(request)
    if request.page_token:
        score, number = _position(request.page_token, digest)
        conditions.append("(score < ? OR (score = ? AND number > ?))")
        parameters += [score, score, number]
    score_of = " + ".join(["0", *["(instr(title_words, ?) > 0)"] * len(words)])
    size = request.page_size or PAGE_SIZE
    # Only placeholders and names from this module are put together; every value is bound.
    query = f"""SELECT {score_of} AS score, number, offer_id, provider_id, title, description, category, currency,
                       price, stock
                FROM offers WHERE {" AND ".join(conditions)} ORDER BY score DESC, number LIMIT ?"""  # noqa: S608
    rows = work.db.execute(query, (*parameters, size + 1)).fetchall()
    page = rows[:size]
    return v1.SearchResult(
        offers=[_offer(*row[2:]) for row in page],
        next_page_token=_TOKEN.pack(digest, *page[-1][:2]) if len(rows) > size else b"",
    )


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


def _digest(request: v1.Search) -> bytes:
    """What a page token is bound to: the search without its pages."""
    bare = v1.Search(query=request.query, filters=request.filters)
    if request.HasField("max_price"):
        bare.max_price.CopyFrom(request.max_price)
    return sha256(bare.SerializeToString(deterministic=True)).digest()[:8]


def _position(token: bytes, digest: bytes) -> tuple[int, int]:
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
