"""A sandbox with many offers, and a call whose items are read as slowly as a test likes."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from ratatoskr import v1
from ratatoskr_sandbox import Amount, Work, catalogue, platform
from tests.scenarios.cli.shell import SCRIPT, SECONDS, Sandbox

OFFERS = 60
EVERYTHING: dict[str, Any] = {"query": "zz"}
"""Finds all of them."""
PAGE = 4096
"""The smallest pipe. It holds some items; but it takes more only when it is empty again."""


def stock(shop: Sandbox) -> None:
    """Put the offers into its shop."""
    with closing(sqlite3.connect(shop.announced["database"], timeout=60)) as db, db:
        work = Work(db, int(time.time() * 1000))
        for number in range(OFFERS):
            price = Amount("EUR", 100 + number).to_money()
            offer = v1.PublishOffer(offer_id=f"zz-{number}", title="Zz", price=price, stock=1)
            catalogue.publish(work, platform.HOUSE, offer)


def activity(shop: Sandbox) -> tuple[int, int]:
    """How many browses of the device run, and how many offers the latest has sent."""
    said = shop.call("SANDBOX_ACTIVITY", {}).json
    return said["browses_running"], said["latest_sent"]


def command(shop: Sandbox, *options: str) -> list[str]:
    target = ("--config", str(shop.home / "device.toml"), "--url", shop.url)
    return [SCRIPT, "call", "MARKETPLACE_BROWSE", json.dumps(EVERYTHING), *target, *options]


@dataclass
class Reading:
    """A call whose standard output is read as slowly as the test likes."""

    process: subprocess.Popen[bytes]
    output: int

    def line(self) -> Any:
        """The next line."""
        text = b""
        while not text.endswith(b"\n"):
            text += os.read(self.output, 1)
        return json.loads(text)

    def rest(self) -> list[Any]:
        """All that is still to come."""
        with os.fdopen(os.dup(self.output), "rb") as file:
            return [json.loads(line) for line in file]

    def close(self) -> None:
        """Read no more."""
        os.close(self.output)
        self.output = os.open(os.devnull, os.O_RDONLY)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was said on standard error."""
        assert self.process.stderr is not None
        said = self.process.stderr.read().decode()
        return self.process.wait(SECONDS), said


@contextmanager
def reading(shop: Sandbox, *options: str) -> Generator[Reading]:
    output, their_output = os.pipe()
    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, PAGE)
    with subprocess.Popen(command(shop, *options), stdout=their_output, stderr=subprocess.PIPE) as process:
        os.close(their_output)
        try:
            yield Reading(process, output)
        finally:
            process.kill()
            os.close(output)
