"""`ratatoskr dev`, `keygen` and `cert`: who is who."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ratatoskr import Certificate, utc
from ratatoskr_cli.arguments import ROLES, Commands, add_command, add_json, add_path
from ratatoskr_cli.exits import Exit
from ratatoskr_cli.screen import Screen, printable, to_json
from ratatoskr_files import (
    create_keys,
    describe,
    dev_init,
    install_certificate,
    issue_certificate,
    request_certificate,
    show,
)

DAY = 86_400.0
CLOCK_SKEW = 300.0
"""How long before now a certificate begins: the other machine's clock may be late."""


def add(commands: Commands) -> None:
    """The commands of this module."""
    _add_dev(commands)
    keygen = add_command(
        commands,
        "keygen",
        _keygen,
        about="make secret keys",
        description="Makes secret keys in a new file that only its owner may read. They never leave it.",
        examples="  ratatoskr keygen shop.keys",
    )
    add_path(keygen, "file", "where the keys go; it must not exist yet")
    add_json(keygen, "the keys' id")
    _add_cert(commands)


def _add_dev(commands: Commands) -> None:
    dev = add_command(commands, "dev", None, about="identities for development")
    actions = dev.add_subparsers(metavar="ACTION", required=True)
    init = add_command(
        actions,
        "init",
        _dev_init,
        about="make a root, a server, a device and a provider",
        description=(
            "Makes a root, a server, a device and a provider, with a configuration for each. They are valid for seven\n"
            "days and for development alone: `ratatoskr serve` refuses them off loopback unless told --dev."
        ),
        examples=(
            "  ratatoskr dev init dev\n"
            "  ratatoskr dev init dev --name localhost --name yggdrasil\n"
            "  ratatoskr serve --config dev/server.toml"
        ),
    )
    add_path(init, "dir", "where the files go")
    init.add_argument(
        "--name", action="append", metavar="HOST", help="a name that the server proves; repeatable (localhost)"
    )
    init.add_argument("--exist-ok", action="store_true", help="keep what is there, if it is complete and still valid")
    add_json(init, "the files")


def _add_cert(commands: Commands) -> None:
    cert = add_command(
        commands,
        "cert",
        None,
        about="certificates: request, issue, install, show",
        description="From keys to an identity, without anybody copying a secret.",
        examples=(
            "  ratatoskr keygen shop.keys                                              # on the device\n"
            "  ratatoskr cert request shop.keys shop.request --role provider --subject shop-7\n"
            "  ratatoskr cert issue root.key shop.request shop.pem --days 90           # at the issuer\n"
            "  ratatoskr cert install shop.keys shop.pem shop.key                      # on the device"
        ),
    )
    actions = cert.add_subparsers(metavar="ACTION", required=True)
    request = add_command(actions, "request", _request, about="ask for a certificate")
    add_path(request, "keys", "the secret keys that it is for")
    add_path(request, "out", "where the request goes; give it to the issuer")
    request.add_argument("--role", choices=ROLES, required=True, help="what its holder may be")
    request.add_argument("--subject", required=True, help='its holder\'s name, such as "shop-7"')
    request.add_argument("--name", action="append", metavar="HOST", help="a name that a server proves; repeatable")
    request.add_argument("--tenant", default="", help="the customer that the holder belongs to")

    issue = add_command(actions, "issue", _issue, about="certify what a request asks for")
    add_path(issue, "issuer", "the issuer's identity")
    add_path(issue, "request", "the request")
    add_path(issue, "out", "where the certificate goes; give it back to who asked")
    issue.add_argument("--days", type=float, default=90.0, help="how long it is valid (%(default)s)")
    issue.add_argument("--role", choices=ROLES, help="another role than was asked for; an issuer must be said")
    issue.add_argument("--subject", help="another subject than was asked for")
    issue.add_argument("--tenant", help="another tenant than was asked for")

    install = add_command(actions, "install", _install, about="put keys and their certificate together")
    add_path(install, "keys", "the secret keys")
    add_path(install, "certificate", "what the issuer gave")
    add_path(install, "out", "where the identity goes; configurations name it")

    shown = add_command(actions, "show", _show, about="say what a file holds, without its secrets")
    add_path(shown, "file", "keys, a request, certificates or an identity")
    for each in (request, issue, install, shown):
        add_json(each, "what was said")


def _dev_init(arguments: argparse.Namespace) -> int:
    names = arguments.name or ["localhost"]
    existed = arguments.dir.exists()
    files = dev_init(arguments.dir, server_names=names, exist_ok=arguments.exist_ok, now=time.time())
    if arguments.json:
        Screen().line(to_json({each.name: str(each) for each in files}))
        return Exit.DONE
    screen = Screen()
    screen.line(f"{'Identities' if existed else 'New identities'} for development in {files.directory}:")
    for path, what in (
        (files.server, f"the server, `{names[0]}`"),
        (files.device, "a buyer's device, `device-1`"),
        (files.provider, "a seller's back end, `provider-1`"),
        (files.root, "the root that certified them, and issues more"),
    ):
        screen.line(f"  {path.name:14}", (what, "dim"))
    screen.line(f"Next: ratatoskr serve --config {files.server}")
    return Exit.DONE


def _keygen(arguments: argparse.Namespace) -> int:
    keys = create_keys(arguments.file)
    _say(arguments, [("kid", keys.kid.hex())], f"{arguments.file}: new keys. Keep them secret.")
    return Exit.DONE


def _request(arguments: argparse.Namespace) -> int:
    request = request_certificate(
        arguments.keys,
        arguments.out,
        role=ROLES[arguments.role],
        subject=arguments.subject,
        names=arguments.name or (),
        tenant=arguments.tenant,
    )
    _say(arguments, describe(request), f"{arguments.out}: give it to the issuer.")
    return Exit.DONE


def _issue(arguments: argparse.Namespace) -> int:
    now = time.time()
    certificate: Certificate = issue_certificate(
        arguments.issuer,
        arguments.request,
        arguments.out,
        role=ROLES[arguments.role] if arguments.role else None,
        subject=arguments.subject,
        tenant=arguments.tenant,
        not_before=now - CLOCK_SKEW,
        not_after=now + arguments.days * DAY,
    )
    _say(arguments, describe(certificate), f"{arguments.out}: give it back to who asked.")
    return Exit.DONE


def _install(arguments: argparse.Namespace) -> int:
    identity = install_certificate(arguments.keys, arguments.certificate, arguments.out)
    until = utc(identity.certificate.not_after_ms)
    _say(arguments, describe(identity.certificate), f"{arguments.out}: an identity, valid until {until}.")
    return Exit.DONE


def _show(arguments: argparse.Namespace) -> int:
    path: Path = arguments.file
    blocks = show(path)
    screen = Screen()
    if arguments.json:
        screen.line(to_json([dict(rows) for rows in blocks]))
        return Exit.DONE
    for rows in blocks:
        for name, value in rows:
            screen.line((f"{name:>12}  ", "dim"), printable(value))
        screen.line()
    return Exit.DONE


def _say(arguments: argparse.Namespace, rows: list[tuple[str, str]], text: str) -> None:
    screen = Screen()
    if arguments.json:
        screen.line(to_json(dict(rows)))
        return
    for name, value in rows:
        screen.line((f"{name:>12}  ", "dim"), printable(value))
    screen.line(text)
