"""`ratatoskr call`: one request, and its answer or the items of a stream."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from ratatoskr import AnyKind, CallError, Failure, LocalProtocolError
from ratatoskr.service import Exchange
from ratatoskr_cli.arguments import Commands, add_command, add_json, add_path, seconds
from ratatoskr_cli.client import Interrupted, Target, add_target, interrupted, kind_named, target_of
from ratatoskr_cli.exits import EXIT_CODES, Exit, Failed, exit_of, failure_text
from ratatoskr_cli.payloads import payload_of, payload_to_json
from ratatoskr_cli.receipts import ReceiptFile, new_file
from ratatoskr_cli.screen import Screen, to_json
from ratatoskr_cli.streams import Lines, read


def add(commands: Commands) -> None:
    """The command of this module."""
    parser = add_command(
        commands,
        "call",
        _call,
        about="ask something",
        description=(
            "Asks a server something, and prints the answer as JSON. `ratatoskr kinds` lists what can be asked. What\n"
            "runs at most once has a business key: ask it twice, and the second answer is the first one, replayed.\n"
            "\n"
            "The items of a stream are printed as they come, each as JSON in one line. Reading them slowly slows the\n"
            "server down, and Ctrl-C or a closed pipe cancels the call. How far it is stands on standard error, where\n"
            "that is a terminal. With --json a last line says how the stream ended: complete, failed or interrupted."
        ),
        examples=(
            '  ratatoskr call MARKETPLACE_SEARCH \'{"query": "tea"}\' --config dev/device.toml\n'
            "  ratatoskr call MARKETPLACE_BROWSE '{\"limit\": 100}' --config dev/device.toml >offers.jsonl\n"
            "  ratatoskr call SANDBOX_STATEMENT '{\"bookings\": 10}' --config dev/device.toml\n"
            "  ratatoskr call PAYMENT_AUTHORIZE @payment.json --config dev/device.toml --receipt payment.receipt\n"
            "\n" + EXIT_CODES
        ),
    )
    parser.add_argument("kind", metavar="KIND", help="what to ask, such as MARKETPLACE_SEARCH")
    parser.add_argument(
        "payload", metavar="JSON", nargs="?", default="{}", help="the payload, or @FILE, or - for standard input ({})"
    )
    add_target(parser)
    parser.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="how long to wait for the answer, or for all of a stream"
    )
    parser.add_argument("--key", help="the business key, for kinds that do not find it in a field")
    add_path(
        parser,
        "--receipt",
        "keep the proof of the answer here; the file must not exist yet. Not for streams, whose items have one each",
        required=False,
    )
    add_json(parser, "the answer, or each item, with what is known about it in one line")


def _call(arguments: argparse.Namespace) -> int:
    kind = kind_named(arguments.kind)
    message = payload_of(kind, _text_of(arguments.payload))
    try:
        kind.business_key(message, arguments.key)
    except LocalProtocolError as missing:
        raise Failed(str(missing), Exit.USAGE) from None
    if kind.stream and arguments.receipt:
        raise Failed(f"{kind.name} is a stream, and each of its items has a receipt: leave --receipt out", Exit.USAGE)
    target = target_of(arguments.config, arguments.url, arguments.server_name)
    logging.getLogger("ratatoskr").addHandler(logging.NullHandler())  # what goes wrong is said below
    if kind.stream:
        _stream(target, kind, message, arguments)
        return Exit.DONE
    outcome = asyncio.run(_ask(target, kind, message, arguments))
    if isinstance(outcome, CallError):
        if arguments.json:
            Screen().line(to_json({"kind": kind.name, "error": _as_json(outcome.failure)}))
        raise _explained(kind, outcome)
    if isinstance(outcome, Interrupted):
        if arguments.json:
            Screen().line(to_json({"kind": kind.name, "interrupted": True}))
        raise Failed(f"{kind.name}: interrupted; {outcome}{_again(kind) if kind.once else ''}", Exit.INTERRUPTED)
    if arguments.json:
        answer = {"kind": kind.name, "replayed": outcome.replayed, "answer": payload_to_json(outcome.message)}
        Screen().line(to_json(answer))
        return Exit.DONE
    Screen().json(payload_to_json(outcome.message))
    if outcome.replayed:
        print("replayed: the answer to an earlier request with the same key; nothing was done again", file=sys.stderr)
    return Exit.DONE


async def _ask(
    target: Target, kind: AnyKind, message: Message, arguments: argparse.Namespace
) -> Exchange[Any] | CallError | Interrupted:
    with ExitStack() as stack:
        # Made before anything is asked: a payment whose receipt cannot be kept is better not made.
        keep = stack.enter_context(new_file(arguments.receipt)) if arguments.receipt else None
        async with target.connect() as peer:
            try:
                exchange = await peer.exchange(kind, message, timeout=arguments.timeout, key=arguments.key)
                if keep is not None:
                    keep(ReceiptFile(await peer.receipt(exchange), (peer.peer.certificate,)))
            except CallError as error:
                return error  # an answer too: the connection ends as it should
            except asyncio.CancelledError:
                return await interrupted(peer)
            return exchange


def _stream(target: Target, kind: AnyKind, message: Message, arguments: argparse.Namespace) -> None:
    """A stream, from its first item to how it ended."""
    lines = Lines(kind, wrapped=arguments.json)
    match asyncio.run(read(target, kind, message, arguments.timeout, lines)):
        case CallError() as error:
            lines.end("failed", error=_as_json(error.failure))
            raise _explained(kind, error, f" (after {lines.so_far})" if lines.count else "")
        case BrokenPipeError() as closed:
            raise closed
        case Interrupted() as how:
            lines.end("interrupted")
            raise Failed(f"{kind.name}: interrupted after {lines.so_far}; {how}", Exit.INTERRUPTED)
        case None:
            lines.end("complete")


def _explained(kind: AnyKind, error: CallError, so_far: str = "") -> Failed:
    code = exit_of(error)
    advice = {Exit.REFUSED: ". Nothing was done", Exit.UNKNOWN: _again(kind)}
    return Failed(f"{kind.name}: {failure_text(error.failure)}{so_far}{advice.get(code, '')}", code)


def _again(kind: AnyKind) -> str:
    if kind.stream:
        return ""
    return (
        f". Nobody knows whether it happened{': make the same call again, it runs at most once' if kind.once else ''}"
    )


def _as_json(failure: Failure) -> dict[str, Any]:
    return {
        "status": failure.status.name,
        "reason": failure.reason,
        "message": failure.message,
        "disposition": failure.disposition.name,
        "retry_delay": failure.retry_delay,
        "violations": [asdict(each) for each in failure.violations],
    }


def _text_of(argument: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if not argument.startswith("@"):
        return argument
    path = Path(argument[1:])
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Failed(f"{path} is not text in UTF-8", Exit.USAGE) from None
