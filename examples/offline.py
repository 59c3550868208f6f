"""Pays for orders, with or without a server: python offline.py order-17 order-18"""

import asyncio
import sys
import time

from ratatoskr import PAYMENT_AUTHORIZE, CallError, v1
from ratatoskr_files import Config
from ratatoskr_stores import SqliteOutbox
from ratatoskr_websockets import ConnectFailed, connect


async def main(orders: list[str]) -> None:
    config = Config.load("dev/device.toml")
    with SqliteOutbox("outbox.db") as outbox:
        for order in orders:
            await outbox.post(PAYMENT_AUTHORIZE, payment(order), expires_at=time.time() + 24 * 3600)
            print(order, "is on disk")
        try:
            async with connect("ws://localhost:8765", config, outbox=outbox):
                await tell(outbox)
        except ConnectFailed:
            print("there is no server: run this again later")


async def tell(outbox: SqliteOutbox) -> None:
    """Tell what became of every payment, also of those that an earlier run made."""
    async for settled in outbox.outcomes():
        order = settled.post.key.decode()
        try:
            answer = settled.answer(PAYMENT_AUTHORIZE)
        except CallError as error:
            print(order, "failed:", error)
        else:
            print(order, "is", answer.payment_id, "with a receipt" if settled.receipt else "")
        await settled.done()  # from here on the outbox knows nothing of it
        if not await outbox.pending():
            break


def payment(order: str) -> v1.AuthorizePayment:
    return v1.AuthorizePayment(
        end_to_end_id=order,
        debtor_account="buyer-1",
        creditor_account="shop-7",
        amount=v1.Money(currency="EUR", units=129),
    )


asyncio.run(main(sys.argv[1:] or ["order-17"]))
