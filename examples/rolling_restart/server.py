"""One of several servers that do the same and keep outcomes in one file. A signal drains it, and it exits with 0.

python -m rolling_restart.server PORT
"""

import asyncio
import logging
import random
import sys
from collections.abc import AsyncGenerator

from ratatoskr import MARKETPLACE_BROWSE, MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, v1
from ratatoskr.service import ATOMIC, Call, Router
from ratatoskr_files import Config
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import serve

LAMPS = 20

router = Router()


async def work(seconds: float) -> None:
    """What a handler has to do. It takes up to so long."""
    await asyncio.sleep(random.uniform(0, seconds))


def lamp(number: int, title: str) -> v1.Offer:
    price = v1.Money(currency="EUR", units=number)
    return v1.Offer(offer_id=f"lamp-{number}", provider_id="house", title=title, price=price, stock=1)


@router.on(MARKETPLACE_SEARCH)
async def search(message: v1.Search, _: Call) -> v1.SearchResult:
    await work(0.2)
    return v1.SearchResult(offers=[lamp(1, message.query), lamp(2, message.query)])


@router.on(MARKETPLACE_BROWSE)
async def browse(message: v1.Browse, _: Call) -> AsyncGenerator[v1.OfferFound, None]:
    for number in range(1, LAMPS + 1):
        await work(0.02)
        yield v1.OfferFound(offer=lamp(number, message.query), found=number, total=LAMPS)


@router.on(PAYMENT_AUTHORIZE, recover=ATOMIC)
async def authorize(message: v1.AuthorizePayment, call: Call) -> v1.PaymentAuthorized:
    await work(0.2)
    transaction = await call.begin()  # the payment and its outcome: both or neither
    number = await transaction.run(
        lambda db: db.execute("INSERT INTO payments VALUES (?)", (message.end_to_end_id,)).lastrowid
    )
    return v1.PaymentAuthorized(
        payment_id=f"payment-{number}",
        end_to_end_id=message.end_to_end_id,
        status=v1.PAYMENT_STATUS_AUTHORIZED,
        amount=message.amount,
        authorized_until_ms=int(call.issued_at + 3600) * 1000,
    )


async def main(port: int) -> None:
    logging.basicConfig(level=logging.INFO)
    with SqliteStore("outcomes.sqlite") as store:
        await store.run(lambda db: db.execute("CREATE TABLE IF NOT EXISTS payments (end_to_end_id TEXT NOT NULL)"))
        async with serve(router, Config.load("dev/server.toml"), port=port, store=store) as server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
