"""What a server says of its end, and what it counts for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratatoskr import MARKETPLACE_BROWSE, MARKETPLACE_SEARCH, CallError, Fail, Status, v1
from ratatoskr.service import Call, Router
from ratatoskr.testing import local_client
from ratatoskr_cli.draining import Drained, Draining, Traffic


@pytest.mark.parametrize(
    ("calls", "clients", "said"),
    [
        (0, 0, "nobody is connected"),
        (0, 1, "saying goodbye to 1 client"),
        (1, 2, "waiting up to 30 s for 1 open call of 2 clients; a second signal waits for nobody"),
        (3, 1, "waiting up to 30 s for 3 open calls of 1 client; a second signal waits for nobody"),
    ],
)
def test_what_is_said_when_the_signal_comes(calls: int, clients: int, said: str) -> None:
    assert Draining("SIGTERM", calls, clients).plan(30.0) == said


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 0, 0, 0, 0), "0 calls completed, nobody was connected"),
        ((1, 0, 1, 1, 0), "1 call completed, 1 client left cleanly"),
        ((2, 0, 3, 3, 0), "2 calls completed, all 3 clients left cleanly"),
        ((2, 0, 3, 2, 0), "2 calls completed, 2 of 3 clients left cleanly"),
        ((0, 1, 1, 0, 0), "0 calls completed, 1 stopped before the end, 0 of 1 client left cleanly"),
        ((5, 2, 4, 2, 1), "5 calls completed, 2 stopped before the end, 2 of 4 clients left cleanly, 1 cut off"),
    ],
)
def test_what_is_said_at_the_end(numbers: tuple[int, int, int, int, int], said: str) -> None:
    completed, stopped, clients, clean, cut = numbers
    assert str(Drained("SIGTERM", 0.1, completed, stopped, clients, clean, cut)) == said


def test_every_call_is_counted_once() -> None:
    traffic = Traffic()
    router = Router()
    router.middleware(traffic.count)
    seen: list[int] = []

    @router.on(MARKETPLACE_SEARCH)
    async def search(message: v1.Search, _: Call) -> v1.SearchResult:
        seen.append(traffic.open)
        if message.query == "fail":
            raise Fail(Status.NOT_FOUND, "NOTHING", "nothing")
        return v1.SearchResult()

    @router.on(MARKETPLACE_BROWSE)
    async def browse(_: v1.Browse, __: Call) -> Any:
        price = v1.Money(currency="EUR", units=1)
        for number in (1, 2, 3):
            yield v1.OfferFound(
                offer=v1.Offer(offer_id="o", provider_id="p", title="t", price=price), found=number, total=3
            )

    def counts() -> tuple[int, int, int]:
        return traffic.open, traffic.completed, traffic.stopped

    async def main() -> None:
        with local_client(router) as client:
            await client.request(MARKETPLACE_SEARCH, v1.Search())
            assert (seen, counts()) == ([1], (0, 1, 0))
            with pytest.raises(CallError, match="NOTHING"):
                await client.request(MARKETPLACE_SEARCH, v1.Search(query="fail"))
            assert counts() == (0, 2, 0)
            async with client.stream(MARKETPLACE_BROWSE, v1.Browse(), credit=1) as found:
                await anext(found)
                assert counts() == (1, 2, 0)
                assert [item.found async for item in found] == [2, 3]
            assert counts() == (0, 3, 0)
            async with client.stream(MARKETPLACE_BROWSE, v1.Browse(), credit=1) as found:
                await anext(found)
            await client.request(MARKETPLACE_SEARCH, v1.Search())
            assert counts() == (0, 4, 1)

    asyncio.run(main())
