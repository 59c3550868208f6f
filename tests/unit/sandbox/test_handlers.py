"""The router on a real line, with the store of outcomes in the sandbox's own file."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratatoskr import (
    MARKETPLACE_CANCEL,
    MARKETPLACE_ORDER,
    MARKETPLACE_PUBLISH,
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    PAYMENT_CAPTURE,
    PAYMENT_REFUND,
    PROVIDER_REGISTER,
    STANDARD_KINDS,
    CallError,
    Config,
    Identity,
    Role,
    v1,
)
from ratatoskr.testing import Authority
from ratatoskr_sandbox import handlers, ledger, payments
from ratatoskr_sandbox.database import Work, reading
from ratatoskr_sandbox.sandbox_pb2 import GetStatement, Statement
from ratatoskr_sandbox.statements import SANDBOX_STATEMENT
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import Peer, connect, serve
from tests.unit.sandbox.books import authorization, capture_of, eur, refund_of, registration

WALLET = "wallet:acme:till-1"


class City:
    """A sandbox on loopback that can be stopped and started again, and those who live with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.authority = Authority(os.urandom(8).hex(), now=time.time())
        self.device = self.authority.issue(Role.DEVICE, "till-1", tenant="acme")
        self.provider = self.authority.issue(Role.PROVIDER, "shop-7", tenant="acme")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Callable[[Identity], Any]]:
        """Serve; the block gets a function that connects."""
        base = self.authority.server_config("127.0.0.1", entropy=os.urandom)
        config = replace(base, trust=replace(base.trust, self_issued=True))
        with closing(SqliteStore(self.path)) as store:
            router = await handlers.sandbox_router(store, time.time)
            async with serve(router, config, "127.0.0.1", 0, store=store) as server:
                url = f"ws://127.0.0.1:{server.port}"

                def enter(identity: Identity) -> Any:
                    return connect(url, self._config(identity), proxy=None)

                yield enter

    def _config(self, identity: Identity) -> Config:
        kinds = STANDARD_KINDS | [SANDBOX_STATEMENT]
        return self.authority.client_config(identity, entropy=os.urandom, kinds=kinds)

    def problems(self) -> list[str]:
        with reading(self.path, 0) as work:
            return ledger.audit(work)


@pytest.fixture
def city(tmp_path: Path) -> City:
    return City(tmp_path / "sandbox.sqlite")


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


async def refused(call: Awaitable[object]) -> tuple[str, str]:
    with pytest.raises(CallError) as caught:
        await call
    return caught.value.failure.status.name, caught.value.failure.reason


async def available(peer: Peer, account: str = "") -> int:
    """Cents that lie on an account of the peer's own and are not held."""
    statement: Statement = await peer.request(SANDBOX_STATEMENT, GetStatement(account=account))
    return sum(
        (each.booked.units - each.held.units) * 100 + (each.booked.nanos - each.held.nanos) // 10**7
        for each in statement.balances
    )


def test_business_from_registration_to_refund(city: City) -> None:
    async def main() -> None:
        async with city.open() as enter, enter(city.provider) as shop, enter(city.device) as till:
            provider = (await shop.request(PROVIDER_REGISTER, registration())).provider_id
            offer = v1.PublishOffer(publication_id="p-1", offer_id="lamp", title="Lamp", price=eur(4990), stock=3)
            await shop.request(MARKETPLACE_PUBLISH, offer)
            (found,) = (await till.request(MARKETPLACE_SEARCH, v1.Search(query="lamp"))).offers
            line = v1.OrderLine(offer_id=found.offer_id, quantity=2, unit_price=found.price)
            request = v1.PlaceOrder(order_id="o-1", provider_id=provider, lines=[line])
            order = await till.request(MARKETPLACE_ORDER, request)
            pay = authorization(WALLET, 9980, creditor=order.creditor_account, order=order.order_number)
            payment = (await till.request(PAYMENT_AUTHORIZE, pay)).payment_id
            await till.request(PAYMENT_CAPTURE, capture_of(payment, 9980))
            assert (await available(till), await available(shop)) == (100_000 - 9980, 9980)
            await shop.request(PAYMENT_REFUND, refund_of(payment, 9980))
            assert (await available(till), await available(shop)) == (100_000, 0)
            await till.request(MARKETPLACE_CANCEL, v1.CancelOrder(order_id="o-1"))

    run(main())
    assert city.problems() == []


def test_a_payment_happens_once_across_restarts_of_both_ends(city: City) -> None:
    pay = authorization(WALLET, 9980, creditor="house")

    async def first() -> None:
        async with city.open() as enter, enter(city.device) as till:
            exchange = await till.exchange(PAYMENT_AUTHORIZE, pay)
            assert not exchange.replayed
            await till.request(PAYMENT_CAPTURE, capture_of(exchange.message.payment_id, 9980))

    async def second() -> None:
        async with city.open() as enter, enter(city.device) as till:
            authorized = await till.exchange(PAYMENT_AUTHORIZE, pay)
            captured = await till.exchange(PAYMENT_CAPTURE, capture_of(authorized.message.payment_id, 9980))
            assert authorized.replayed
            assert captured.replayed
            assert captured.message.booking_reference == "B-000002"
            assert await available(till) == 100_000 - 9980
            more = authorization(WALLET, 9981, creditor="house")
            assert await refused(till.request(PAYMENT_AUTHORIZE, more)) == ("ALREADY_EXISTS", "CONFLICT")
            assert await available(till) == 100_000 - 9980

    run(first())
    run(second())
    assert city.problems() == []


def test_fifty_duplicates_at_once_pay_once(city: City) -> None:
    pay = authorization(WALLET, 100, creditor="house")

    async def main() -> None:
        async with city.open() as enter, enter(city.device) as one, enter(city.device) as two:
            calls = [peer.exchange(PAYMENT_AUTHORIZE, pay) for peer in (one, two) for _ in range(25)]
            answers = await asyncio.gather(*calls)
            assert len({answer.message.payment_id for answer in answers}) == 1
            assert await available(one) == 99_900

    run(main())
    assert city.problems() == []


def test_many_payments_at_once_never_overdraw(city: City) -> None:
    async def pay(till: Peer, number: int) -> int:
        try:
            await till.request(PAYMENT_AUTHORIZE, authorization(WALLET, 30_000, id=f"e2e-{number}", creditor="house"))
        except CallError as error:
            if error.failure.reason != "INSUFFICIENT_FUNDS":
                raise
            return 0
        return 1

    async def main() -> None:
        async with city.open() as enter, enter(city.device) as till:
            assert sum(await asyncio.gather(*(pay(till, number) for number in range(20)))) == 3
            assert await available(till) == 10_000

    run(main())
    assert city.problems() == []


def test_what_breaks_on_the_way_leaves_neither_effect_nor_half_of_one(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = payments._move

    def breaks(work: Work, *arguments: Any) -> None:
        move(work, *arguments)
        raise RuntimeError("the power went")

    async def main() -> None:
        async with city.open() as enter, enter(city.device) as till:
            payment = (await till.request(PAYMENT_AUTHORIZE, authorization(WALLET, 100, creditor="house"))).payment_id
            monkeypatch.setattr(payments, "_move", breaks)
            status, _ = await refused(till.request(PAYMENT_CAPTURE, capture_of(payment, 100)))
            assert status == "INTERNAL"
            monkeypatch.undo()
            await till.request(PAYMENT_CAPTURE, capture_of(payment, 100, id="c-2"))
            assert await available(till) == 99_900

    run(main())
    assert city.problems() == []


def test_roles(city: City) -> None:
    async def main() -> None:
        publish = v1.PublishOffer(publication_id="p-1", offer_id="x", title="X", price=eur(1), stock=1)
        line = v1.OrderLine(offer_id="tea", quantity=1, unit_price=eur(490))
        order = v1.PlaceOrder(order_id="o-1", provider_id="PR-0001", lines=[line])
        async with city.open() as enter, enter(city.provider) as shop, enter(city.device) as till:
            denied = ("PERMISSION_DENIED", "ROLE_DENIED")
            assert await refused(till.request(MARKETPLACE_PUBLISH, publish)) == denied
            assert await refused(till.request(PROVIDER_REGISTER, registration())) == denied
            assert await refused(shop.request(MARKETPLACE_ORDER, order)) == denied
            assert await refused(shop.request(PAYMENT_AUTHORIZE, authorization(WALLET, 1))) == denied
            missing = ("FAILED_PRECONDITION", "PROVIDER_NOT_REGISTERED")
            assert await refused(shop.request(MARKETPLACE_PUBLISH, publish)) == missing
            await till.request(MARKETPLACE_ORDER, order)

    run(main())


def test_who_is_not_enrolled_may_only_register(city: City) -> None:
    now = time.time()
    stranger = Identity.self_issued(
        os.urandom, role=Role.PROVIDER, subject="shop-7", not_before=now - 60, not_after=now + 3600
    )

    async def main() -> None:
        async with city.open() as enter, enter(stranger) as peer:
            answer = await peer.request(PROVIDER_REGISTER, registration())
            assert answer.status == v1.PROVIDER_STATUS_UNDER_REVIEW
            denied = ("PERMISSION_DENIED", "NOT_ENROLLED")
            assert await refused(peer.request(MARKETPLACE_SEARCH, v1.Search())) == denied
            assert await refused(peer.request(SANDBOX_STATEMENT, GetStatement())) == denied

    run(main())
