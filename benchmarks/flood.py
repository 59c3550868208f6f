"""What a payment waits for: beside nothing, beside a flood of searches, beside a large stream. Over one WebSocket.

    python benchmarks/flood.py [--seconds 2.0] [--rounds 5] [--json]

One connection between two processes. A payment and a search are made every so often, and their latency is measured:

- beside *nothing*;
- beside a *flood*: searches are made as fast as the queue of requests takes them, so that it is full or half full all
  the time; the latency of searches is that of the flood's own, from the call to the answer;
- beside a flood in *one lane*: the same, with the priority of payments switched off at both ends;
- beside a *stream* of items as long as an envelope may be, read as fast as they come;
- beside the same stream with credit for *2 items*, instead of 16.

*ratio* compares the median of payments with that beside nothing, measured in the same round; its spread is that of the
middle half of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from google.protobuf.wrappers_pb2 import BytesValue, UInt32Value

from apart import Child, compared, identities, percentile, process, serve_calls
from core import authorize, authorized, found, search
from ratatoskr import MARKETPLACE_SEARCH, PAYMENT_AUTHORIZE, STANDARD_KINDS, Kind, Limits, v1
from ratatoskr.service import Call, Router, asking, handling
from ratatoskr.session import incoming, outgoing
from ratatoskr_files import Config
from ratatoskr_websockets import Peer, connect

BULK = Kind(1000, 1, "BULK", UInt32Value, BytesValue, sealed=False, stream=True)
"""Items of so many bytes, for as long as somebody reads."""
LIMITS = Limits()
ITEM_BYTES = LIMITS.envelope_bytes - 256
FLOODERS = LIMITS.requests_open + LIMITS.requests_queued * 3 // 2
"""A queue that was full takes requests again when it is half empty: so many callers always fill it."""
_numbers = count(1)


# The server


def serve(pipe: Pipe, home: Path, one_lane: bool) -> None:
    """Answer at once."""
    router = Router()

    @router.on(PAYMENT_AUTHORIZE)
    async def pay(_message: v1.AuthorizePayment, _call: Call) -> v1.PaymentAuthorized:
        return authorized()

    @router.on(MARKETPLACE_SEARCH)
    async def look(_message: v1.Search, _call: Call) -> v1.SearchResult:
        return found()

    @router.on(BULK)
    async def bulk(message: UInt32Value, _call: Call) -> AsyncGenerator[BytesValue, None]:
        item = BytesValue(value=bytes(message.value))
        while True:
            yield item

    with lanes(one_lane):
        asyncio.run(serve_calls(pipe, router, home))


@contextmanager
def lanes(one: bool) -> Iterator[None]:
    """With ``one``, payments wait in line with everything else."""
    with ExitStack() as stack:
        if one:
            for module in (incoming, outgoing, asking, handling):
                stack.enter_context(patch.object(module, "URGENT", None))
        yield


# The client


@dataclass
class Samples:
    """Latencies in seconds, and what else was done meanwhile."""

    payments: list[float] = field(default_factory=list)
    searches: list[float] = field(default_factory=list)
    flood: list[float] = field(default_factory=list)
    items: int = 0


Load: TypeAlias = Callable[[Peer, Samples], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def nothing(_peer: Peer, _samples: Samples) -> AsyncIterator[None]:
    """No load."""
    yield


@asynccontextmanager
async def flood(peer: Peer, samples: Samples, flooders: int) -> AsyncIterator[None]:
    """Searches, as many as the queue takes. In the block as many are answered as there are flooders."""
    going, over = asyncio.Event(), False

    async def flooder() -> None:
        while not over:
            began = time.perf_counter()
            await peer.request(MARKETPLACE_SEARCH, search(next(_numbers)))
            samples.flood.append(time.perf_counter() - began)
            if len(samples.flood) >= flooders:
                going.set()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(flooders):
            tasks.create_task(flooder())
        await going.wait()
        samples.flood.clear()
        yield
        over = True


@asynccontextmanager
async def stream(peer: Peer, samples: Samples, credit: int | None = None) -> AsyncIterator[None]:
    """A stream of long items. In the block the first has come."""
    going, over = asyncio.Event(), False

    async def reader() -> None:
        async with peer.stream(BULK, UInt32Value(value=ITEM_BYTES), credit=credit) as items:
            async for _ in items:
                samples.items += 1
                going.set()
                if over:
                    return

    async with asyncio.TaskGroup() as readers:
        readers.create_task(reader())
        await going.wait()
        samples.items = 0
        yield
        over = True


def loads(flooders: int) -> dict[str, tuple[Load, bool]]:
    """What payments are measured beside, and whether they have one lane with it."""
    many = partial(flood, flooders=flooders)
    return {
        "nothing": (nothing, False),
        "flood": (many, False),
        "one lane": (many, True),
        "stream": (stream, False),
        "2 items": (partial(stream, credit=2), False),
    }


async def measure(server: Child, config: Config, load: Load, options: argparse.Namespace) -> Samples:
    """One measurement, over a connection of its own."""
    samples = Samples()

    async def probe(call: Callable[[], Any], latencies: list[float]) -> None:
        while (began := time.perf_counter()) < until:
            await call()
            latencies.append(time.perf_counter() - began)
            await asyncio.sleep(options.pause)

    url = f"ws://127.0.0.1:{server.port}"
    async with connect(url, config, server_name="localhost", proxy=None) as peer, load(peer, samples):
        until = time.perf_counter() + options.seconds
        await asyncio.gather(
            probe(lambda: peer.request(PAYMENT_AUTHORIZE, authorize(next(_numbers))), samples.payments),
            probe(lambda: peer.request(MARKETPLACE_SEARCH, search(next(_numbers))), samples.searches),
        )
    return samples


def row_of(beside: str, rounds: list[Samples], quiet: list[Samples], seconds: float) -> dict[str, Any]:
    """What is printed of one load."""
    searches = [each.flood or each.searches for each in rounds]
    medians = [percentile(each.payments, 50) for each in rounds]
    return {
        "beside": beside,
        "payment_p50_ms": _ms(medians),
        "payment_p99_ms": _ms([percentile(each.payments, 99) for each in rounds]),
        "payments": sum(len(each.payments) for each in rounds),
        **compared("ratio", medians, [percentile(each.payments, 50) for each in quiet]),
        "search_p50_ms": _ms([percentile(each, 50) for each in searches]),
        "search_p99_ms": _ms([percentile(each, 99) for each in searches]),
        "searches_per_second": round(statistics.median(len(each) / seconds for each in searches)),
        "stream_mb_per_second": round(statistics.median(each.items * ITEM_BYTES / seconds / 1e6 for each in rounds)),
    }


def _ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1e3, 2)


def show(row: dict[str, Any]) -> None:
    """One line for people."""
    spread = f"{row['ratio_low']} to {row['ratio_high']}"
    print(
        f"{row['beside']:10}{row['payment_p50_ms']:>9}{row['payment_p99_ms']:>9}{row['ratio']:>8}   {spread:16}"
        f"{row['search_p50_ms']:>9}{row['search_p99_ms']:>9}{row['searches_per_second']:>10}"
        f"{row['stream_mb_per_second']:>8}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default 2.0)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, in turns (default 5)")
    parser.add_argument("--pause", type=float, default=0.01, help="seconds between two payments (default 0.01)")
    parser.add_argument("--flooders", type=int, default=FLOODERS, help=f"callers that flood (default {FLOODERS})")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    options = parser.parse_args()
    besides = loads(options.flooders)
    measured: dict[str, list[Samples]] = {beside: [] for beside in besides}
    with identities() as home, process(serve, home, False) as two, process(serve, home, True) as one:
        config = Config.load(home / "device.toml", kinds=STANDARD_KINDS | [BULK])
        for _ in range(options.rounds):
            for beside, (load, one_lane) in besides.items():
                with lanes(one_lane):
                    samples = asyncio.run(measure(one if one_lane else two, config, load, options))
                measured[beside].append(samples)
    if not options.json:
        print(f"latencies in ms, medians of {options.rounds} rounds; {ITEM_BYTES} bytes an item")
        print(f"{'':10}{'payments':^18}{'':27}{'searches':^18}{'':>10}{'stream':>8}")
        latencies = f"{'p50':>9}{'p99':>9}"
        print(f"{'beside':10}{latencies}{'ratio':>8}   {'spread':16}{latencies}{'a second':>10}{'MB/s':>8}")
    for beside, rounds in measured.items():
        row = row_of(beside, rounds, measured["nothing"], options.seconds)
        print(json.dumps(row), flush=True) if options.json else show(row)


if __name__ == "__main__":
    main()
