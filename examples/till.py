"""Pays for orders whenever there is a server, until it is stopped: python till.py order-17 order-18"""

import asyncio
import sys

from ratatoskr import PAYMENT_AUTHORIZE, CallError, v1
from ratatoskr.service import Redial
from ratatoskr_files import Config
from ratatoskr_stores import SqliteOutbox
from ratatoskr_websockets import connect


async def main(orders: list[str]) -> None:
    with SqliteOutbox("outbox.db") as outbox:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send(outbox))
            tasks.create_task(tell(outbox))
            for order in orders:
                payment = v1.AuthorizePayment(
                    end_to_end_id=order,
                    debtor_account="buyer-1",
                    creditor_account="shop-7",
                    amount=v1.Money(currency="EUR", units=129),
                )
                await outbox.post(PAYMENT_AUTHORIZE, payment)
                print(order, "is on disk", flush=True)


async def send(outbox: SqliteOutbox) -> None:
    """Send what is posted, whenever there is a server."""
    config = Config.load("dev/device.toml")
    async with connect("ws://localhost:8765", config, redial=Redial(), outbox=outbox) as server:
        print("connected to", server.peer.subject, flush=True)
        closed = await server.wait_closed()
        raise ConnectionError(f"turned away: {closed.detail}")


async def tell(outbox: SqliteOutbox) -> None:
    """Tell what becomes of payments, also while there is no server."""
    async for settled in outbox.outcomes():
        order = settled.post.key.decode()
        try:
            print(order, "is", settled.answer(PAYMENT_AUTHORIZE).payment_id, flush=True)
        except CallError as error:
            print(order, "failed:", error, flush=True)
        await settled.done()


asyncio.run(main(sys.argv[1:]))
