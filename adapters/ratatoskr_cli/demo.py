"""`ratatoskr demo`: processes do business on a socket, and everything is checked."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ratatoskr import CallError, RatatoskrError
from ratatoskr_cli.arguments import Commands, add_command, add_json
from ratatoskr_cli.client import Target, target_of
from ratatoskr_cli.exits import Exit, Failed, failure_text
from ratatoskr_cli.farewell import farewell
from ratatoskr_cli.process import server_process
from ratatoskr_cli.report import Report
from ratatoskr_cli.story import Story
from ratatoskr_files import dev_init

PATIENCE_SECONDS = 120.0
"""A demo that takes longer has failed."""


def add(commands: Commands) -> None:
    """The command of this module."""
    parser = add_command(
        commands,
        "demo",
        _demo,
        about="watch a device and a platform do business",
        description=(
            "Starts a sandbox in a process of its own, and does business with it over a WebSocket: a provider sells,\n"
            "a device browses, pays, asks the same payment again after a restart, and is refunded. The line is cut\n"
            "between a payment and its answer, calls are cancelled, and another server stops while one is open.\n"
            "Every answer's receipt is verified offline, every balance is checked. Ends with 1 and says why where one\n"
            "of them does not hold."
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
        asyncio.run(asyncio.wait_for(_play(arguments, report), PATIENCE_SECONDS))
    except CallError as error:
        why = failure_text(error.failure)
    except (RatatoskrError, OSError, TimeoutError) as error:
        why = str(error) or "it took too long"
    else:
        return Exit.DONE
    report.failed(why)
    raise Failed(f"demo failed: {why}")


async def _play(arguments: argparse.Namespace, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="ratatoskr-demo-") as directory:
        home = Path(directory)
        dev_init(home, now=time.time())
        async with server_process(home, "other") as other:  # it starts while there is other business
            if arguments.url is not None:
                receipts = await _tell(arguments.config_dir, arguments.url, report, None)
            else:
                async with server_process(home, "yggdrasil") as server:
                    receipts = await _tell(home, await server.url(), report, home / "yggdrasil.sqlite")
                    server.stop()
                    await server.end()
            receipts += await farewell(_impatient(target_of(home / "device.toml", await other.url())), other, report)
    report.end(receipts)


async def _tell(directory: Path, url: str, report: Report, database: Path | None) -> int:
    """The story; how many receipts were verified."""
    device, provider = (_impatient(target_of(directory / name, url)) for name in ("device.toml", "provider.toml"))
    where = "already running" if database is None else "another process"
    report.begin(url, f"{where}, {device.config.suites[0].name}")
    story = Story(device, provider, report, database)
    await story.play()
    return story.receipts


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
