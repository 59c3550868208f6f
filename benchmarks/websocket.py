"""Calls over a WebSocket between two processes, beside a plain WebSocket that carries the same payloads.

    python benchmarks/websocket.py [--seconds 1.0] [--rounds 5] [--in-flight 1 16] [--shares 16 all] [--json]

*plain* is the library `websockets` alone: as many callers, each of which sends a payload of the request's length and
waits for one of the answer's, in order. *ratio* says how many times longer a call of ours takes, all in all: plain's
calls per second divided by ours. *cpu* is what a call takes of both processes' time, together; unlike everything else
it says little about who else is using the machine.

The *share* is what goes into one flight: about half of the calls that are in flight, but at least so many. 16 is how it
is; `all` puts everything into one flight that there is. *to 16* compares calls per second with those of 16, measured in
the same round. The spread of a ratio is that of the middle half of the rounds.

Payments are sealed and run at most once, with outcomes in memory; searches are deferred.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket

from apart import Child, compared, identities, percentile, process, serve_calls
from core import CASES
from ratatoskr.service import Router
from ratatoskr.session import sending
from ratatoskr_files import Config
from ratatoskr_websockets import Peer, connect

SHARES = {"4": 4, "8": 8, "16": 16, "32": 32, "64": 64, "all": 1 << 30}
AS_IT_IS = "16"
assert SHARES[AS_IT_IS] == sending.LEAST_SHARE

_numbers = count(1)
Call = Callable[[], Awaitable[Any]]


# The servers, each in a process of its own


def serve_shared(pipe: Pipe, home: Path, share: int) -> None:
    """Answer calls, with that share of a flight."""
    router = Router()
    for kind, _, answer in CASES.values():
        router.on(kind)(_handler(answer))
    with patch.object(sending, "LEAST_SHARE", share):
        asyncio.run(serve_calls(pipe, router, home))


def _handler(answer: Callable[[], Any]) -> Callable[[Any, Any], Any]:
    async def handle(_message: Any, _call: Any) -> Any:
        return answer()

    return handle


def serve_plain(pipe: Pipe) -> None:
    """Answer each message with as many bytes as its path says."""

    async def echo(websocket: ServerConnection) -> None:
        assert websocket.request is not None
        answer = bytes(int(websocket.request.path[1:]))
        async for _ in websocket:
            await websocket.send(answer)

    async def main() -> None:
        async with serve_websocket(echo, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
            (socket,) = server.sockets
            pipe.send(socket.getsockname()[1])
            await server.serve_forever()

    asyncio.run(main())


# The client


class Plain:
    """A plain WebSocket with many callers, who are answered in order."""

    def __init__(self, websocket: ClientConnection, payload: bytes) -> None:
        self._websocket = websocket
        self._payload = payload
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reading = asyncio.create_task(self._read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._websocket.close()
        await self._reading

    async def call(self) -> None:
        """Send a payload, and wait for the answer."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        await self._websocket.send(self._payload)
        await answer

    async def _read(self) -> None:
        async for _ in self._websocket:
            self._waiting.popleft().set_result(None)


@dataclass
class Measured:
    """What one way of calling did, round by round."""

    server: Child
    per_second: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    tail: list[float] = field(default_factory=list)

    async def run(self, call: Call, in_flight: int, seconds: float) -> None:
        """One round."""
        latencies: list[float] = []
        used = time.process_time() + self.server.cpu()
        began = time.perf_counter()
        until = began + seconds

        async def caller() -> None:
            while (start := time.perf_counter()) < until:
                await call()
                latencies.append(time.perf_counter() - start)

        await asyncio.gather(*(caller() for _ in range(in_flight)))
        self.per_second.append(len(latencies) / (time.perf_counter() - began))
        self.cpu.append((time.process_time() + self.server.cpu() - used) / len(latencies))
        self.median.append(percentile(latencies, 50))
        self.tail.append(percentile(latencies, 99))


def of(case: str, peer: Peer) -> Call:
    """Calls of that case."""
    kind, request, _ = CASES[case]
    return lambda: peer.request(kind, request(next(_numbers)))


async def plain(case: str, port: int) -> Plain:
    """A plain WebSocket for messages of that case."""
    _, request, answer = CASES[case]
    websocket = await connect_websocket(
        f"ws://127.0.0.1:{port}/{answer().ByteSize()}", compression=None, ping_interval=None, proxy=None
    )
    return Plain(websocket, request(next(_numbers)).SerializeToString())


async def measure(
    case: str, in_flight: int, servers: dict[str, Child], home: Path, options: argparse.Namespace
) -> dict[str, Measured]:
    """All ways of calling, in turns, each over one connection."""
    config = Config.load(home / "device.toml")
    measured = {way: Measured(server) for way, server in servers.items()}
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {}
        for way, server in servers.items():
            if way == "plain":
                calls[way] = (await stack.enter_async_context(await plain(case, server.port))).call
            else:
                line = connect(f"ws://127.0.0.1:{server.port}", config, server_name="localhost", proxy=None)
                calls[way] = of(case, await stack.enter_async_context(line))
        turns = deque(calls.items())
        for _ in range(options.rounds):
            turns.rotate(1)  # who comes after whom makes a difference
            for way, call in turns:
                with patch.object(sending, "LEAST_SHARE", SHARES.get(way, SHARES[AS_IT_IS])):
                    await measured[way].run(call, in_flight, options.seconds)
    return measured


def rows(case: str, in_flight: int, measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """What is printed of them."""
    table = []
    for way, one in measured.items():
        row = {
            "case": case,
            "in_flight": in_flight,
            "share": way,
            "per_second": round(statistics.median(one.per_second)),
            "cpu_us": round(statistics.median(one.cpu) * 1e6),
            "p50_us": round(statistics.median(one.median) * 1e6),
            "p99_us": round(statistics.median(one.tail) * 1e6),
            **compared("ratio", measured["plain"].per_second, one.per_second),
        }
        if AS_IT_IS in measured and way not in {AS_IT_IS, "plain"}:
            row |= compared("to_default", one.per_second, measured[AS_IT_IS].per_second)
        table.append(row)
    return table


def show(row: dict[str, Any]) -> None:
    """One line for people."""
    line = (
        f"{row['case']:10}{row['in_flight']:>10}{row['share']:>8}{row['per_second']:>10}{row['cpu_us']:>7}{row['p50_us']:>9}"
        f"{row['p99_us']:>9}{row['ratio']:>8}   {row['ratio_low']} to {row['ratio_high']}"
    )
    if "to_default" in row:
        line = f"{line:90}{row['to_default']:>6}   {row['to_default_low']} to {row['to_default_high']}"
    print(line, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one measurement (default 0.5)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each, in turns (default 5)")
    parser.add_argument(
        "--in-flight", type=int, nargs="+", default=[1, 16, 64, 256], help="callers at once (default 1 16 64 256)"
    )
    parser.add_argument(
        "--shares", nargs="+", choices=SHARES, default=[AS_IT_IS, "all"], help="least shares of a flight (16 all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    options = parser.parse_args()
    if not options.json:
        print(f"calls between two processes, medians of {options.rounds} rounds; times in µs")
        print(
            f"{'':10}{'in flight':>10}{'share':>8}{'calls/s':>10}{'cpu':>7}{'p50':>9}{'p99':>9}"
            f"{'ratio':>8}   {'spread':18}{f'to {AS_IT_IS}':>7}   spread"
        )
    with identities() as home, ExitStack() as stack:
        servers = {"plain": stack.enter_context(process(serve_plain))}
        for share in options.shares:
            servers[share] = stack.enter_context(process(serve_shared, home, SHARES[share]))
        for case in CASES:
            for in_flight in options.in_flight:
                measured = asyncio.run(measure(case, in_flight, servers, home, options))
                for row in rows(case, in_flight, measured):
                    print(json.dumps(row), flush=True) if options.json else show(row)


if __name__ == "__main__":
    main()
