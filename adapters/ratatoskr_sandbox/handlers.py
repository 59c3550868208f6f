"""The sandbox's router: who may ask what, and in which transaction it happens.

Whatever changes money, stock or the registry runs in ``call.begin()``: its effect and its stored outcome commit
together, in one file, or not at all. So the next server executes again what a killed one was executing. A browse reads
page by page, each in a transaction of its own: a reader that takes its time holds up nobody.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from sqlite3 import Connection
from typing import Final, TypeVar

from ratatoskr import (
    MARKETPLACE_BROWSE,
    MARKETPLACE_CANCEL,
    MARKETPLACE_ORDER,
    MARKETPLACE_PUBLISH,
    MARKETPLACE_SEARCH,
    PAYMENT_AUTHORIZE,
    PAYMENT_CAPTURE,
    PAYMENT_REFUND,
    PROVIDER_REGISTER,
    Role,
    v1,
)
from ratatoskr.service import ATOMIC, Call, Router
from ratatoskr_sandbox import catalogue, orders, payments, platform, providers, statements
from ratatoskr_sandbox.activity import SANDBOX_ACTIVITY, Browses
from ratatoskr_sandbox.database import Party, Work
from ratatoskr_sandbox.sandbox_pb2 import Activity, GetActivity, GetStatement, Statement
from ratatoskr_sandbox.statements import SANDBOX_STATEMENT
from ratatoskr_stores import SqliteStore

_DEVICE: Final = {Role.DEVICE}
_PROVIDER: Final = {Role.PROVIDER}
_CUSTOMER: Final = _DEVICE | _PROVIDER

T = TypeVar("T")


async def sandbox_router(store: SqliteStore, clock: Callable[[], float]) -> Router:
    """The platform on a store's database, created there if it is new.

    ``clock`` returns seconds since the epoch. Serve the router with the same store, and with its kinds:
    ``Config(kinds=STANDARD_KINDS | router.kinds)``.
    """

    def now_ms() -> int:
        return int(clock() * 1000)

    await store.run(lambda db: platform.create(Work(db, now_ms())))
    router = Router()
    _serve_marketplace(router, store, now_ms)
    _serve_browses(router, store, now_ms)
    _serve_payments(router, store, now_ms)
    return router


def _serve_marketplace(router: Router, store: SqliteStore, now_ms: Callable[[], int]) -> None:
    @router.on(MARKETPLACE_SEARCH, roles=_CUSTOMER)
    async def search(message: v1.Search, _: Call) -> v1.SearchResult:
        return await store.run(lambda db: catalogue.search(Work(db, now_ms()), message))

    @router.on(PROVIDER_REGISTER, roles=_PROVIDER, recover=ATOMIC)
    async def register(message: v1.RegisterProvider, call: Call) -> v1.ProviderRegistered:
        return await _once(
            call, now_ms, lambda work, party: providers.register(work, party, message, enrolled=call.peer.enrolled)
        )

    @router.on(MARKETPLACE_PUBLISH, roles=_PROVIDER, recover=ATOMIC)
    async def publish(message: v1.PublishOffer, call: Call) -> v1.OfferPublished:
        return await _once(call, now_ms, lambda work, party: catalogue.publish(work, party, message))

    @router.on(MARKETPLACE_ORDER, roles=_DEVICE, recover=ATOMIC)
    async def order(message: v1.PlaceOrder, call: Call) -> v1.OrderPlaced:
        return await _once(call, now_ms, lambda work, party: orders.place(work, party, message))

    @router.on(MARKETPLACE_CANCEL, roles=_DEVICE, recover=ATOMIC)
    async def cancel(message: v1.CancelOrder, call: Call) -> v1.OrderCancelled:
        return await _once(call, now_ms, lambda work, party: orders.cancel(work, party, message))


def _serve_browses(router: Router, store: SqliteStore, now_ms: Callable[[], int]) -> None:
    browses = Browses()

    @router.on(MARKETPLACE_BROWSE, roles=_CUSTOMER)
    async def browse(message: v1.Browse, call: Call) -> AsyncGenerator[v1.OfferFound, None]:
        def read(place: catalogue.Place | None, db: Connection) -> tuple[list[v1.OfferFound], catalogue.Place | None]:
            return catalogue.browse(Work(db, now_ms()), message, place)

        with browses.begin(_party(call)) as progress:
            place: catalogue.Place | None = None
            while True:
                items, place = await store.run(partial(read, place))
                for item in items:
                    progress.total = item.total
                    yield item
                    progress.sent = item.found
                if place is None:
                    return

    @router.on(SANDBOX_ACTIVITY, roles=_CUSTOMER)
    async def activity(_: GetActivity, call: Call) -> Activity:
        return browses.activity(_party(call))


def _serve_payments(router: Router, store: SqliteStore, now_ms: Callable[[], int]) -> None:
    @router.on(PAYMENT_AUTHORIZE, roles=_DEVICE, recover=ATOMIC)
    async def authorize(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
        def effect(work: Work, party: Party) -> v1.PaymentAuthorized:
            platform.open_wallet(work, party)
            return orders.pay(work, party, message)

        return await _once(call, now_ms, effect)

    @router.on(PAYMENT_CAPTURE, roles=_CUSTOMER, recover=ATOMIC)
    async def capture(message: v1.CapturePayment, call: Call) -> v1.PaymentCaptured:
        return await _once(call, now_ms, lambda work, party: payments.capture(work, party, message))

    @router.on(PAYMENT_REFUND, roles=_CUSTOMER, recover=ATOMIC)
    async def refund(message: v1.RefundPayment, call: Call) -> v1.PaymentRefunded:
        return await _once(call, now_ms, lambda work, party: payments.refund(work, party, message))

    @router.on(SANDBOX_STATEMENT, roles=_CUSTOMER)
    async def statement(message: GetStatement, call: Call) -> Statement:
        def effect(work: Work, party: Party) -> Statement:
            if call.peer.role is Role.DEVICE:
                platform.open_wallet(work, party)
            return statements.draw_up(work, party, message)

        return await store.run(lambda db: effect(Work(db, now_ms()), _party(call)))


def _party(call: Call) -> Party:
    return Party(call.peer.tenant, call.peer.subject)


async def _once(call: Call, now_ms: Callable[[], int], effect: Callable[[Work, Party], T]) -> T:
    """Run an effect for the caller in the transaction that its outcome will be stored in."""
    transaction = await call.begin()
    return await transaction.run(lambda db: effect(Work(db, now_ms()), _party(call)))
