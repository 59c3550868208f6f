"""`ratatoskr demo`: two processes do business on a socket, and everything is checked."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ratatoskr import CallError, RatatoskrError
from ratatoskr_cli.arguments import Commands, add_command, add_json
from ratatoskr_cli.client import Target, target_of
from ratatoskr_cli.exits import Exit, Failed, failure_text
from ratatoskr_cli.proof import CheckFailed
from ratatoskr_cli.report import Report
from ratatoskr_cli.story import Story
from ratatoskr_files import dev_init

START_SECONDS = 30.0
STOP_SECONDS = 15.0


def add(commands: Commands) -> None:
    """The command of this module."""
    parser = add_command(
        commands,
        "demo",
        _demo,
        about="watch a device and a platform do business",
        description=(
            "Starts a sandbox in a process of its own, and does business with it over a WebSocket: a provider sells,\n"
            "a device pays, asks the same payment again after a restart, and is refunded. Every answer's receipt is\n"
            "verified offline, every balance is checked. Ends with 1 and says why where one of them does not hold."
        ),
        examples=(
            "  ratatoskr demo\n"
            "  ratatoskr demo --json\n"
            "  ratatoskr demo --url ws://yggdrasil:8765 --config-dir dev     # with a sandbox that runs there"
        ),
    )
    parser.add_argument("--url", help="a sandbox that runs already; nobody else may use its demo identities meanwhile")
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="where its device.toml and provider.toml are, as of `dev init`"
    )
    add_json(parser, "each step")


def _demo(arguments: argparse.Namespace) -> int:
    if (arguments.url is None) != (arguments.config_dir is None):
        raise Failed("--url and --config-dir belong together", Exit.USAGE)
    logging.getLogger("ratatoskr").addHandler(logging.NullHandler())  # its failures are told by the demo
    report = Report(as_json=arguments.json)
    try:
        asyncio.run(_play(arguments, report))
    except CallError as error:
        why = failure_text(error.failure)
    except (RatatoskrError, OSError, TimeoutError) as error:
        why = str(error) or "it took too long"
    else:
        return Exit.DONE
    report.failed(why)
    raise Failed(f"demo failed: {why}")


async def _play(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.url is not None:
        await _tell(arguments.config_dir, arguments.url, report, None)
        return
    with tempfile.TemporaryDirectory(prefix="ratatoskr-demo-") as directory:
        home = Path(directory)
        dev_init(home, now=time.time())
        database = home / "yggdrasil.sqlite"
        async with _sandbox(home, database) as url:
            await _tell(home, url, report, database)


async def _tell(directory: Path, url: str, report: Report, database: Path | None) -> None:
    began = time.monotonic()
    device, provider = (_impatient(target_of(directory / name, url)) for name in ("device.toml", "provider.toml"))
    where = "another process" if database is not None else "already running"
    report.begin(url, f"{where}, {device.config.suites[0].name}")
    story = Story(device, provider, report, database)
    await story.play()
    report.end(story.receipts, time.monotonic() - began)


def _impatient(target: Target) -> Target:
    """The same with shorter times than a client usually has: a demo that hangs has failed."""
    limits = replace(
        target.config.limits,
        handshake_timeout=5.0,
        record_timeout=5.0,
        request_timeout=10.0,
        drain_timeout=5.0,
        close_timeout=2.0,
    )
    return replace(target, config=replace(target.config, limits=limits))


@asynccontextmanager
async def _sandbox(home: Path, database: Path) -> AsyncGenerator[str]:
    """`ratatoskr serve` in a process of its own, for the time of a block; where it listens."""
    log = home / "server.log"
    command = [
        *(sys.executable, "-m", "ratatoskr_cli", "serve", "--config", str(home / "server.toml")),
        *("--port", "0", "--db", str(database), "--json"),
    ]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=errors)
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if not line:
            raise CheckFailed(f"the sandbox did not start: {_last_line(log)}")
        yield json.loads(line)["listening"]
        process.terminate()
        if await asyncio.wait_for(process.wait(), STOP_SECONDS):
            raise CheckFailed(f"the sandbox did not end well: {_last_line(log)}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
