"""The client's side of commands: configuration, kinds, connection."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ratatoskr import STANDARD_KINDS, AnyKind, Closed, LocalProtocolError, Role, utc
from ratatoskr.service import Redial
from ratatoskr_cli.arguments import add_path
from ratatoskr_cli.exits import Exit, Failed
from ratatoskr_files import Config
from ratatoskr_sandbox import SANDBOX_ACTIVITY, SANDBOX_STATEMENT
from ratatoskr_websockets import Peer, connect

GOODBYE_SECONDS = 2.0
"""How long a client that was interrupted waits for the server to end what it had asked."""
KINDS = STANDARD_KINDS | [SANDBOX_STATEMENT, SANDBOX_ACTIVITY]
"""What the command line speaks: the protocol's kinds, and the sandbox's own."""


def kind_named(name: str) -> AnyKind:
    """The kind of that name. Raises Failed, naming those that there are."""
    try:
        return KINDS.by_name(name)
    except LocalProtocolError as unknown:
        raise Failed(str(unknown), Exit.USAGE) from None


def add_target(parser: argparse.ArgumentParser) -> None:
    """``--config``, ``--url`` and ``--server-name``."""
    add_path(parser, "--config", "who you are and whom you trust, such as dev/device.toml")
    parser.add_argument("--url", help="where the server is (what the configuration says)")
    parser.add_argument(
        "--server-name",
        metavar="NAME",
        help="who the server must prove to be (what the configuration says)",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and who asks it."""

    config: Config
    path: Path
    """The configuration's file."""
    url: str
    server_name: str | None
    proxy: str | Literal[True] = True
    """The URL of one, or what the environment says."""
    redial: Redial | None = None

    def connect(self) -> AbstractAsyncContextManager[Peer]:
        """Connect. Raises ConnectFailed."""
        return connect(self.url, self.config, server_name=self.server_name, proxy=self.proxy, redial=self.redial)


def target_of(path: Path, url: str | None, server_name: str | None = None) -> Target:
    """The target that a configuration names, or that is named beside it. Raises Failed, FileRefused or OSError."""
    config = Config.load(path, kinds=KINDS)
    own = config.identity.certificate
    if own.role not in {Role.DEVICE, Role.PROVIDER}:
        raise Failed(f"{path}: `{own.subject}` has the role {own.role.name}; a client is a device or a provider")
    if own.not_after_ms <= time.time() * 1000:
        raise Failed(
            f"{path}: the certificate of `{own.subject}` expired at {utc(own.not_after_ms)}. "
            "Ask its issuer for a new one; for development, remove the directory and run `ratatoskr dev init` again"
        )
    where = url or config.url
    if where is None:
        raise Failed(f"{path} names no url: say --url ws://HOST:PORT", Exit.USAGE)
    return Target(config, path, where, server_name or config.server_name)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Somebody pressed Ctrl-C while a call was open."""

    closed: Closed

    def __str__(self) -> str:
        """What became of the call."""
        if self.closed.clean:
            return "the call was cancelled"
        return "the connection was cut, because the server did not end the call in time"


async def interrupted(peer: Peer) -> Interrupted:
    """Say goodbye after Ctrl-C, which has cancelled a call. Another Ctrl-C ends the process at once."""
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    try:
        return Interrupted(await asyncio.wait_for(peer.close(), GOODBYE_SECONDS))
    except TimeoutError:
        return Interrupted(await peer.close(drain=False))
