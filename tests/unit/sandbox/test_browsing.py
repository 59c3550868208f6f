"""Browses through the router: pages that become one stream, and what the sandbox says of its handlers meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from ratatoskr import MARKETPLACE_BROWSE, MARKETPLACE_SEARCH, CallFailed, CallRefused, Role, v1
from ratatoskr.testing import LocalClient, local_client
from ratatoskr_sandbox import SANDBOX_ACTIVITY, Activity, GetActivity, Party, activity, catalogue, sandbox_router
from ratatoskr_stores import SqliteStore
from tests.unit.sandbox.books import BUYER, SELLER, Books, eur

OFFERS = 7


def publish(books: Books, first: int, last: int) -> None:
    """Offers with these numbers, of a provider that is registered."""
    with books.begin() as work:
        for number in range(first, last):
            offer = v1.PublishOffer(offer_id=f"o-{number}", title="Zz", price=eur(100), stock=1)
            catalogue.publish(work, SELLER, offer)


@pytest.fixture
def shop(books: Books, monkeypatch: pytest.MonkeyPatch) -> Books:
    """Seven offers, which a browse reads three at a time."""
    monkeypatch.setattr(catalogue, "BROWSED_AT_ONCE", 3)
    books.register_seller()
    publish(books, 0, OFFERS)
    return books


def visit(books: Books, story: Callable[[LocalClient], Coroutine[None, None, None]]) -> None:
    """A device does something at the sandbox of these books."""
    with sandbox(books.path) as enter:
        asyncio.run(asyncio.wait_for(story(enter(BUYER)), 30))


@contextmanager
def sandbox(path: Path) -> Generator[Callable[..., LocalClient]]:
    """A router on a file; the block gets a function that connects somebody to it."""
    with ExitStack() as clients, closing(SqliteStore(path)) as store:
        router = asyncio.run(sandbox_router(store, time.time))

        def enter(who: Party, *, role: Role = Role.DEVICE, enrolled: bool = True) -> LocalClient:
            return clients.enter_context(
                local_client(router, role=role, subject=who.subject, tenant=who.tenant, enrolled=enrolled, store=store)
            )

        yield enter


async def browse(till: LocalClient, query: str = "zz") -> list[v1.OfferFound]:
    async with till.stream(MARKETPLACE_BROWSE, v1.Browse(query=query)) as found:
        return [item async for item in found]


async def doing(till: LocalClient) -> tuple[int, int, int]:
    """How many browses run, how far the latest came, and of how many."""
    answer: Activity = await till.request(SANDBOX_ACTIVITY, GetActivity())
    return answer.browses_running, answer.latest_sent, answer.latest_total


def test_pages_become_one_stream(shop: Books) -> None:
    async def story(till: LocalClient) -> None:
        found = await browse(till)
        assert [item.offer.offer_id for item in found] == [f"o-{number}" for number in range(OFFERS)]
        assert [(item.found, item.total) for item in found] == [(number + 1, OFFERS) for number in range(OFFERS)]
        assert await doing(till) == (0, OFFERS, OFFERS)

    visit(shop, story)


def test_a_browse_that_finds_nothing_ends(shop: Books) -> None:
    async def story(till: LocalClient) -> None:
        assert await browse(till, "nothing of the kind") == []
        assert await doing(till) == (0, 0, 0)

    visit(shop, story)


def test_what_cannot_be_browsed_is_refused(shop: Books) -> None:
    async def story(till: LocalClient) -> None:
        dear = v1.Browse(max_price=v1.Money(currency="EUR", nanos=1))
        with pytest.raises(CallFailed, match="AMOUNT_NOT_EXACT"):
            async with till.stream(MARKETPLACE_BROWSE, dear) as found:
                await anext(found)
        assert await doing(till) == (0, 0, 0)

    visit(shop, story)


def test_a_slow_reader_holds_up_nobody(shop: Books) -> None:
    async def story(till: LocalClient) -> None:
        async with till.stream(MARKETPLACE_BROWSE, v1.Browse(query="zz"), credit=1) as found:
            first = await anext(found)
            publish(shop, OFFERS, OFFERS + 1)  # another process writes
            assert len((await till.request(MARKETPLACE_SEARCH, v1.Search(query="zz"))).offers) == OFFERS + 1
            rest = [item async for item in found]
        assert [item.found for item in (first, *rest)] == list(range(1, OFFERS + 1))

    visit(shop, story)


@pytest.mark.parametrize(("credit", "taken"), [(2, 0), (3, 1), (5, 2)])
def test_whoever_leaves_early_stops_the_handler(shop: Books, credit: int, taken: int) -> None:
    async def story(till: LocalClient) -> None:
        async with till.stream(MARKETPLACE_BROWSE, v1.Browse(query="zz"), credit=credit) as found:
            for _ in range(taken):
                await anext(found)
            assert await doing(till) == (1, credit, OFFERS)
        assert await doing(till) == (0, credit, OFFERS)

    visit(shop, story)


def test_the_latest_browse_is_told_and_all_that_run_are_counted(shop: Books) -> None:
    async def story(till: LocalClient) -> None:
        assert await doing(till) == (0, 0, 0)
        async with till.stream(MARKETPLACE_BROWSE, v1.Browse(query="zz"), credit=2) as first:
            await anext(first)
            async with till.stream(MARKETPLACE_BROWSE, v1.Browse(query="zz", limit=5), credit=3) as second:
                await anext(second)
                assert await doing(till) == (2, 3, 5)
            assert await doing(till) == (1, 3, 5)
            assert [item.found async for item in first] == list(range(2, OFFERS + 1))
            assert await doing(till) == (0, 3, 5)

    visit(shop, story)


def test_nobody_sees_what_another_does(shop: Books) -> None:
    async def main(till: LocalClient, seller: LocalClient) -> None:
        assert await browse(till)
        assert await doing(seller) == (0, 0, 0)
        assert await doing(till) == (0, OFFERS, OFFERS)

    with sandbox(shop.path) as enter:
        asyncio.run(asyncio.wait_for(main(enter(BUYER), enter(SELLER, role=Role.PROVIDER)), 30))


def test_who_is_not_enrolled_browses_nothing(shop: Books) -> None:
    async def main(stranger: LocalClient) -> None:
        for asking in (browse(stranger), doing(stranger)):
            with pytest.raises(CallRefused, match="NOT_ENROLLED"):
                await asking

    with sandbox(shop.path) as enter:
        asyncio.run(asyncio.wait_for(main(enter(Party("", "shop-7"), enrolled=False)), 30))


def test_no_more_callers_are_remembered_than_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "REMEMBERED", 2)
    browses = activity.Browses()

    def browse(party: Party) -> None:
        with browses.begin(party) as progress:
            progress.sent = progress.total = 1

    with browses.begin(BUYER):
        for name in "abac":
            browse(Party("acme", name))
        assert browses.activity(BUYER).browses_running == 1
    browse(SELLER)
    known = [name for name in "abc" if browses.activity(Party("acme", name)).latest_sent]
    assert known == ["c"]
    assert browses.activity(SELLER) == Activity(latest_sent=1, latest_total=1)
    assert browses.activity(BUYER) == Activity()
