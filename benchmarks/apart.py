"""Two processes and a WebSocket on loopback between them: what benchmarks of connections share."""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ratatoskr.service import MemoryStore, Router
from ratatoskr_files import Config, dev_init
from ratatoskr_websockets import serve

SECONDS = 60.0
"""No server takes that long to start."""


@contextmanager
def identities() -> Iterator[Path]:
    """A directory with ``server.toml`` and ``device.toml``."""
    with TemporaryDirectory() as directory:
        dev_init(directory, now=time.time())
        yield Path(directory)


class Child:
    """A process that serves."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    @cached_property
    def port(self) -> int:
        """Where it listens. The first one to ask waits until it does, so several may start together."""
        if not self._pipe.poll(SECONDS):
            raise SystemExit("the server did not start")
        port: int = self._pipe.recv()
        return port

    def cpu(self) -> float:
        """Seconds of CPU that it has used. It must have told its port."""
        self._pipe.send(None)
        used: float = self._pipe.recv()
        return used


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[Child]:
    """Run ``target(pipe, *arguments)`` in a process of its own for the time of the block. It sends its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_child, args=(theirs, target, arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        yield Child(ours)
    finally:
        child.terminate()
        child.join()


def _child(pipe: Pipe, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_tell_cpu, args=(pipe,), daemon=True).start()
    target(pipe, *arguments)


def _tell_cpu(pipe: Pipe) -> None:
    while True:
        pipe.recv()
        pipe.send(time.process_time())


async def serve_calls(pipe: Pipe, router: Router, home: Path) -> None:
    """Serve until SIGTERM. Outcomes are kept in memory, as many as come."""
    config = Config.load(home / "server.toml")
    async with serve(router, config, store=MemoryStore(capacity=1 << 32)) as server:
        pipe.send(server.port)
        await server.serve_forever()


def compared(name: str, ones: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """One divided by the other, round by round: the median, and between what the middle half of the rounds lies."""
    ratios = [one / other for one, other in zip(ones, others, strict=True)]
    return {
        name: round(statistics.median(ratios), 2),
        f"{name}_low": round(percentile(ratios, 25), 2),
        f"{name}_high": round(percentile(ratios, 75), 2),
    }


def percentile(samples: Sequence[float], percent: float) -> float:
    """The sample that so many in a hundred do not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
