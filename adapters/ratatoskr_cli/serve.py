"""`ratatoskr serve`: the Yggdrasil sandbox on a socket."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from ratatoskr import Role, utc
from ratatoskr_cli.arguments import Commands, add_command, add_json, add_path, port
from ratatoskr_cli.client import KINDS
from ratatoskr_cli.draining import Drained, Draining, Traffic, serve_until_told
from ratatoskr_cli.exits import Exit, Failed
from ratatoskr_cli.screen import Screen, to_json
from ratatoskr_files import Config, is_dev
from ratatoskr_sandbox import sandbox_router
from ratatoskr_stores import SqliteStore
from ratatoskr_websockets import Server, serve

PORT = 8765


def add(commands: Commands) -> None:
    """The command of this module."""
    parser = add_command(
        commands,
        "serve",
        _serve,
        about="run the Yggdrasil sandbox",
        description=(
            "Runs the Yggdrasil sandbox: a catalogue, orders, payments and a registry of providers, to build clients\n"
            "against. Every device has a wallet with 1,000.00 EUR to play with. SIGTERM and Ctrl-C let open calls\n"
            "complete; a second one does not. The last line says what became of them, and whether all clients left\n"
            "cleanly. Ends with 1 where the server would not wait for one of them any longer."
        ),
        examples=(
            "  ratatoskr dev init dev\n"
            "  ratatoskr serve --config dev/server.toml\n"
            "  ratatoskr serve --config dev/server.toml --host 0.0.0.0 --dev     # off loopback, for development"
        ),
    )
    add_path(parser, "--config", "who the server is, such as dev/server.toml")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=port, default=PORT, help="the port; 0 for any free one (%(default)s)")
    add_path(
        parser, "--db", "the books; beside the configuration, with the ending .sqlite, unless said", required=False
    )
    parser.add_argument("--dev", action="store_true", help="serve development identities also off loopback")
    add_json(parser, "where it listens, and how it ends,")


def _serve(arguments: argparse.Namespace) -> int:
    config = Config.load(arguments.config, kinds=KINDS)
    _check(config, arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    database: Path = arguments.db or config.path.with_suffix(".sqlite")
    try:
        drained = asyncio.run(_run(config, database, arguments))
    except sqlite3.Error as error:
        raise Failed(f"{database}: {error}. Choose another file with --db") from None
    _say_end(drained, as_json=arguments.json)
    return Exit.NO if drained.cut else Exit.DONE


def _check(config: Config, arguments: argparse.Namespace) -> None:
    own = config.identity.certificate
    if own.role is not Role.SERVER:
        raise Failed(f"{config.path}: `{own.subject}` has the role {own.role.name}; serve with that of a server")
    if own.not_after_ms <= time.time() * 1000:
        raise Failed(f"{config.path}: the certificate of `{own.subject}` expired at {utc(own.not_after_ms)}")
    development = config.dev or is_dev(config.identity, config.trust)
    if development and not arguments.dev and not _is_loopback(arguments.host):
        raise Failed(
            f"{config.path} is for development, and {arguments.host} can be reached from other machines. "
            "Serve on 127.0.0.1, use other identities, or say --dev"
        )


async def _run(config: Config, database: Path, arguments: argparse.Namespace) -> Drained:
    traffic = Traffic()
    with closing(SqliteStore(database)) as store:
        router = await sandbox_router(store, time.time)
        router.middleware(traffic.count)
        server = serve(router, config, arguments.host, arguments.port, store=store)
        try:
            await server.__aenter__()
        except OSError as error:
            where, why = f"{arguments.host}:{arguments.port}", error.strerror or error
            raise Failed(f"cannot listen on {where}: {why}. Choose another --port or --host") from None
        try:
            # In the loop's next turn, when signals are caught: whoever reads it may send one at once.
            asyncio.get_running_loop().call_soon(_announce, server, config, database, arguments)
            on_signal = partial(_say_draining, config.limits.drain_timeout, as_json=arguments.json)
            return await serve_until_told(server, traffic, on_signal)
        finally:
            await server.__aexit__(None, None, None)


def _announce(server: Server, config: Config, database: Path, arguments: argparse.Namespace) -> None:
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    url = f"ws://{host}:{server.port}"
    names = config.identity.certificate.names
    screen = Screen()
    if arguments.json:
        kinds = [kind.name for kind in config.kinds]
        screen.line(to_json({"listening": url, "names": names, "database": str(database), "kinds": kinds}))
        return
    screen.line(("Yggdrasil sandbox", "bold"), " on ", (url, "bold cyan"), f", proves {', '.join(names)}")
    for row in (f"serves {', '.join(kind.name for kind in config.kinds)}", f"keeps its books in {database}"):
        screen.line((f"  {row}", "dim"))


def _say_draining(seconds: float, draining: Draining, *, as_json: bool) -> None:
    if as_json:
        shown = {"draining": draining.signal, "open": draining.open, "clients": draining.clients}
        Screen().line(to_json(shown))
    else:
        Screen().line(f"{draining.signal}: {draining.plan(seconds)}")


def _say_end(drained: Drained, *, as_json: bool) -> None:
    if as_json:
        shown = asdict(drained)
        Screen().line(to_json({"stopped_by": shown.pop("signal"), **shown, "seconds": round(drained.seconds, 3)}))
    else:
        Screen().line(("Stopped", "bold"), f" after {drained.seconds:.1f} s: {drained}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
