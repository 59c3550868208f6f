"""The last step of the demo: a server is told to stop while a call is open."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Protocol

from ratatoskr import MARKETPLACE_BROWSE, MARKETPLACE_SEARCH, CallError, v1
from ratatoskr_cli.client import Target
from ratatoskr_cli.proof import CheckFailed, Customer, check, connected
from ratatoskr_cli.report import Report

PATIENCE_SECONDS = 5.0


class Stoppable(Protocol):
    """A server."""

    def stop(self) -> None:
        """Tell it to stop."""
        ...

    async def end(self) -> dict[str, Any]:
        """What it says of its end, once it has ended."""
        ...


async def farewell(target: Target, server: Stoppable, report: Report) -> int:
    """Stop the server behind the first item of a stream; how many receipts were verified.

    The rest of the stream must come, a new call must be refused, and both sides must part with a goodbye.
    """
    report.doing("another server is told to stop")
    found: list[v1.OfferFound] = []
    async with connected(target) as device:
        try:
            async with aclosing(device.items(MARKETPLACE_BROWSE, v1.Browse(), credit=1)) as items:
                async for item in items:
                    found.append(item)
                    report.progress(f"{item.found} of {item.total}")
                    if len(found) == 1:
                        await _stop(server, device)
        except CallError as error:
            raise CheckFailed(f"the server was told to stop, and an open call did not complete: {error}") from None
        total = found[0].total if found else 0
        check(1 < len(found) == total, f"the server was told to stop, and {len(found)} of {total} offers came")
    end = await server.end()
    check((end["completed"], end["stopped"]) == (1, 0), f"the open call did not complete, says the server: {end}")
    check(end["clean"] == end["clients"] == 1, f"the client did not leave cleanly, says the server: {end}")
    offers = f"{total} of {total} offers, {total} receipts"
    report.step("open call completed", offers, "a new call refused", "clean end")
    return device.receipts


async def _stop(server: Stoppable, device: Customer) -> None:
    """Tell the server to stop. It must say that it does, and take nothing new."""
    server.stop()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await device.peer.wait_going_away()
    except TimeoutError:
        raise CheckFailed("the server was told to stop, and does not say so to its client") from None
    check(device.peer.closed is None, "the server was told to stop, and cut off a client whose call was open")
    try:
        await device.peer.request(MARKETPLACE_SEARCH, v1.Search())
    except CallError as error:
        check(error.failure.reason == "GOING_AWAY", f"the server stops, and a new call ends otherwise: {error}")
    else:
        raise CheckFailed("the server was told to stop, and takes a new call")
