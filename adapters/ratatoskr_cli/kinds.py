"""`ratatoskr kinds`: what can be asked, with which fields."""

from __future__ import annotations

import argparse
from typing import Any

from google.protobuf.descriptor import Descriptor

from ratatoskr import AnyKind
from ratatoskr_cli.arguments import Commands, add_command, add_json
from ratatoskr_cli.client import KINDS, kind_named
from ratatoskr_cli.exits import Exit
from ratatoskr_cli.payloads import example_of, fields_text, type_text
from ratatoskr_cli.screen import Screen, to_json


def add(commands: Commands) -> None:
    """The command of this module."""
    parser = add_command(
        commands,
        "kinds",
        _kinds,
        about="what can be asked, with which fields",
        examples="  ratatoskr kinds\n  ratatoskr kinds PAYMENT_AUTHORIZE",
    )
    parser.add_argument("kind", nargs="?", metavar="KIND", help="one kind, with the types of its fields and an example")
    add_json(parser, "the kinds")


def _kinds(arguments: argparse.Namespace) -> int:
    screen = Screen()
    chosen = [kind_named(arguments.kind)] if arguments.kind else list(KINDS)
    if arguments.json:
        screen.line(to_json([_as_json(kind) for kind in chosen]))
        return Exit.DONE
    for kind in chosen:
        screen.line((kind.name, "bold"), (f"  {kind.type}/{kind.operation}, {policy(kind)}", "dim"))
        if arguments.kind:
            _show_fields(screen, kind.request.DESCRIPTOR, "  ")
            screen.line(f"  {'items' if kind.stream else 'answer'}: {fields_text(kind.response.DESCRIPTOR)}")
            screen.line(("  example:", "dim"))
            screen.line(f"    ratatoskr call {kind.name} '{to_json(example_of(kind.request.DESCRIPTOR))}' \\")
            screen.line("        --config dev/device.toml")
        else:
            screen.line(("  asks     ", "dim"), fields_text(kind.request.DESCRIPTOR) or "nothing")
            screen.line(("  streams  " if kind.stream else "  answers  ", "dim"), fields_text(kind.response.DESCRIPTOR))
    return Exit.DONE


def policy(kind: AnyKind) -> str:
    """A kind's policy in words."""
    if isinstance(kind.once, str):
        return f"sealed, at most once for each {kind.once}"
    if kind.once:
        return "sealed, at most once for each --key"
    sealed = "sealed" if kind.sealed else "deferred: sealed shortly after delivery"
    return f"a stream, {sealed}" if kind.stream else sealed


def _show_fields(screen: Screen, descriptor: Descriptor, indent: str) -> None:
    for field in descriptor.fields:
        name = f"{field.name}[]" if field.is_repeated else field.name
        screen.line(f"{indent}{name:<{22 - len(indent)}}", (type_text(field), "dim"))
        if field.message_type is not None and field.message_type.name != "Money":
            _show_fields(screen, field.message_type, indent + "  ")


def _as_json(kind: AnyKind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "type": kind.type,
        "operation": kind.operation,
        "sealed": kind.sealed,
        "once": kind.once,
        "stream": kind.stream,
        "request": {each.name: type_text(each) for each in kind.request.DESCRIPTOR.fields},
        "response": {each.name: type_text(each) for each in kind.response.DESCRIPTOR.fields},
        "example": example_of(kind.request.DESCRIPTOR),
    }
