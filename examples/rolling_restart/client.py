"""Keeps asking while the servers are restarted, one after the other. No call fails.

    python -m rolling_restart.server 8765     # in one terminal
    python -m rolling_restart.server 8766     # in another one
    python -m rolling_restart.client          # in a third one

End the first server with Ctrl-C and start it again, then the second one, and so on. What happens:

- The server says that it goes away. It takes no new calls, and completes those that it has.
- The client connects to the other server. New calls go there, and so do those that were refused meanwhile. What is
  open completes where it was asked; then the old connection ends by itself.
- Both servers keep outcomes in one file. A payment that is asked for again is not made again, whichever is asked.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from typing import Concatenate, ParamSpec, TypeVar

from ratatoskr import MARKETPLACE_BROWSE, MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, CallRefused, v1
from ratatoskr.service import Exchange
from ratatoskr_files import Config
from ratatoskr_websockets import ConnectFailed, Peer, connect

BUYERS = 10

P = ParamSpec("P")
T = TypeVar("T")


class Platform:
    """Servers that do the same. Calls go to one of them, and to the next one when it goes away."""

    def __init__(self, urls: Sequence[str], config: Config, lines: asyncio.TaskGroup) -> None:
        self._urls = cycle(urls)
        self._config = config
        self._lines = lines
        self._moving = asyncio.Lock()
        self._server: Peer | None = None

    async def ask(self, call: Callable[Concatenate[Peer, P], Awaitable[T]], *args: P.args, **options: P.kwargs) -> T:
        """Make one call; again at the next server where this one goes away and surely has not processed it."""
        while True:
            server = await self._open()
            try:
                return await call(server, *args, **options)
            except CallRefused:
                if server.takes_requests:
                    raise

    async def close(self) -> None:
        """Let open calls complete, and end the connection."""
        if self._server is not None:
            await self._server.close()

    async def _open(self) -> Peer:
        """The server that takes calls."""
        async with self._moving:
            while self._server is None or not self._server.takes_requests:
                opened = asyncio.Event()
                self._lines.create_task(self._line(next(self._urls), opened))
                await opened.wait()
            return self._server

    async def _line(self, url: str, opened: asyncio.Event) -> None:
        """One connection. When its server goes away the block ends, which waits for what is open there."""
        try:
            async with connect(url, self._config) as server:
                print("connected to", url, flush=True)
                self._server = server
                opened.set()
                await server.wait_going_away()
        except ConnectFailed as failed:
            if not failed.fault.may_reconnect:
                raise
            await asyncio.sleep(0.1)
        finally:
            opened.set()


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


async def buyer(platform: Platform, name: str, purchases: int) -> None:
    for number in range(purchases):
        await platform.ask(search)
        await platform.ask(browse)
        await platform.ask(pay, f"{name}/{number}")


async def main(purchases: int) -> None:
    async with asyncio.TaskGroup() as lines:
        platform = Platform(["ws://localhost:8765", "ws://localhost:8766"], Config.load("dev/device.toml"), lines)
        async with asyncio.TaskGroup() as buyers:
            for number in range(BUYERS):
                buyers.create_task(buyer(platform, f"buyer-{number}", purchases))
        await platform.close()
    print(BUYERS * purchases, "payments, and no call failed")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
