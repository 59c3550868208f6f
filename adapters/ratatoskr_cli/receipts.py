"""Receipts in files, and `ratatoskr receipt`.

A receipt names its signer by the id of a key. The file therefore holds the signer's certificate beside it, and is
complete in itself but for the roots to believe. A file with the bytes of a receipt alone is read too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from ratatoskr import (
    Certificate,
    CertificateRefused,
    Receipt,
    ReceiptRefused,
    Role,
    TrustPolicy,
    VerifiedPeer,
    armour,
    dearmour,
    utc,
    v1,
)
from ratatoskr import identity as ids
from ratatoskr_cli.arguments import Commands, add_command, add_json, add_path
from ratatoskr_cli.client import KINDS
from ratatoskr_cli.exits import Exit, Failed
from ratatoskr_cli.payloads import payload_to_json
from ratatoskr_cli.screen import Screen, printable, to_json
from ratatoskr_files import Config, FileRefused, load_roots

RECEIPT = "RECEIPT"
"""The label of a receipt's block."""
MAX_FILE_BYTES = 1 << 20
_ENDS = {Role.SERVER, Role.DEVICE, Role.PROVIDER}


@dataclass(frozen=True, slots=True)
class ReceiptFile:
    """A receipt, and the certificates that its signer showed; none where the file does not hold them."""

    receipt: Receipt
    chain: tuple[Certificate, ...] = ()

    def to_bytes(self) -> bytes:
        """The text that :meth:`load` reads."""
        blocks = [ids.Block(RECEIPT, self.receipt.to_bytes())]
        blocks += [ids.Block(ids.CERTIFICATE, each.to_bytes()) for each in self.chain]
        comment = "Ratatoskr receipt. Verify it offline: ratatoskr receipt verify FILE --trust roots.pem"
        return armour(blocks, comment)

    @classmethod
    def load(cls, path: Path) -> ReceiptFile:
        """Read a file. Raises Failed for one that holds no receipt, OSError for one that cannot be read."""
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        try:
            if not data.startswith((b"#", b"-----")):
                return cls(Receipt.from_bytes(data))
            labels, contents = zip(*(dearmour(data) or [ids.Block("", b"")]), strict=True)
            if labels[0] != RECEIPT or set(labels[1:]) - {ids.CERTIFICATE}:
                raise Failed(f"{path}: holds no receipt")
            return cls(Receipt.from_bytes(contents[0]), tuple(map(Certificate.from_bytes, contents[1:])))
        except (ReceiptRefused, CertificateRefused) as refused:
            raise Failed(f"{path}: {refused}") from None

    def verify(self, trust: TrustPolicy, *, at: float | None = None) -> VerifiedPeer:
        """Who said it, with everything verified. Raises ReceiptRefused or CertificateRefused.

        ``at``: the time to judge the signer's certificate at, in seconds since the epoch; by default what the signer
        claims.
        """
        when = self.receipt.signed_at_ms / 1000 if at is None else at
        signer = trust.judge(self.chain, roles=_ENDS, at=when)
        self.receipt.verify(signer.verify_key)
        return signer


@contextmanager
def new_file(path: Path) -> Generator[Callable[[ReceiptFile], None]]:
    """A file for a receipt that is still to come: made now, because it may be too late when the receipt is there.

    The block gets a function that writes it; where nothing was written, no file stays. Raises Failed where there is
    one already, OSError where it cannot be made.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise Failed(f"{path} exists already and is not overwritten; choose another name for the receipt") from None
    written = False

    def write(receipt: ReceiptFile) -> None:
        nonlocal written
        file.write(receipt.to_bytes())
        written = True

    try:
        with file:
            yield write
    finally:
        if not written:
            path.unlink()


def add(commands: Commands) -> None:
    """The commands of this module."""
    receipt = add_command(
        commands,
        "receipt",
        None,
        about="show and verify receipts, offline",
        description="A receipt proves that a party said exactly this, in this session, at this place.",
        examples=(
            "  ratatoskr call PAYMENT_AUTHORIZE @payment.json --config dev/device.toml --receipt payment.receipt\n"
            "  ratatoskr receipt show payment.receipt\n"
            "  ratatoskr receipt verify payment.receipt --trust dev/roots.pem"
        ),
    )
    actions = receipt.add_subparsers(metavar="ACTION", required=True)
    show = add_command(actions, "show", _show, about="say what a receipt says, without verifying it")
    add_path(show, "file", "the receipt")
    add_json(show, "the receipt")
    verify = add_command(
        actions,
        "verify",
        _verify,
        about="verify a receipt: the seal, and the certificate of who sealed it",
        examples="  ratatoskr receipt verify payment.receipt --trust dev/roots.pem",
    )
    add_path(verify, "file", "the receipt")
    trust = verify.add_mutually_exclusive_group(required=True)
    trust.add_argument("--trust", type=Path, metavar="FILE", help="the roots to believe")
    trust.add_argument("--config", type=Path, metavar="FILE", help="believe whom this configuration believes")
    add_path(verify, "--certificate", "the signer's certificates, where the receipt's file has none", required=False)
    verify.add_argument(
        "--at", type=_moment, metavar="TIME", help="judge the certificate at this time (when the signer says it signed)"
    )
    add_json(verify, "the result")


def _show(arguments: argparse.Namespace) -> int:
    file = ReceiptFile.load(arguments.file)
    screen = Screen()
    if arguments.json:
        screen.line(to_json(_as_json(file)))
        return Exit.DONE
    _print(screen, file)
    screen.line(("Nothing of this is verified: ratatoskr receipt verify FILE --trust roots.pem", "yellow"))
    return Exit.DONE


def _verify(arguments: argparse.Namespace) -> int:
    file = ReceiptFile.load(arguments.file)
    if arguments.certificate is not None:
        file = ReceiptFile(file.receipt, _certificates(arguments.certificate))
    if not file.chain:
        raise Failed(f"{arguments.file} does not hold the signer's certificate: say --certificate FILE", Exit.USAGE)
    trust = Config.load(arguments.config).trust if arguments.config else TrustPolicy(roots=load_roots(arguments.trust))
    try:
        signer = file.verify(trust, at=arguments.at)
    except (ReceiptRefused, CertificateRefused) as refused:
        raise Failed(f"{arguments.file} DOES NOT VERIFY: {refused}") from None
    screen = Screen()
    if arguments.json:
        screen.line(to_json({"verified": True, "said_by": signer.subject, "role": signer.role.name, **_as_json(file)}))
        return Exit.DONE
    _print(screen, file)
    screen.line(("Verified: ", "bold green"), f"{printable(signer.subject)} ({signer.role.name}) said exactly this.")
    return Exit.DONE


def _certificates(path: Path) -> tuple[Certificate, ...]:
    try:
        blocks = dearmour(path.read_bytes())
        chain = tuple(Certificate.from_bytes(each.data) for each in blocks if each.label == ids.CERTIFICATE)
    except CertificateRefused as refused:
        raise FileRefused(path, f"{refused.detail} [{refused.rule}]") from None
    if not chain:
        raise FileRefused(path, "holds no certificate")
    return chain


def _as_json(file: ReceiptFile) -> dict[str, Any]:
    receipt = file.receipt
    message = receipt.message
    kind = KINDS.get(message.type, message.operation)
    result: dict[str, Any] = {
        "kind": kind.name if kind else f"{message.type}/{message.operation}",
        "what": "request" if isinstance(message, v1.RatatoskrRequest) else "answer",
        "signer": receipt.signer.hex(),
        "recipient": receipt.recipient.hex(),
        "session": receipt.session_id.hex(),
        "direction": receipt.direction,
        "number": receipt.number,
        "signed_at": utc(receipt.signed_at_ms),
    }
    if isinstance(message, v1.RatatoskrResponse):
        result |= {"request_leaf": message.request_leaf.hex(), "replayed": message.replayed}
        if message.HasField("error"):
            return result | {"error": payload_to_json(message.error)}
    if kind is not None:
        cls = kind.request if isinstance(message, v1.RatatoskrRequest) else kind.response
        try:
            return result | {"payload": payload_to_json(cls.FromString(message.payload))}
        except DecodeError:
            pass  # signed all the same
    return result | {"payload_bytes": message.payload.hex()}


def _print(screen: Screen, file: ReceiptFile) -> None:
    shown = _as_json(file)
    content = {name: shown.pop(name) for name in ("payload", "payload_bytes", "error") if name in shown}
    said_by = f"`{file.chain[0].subject}` ({file.chain[0].role.name}), key " if file.chain else "key "
    shown["signer"] = said_by + shown["signer"]
    shown["signed_at"] += " (the signer's claim)"
    for name, value in shown.items():
        screen.line((f"{name.replace('_', ' '):>12}  ", "dim"), printable(str(value)))
    screen.json(content)


def _moment(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
