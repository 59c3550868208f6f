"""Keeps asking while the servers are restarted, one after the other. No call fails.

    python -m rolling_restart.server 8765     # in one terminal
    python -m rolling_restart.server 8766     # in another one
    python -m rolling_restart.client          # in a third one

End the first server with Ctrl-C and start it again, then the second one, and so on. What happens:

- The server says that it goes away. It takes no new calls, and completes those that it has.
- The client connects to the other server, and new calls go there. What is open completes where it was asked; then the
  old connection ends by itself.
- Both servers keep outcomes in one file. A payment that is asked for again is not made again, whichever is asked.
"""

import asyncio
import logging
import sys

from ratatoskr import MARKETPLACE_BROWSE, MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, v1
from ratatoskr.service import Exchange, Redial
from ratatoskr_files import Config
from ratatoskr_websockets import Peer, connect

BUYERS = 10


async def search(server: Peer) -> v1.SearchResult:
    return await server.request(MARKETPLACE_SEARCH, v1.Search(query="lamp"))


async def browse(server: Peer) -> list[v1.OfferFound]:
    async with server.stream(MARKETPLACE_BROWSE, v1.Browse(query="lamp")) as found:
        return [each async for each in found]


async def pay(server: Peer, key: str) -> Exchange[v1.PaymentAuthorized]:
    payment = v1.AuthorizePayment(
        end_to_end_id=key,
        debtor_account="buyer-1",
        creditor_account="shop-7",
        amount=v1.Money(currency="EUR", units=1),
    )
    return await server.exchange(PAYMENT_AUTHORIZE, payment)


async def buyer(server: Peer, name: str, purchases: int) -> None:
    for number in range(purchases):
        await search(server)
        await browse(server)
        await pay(server, f"{name}/{number}")


async def main(purchases: int) -> None:
    logging.basicConfig(level=logging.INFO)
    urls = ["ws://localhost:8765", "ws://localhost:8766"]
    config = Config.load("dev/device.toml")
    async with connect(urls, config, redial=Redial()) as server, asyncio.TaskGroup() as buyers:
        print("connected to", server.address, flush=True)
        for number in range(BUYERS):
            buyers.create_task(buyer(server, f"buyer-{number}", purchases))
    print(BUYERS * purchases, "payments, and no call failed")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
