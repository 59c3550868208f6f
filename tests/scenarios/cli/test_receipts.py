"""`ratatoskr receipt`, offline."""

from __future__ import annotations

from pathlib import Path

import pytest

from ratatoskr import armour, dearmour
from ratatoskr.identity import Block
from tests.scenarios.cli.shell import Sandbox, inside, ok, payment


@pytest.fixture(scope="module")
def receipt(served: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("receipts") / "payment.receipt"
    assert served.call("PAYMENT_AUTHORIZE", payment("proof"), "--receipt", path).code == 0
    return path


def test_a_receipt_is_verified_offline(served: Sandbox, receipt: Path) -> None:
    for trust in (("--trust", served.home / "roots.pem"), ("--config", served.home / "device.toml")):
        assert "Verified: localhost (SERVER) said exactly this." in ok("receipt", "verify", receipt, *trust).out
    verified = ok("receipt", "verify", receipt, "--trust", served.home / "roots.pem", "--json").json
    assert (verified["verified"], verified["said_by"], verified["kind"]) == (True, "localhost", "PAYMENT_AUTHORIZE")
    assert verified["payload"]["end_to_end_id"] == "proof"


def test_a_receipt_is_shown_and_not_believed(receipt: Path) -> None:
    shown = ok("receipt", "show", receipt).out
    assert "Nothing of this is verified" in shown
    assert '"end_to_end_id": "proof"' in shown
    assert ok("receipt", "show", receipt, "--json").json["what"] == "answer"


def test_a_receipt_of_a_deferred_answer(served: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "search.receipt"
    assert served.call("MARKETPLACE_SEARCH", {"query": "tea"}, "--receipt", path).code == 0
    ok("receipt", "verify", path, "--trust", served.home / "roots.pem")


def test_no_receipt_of_a_failure_stays_behind(served: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "x.receipt"
    served.call("PAYMENT_AUTHORIZE", payment("x", "1000.01 EUR"), "--receipt", path).failed(6)
    assert not path.exists()


def test_the_bytes_of_a_receipt_alone_need_the_signers_certificate(
    served: Sandbox, receipt: Path, tmp_path: Path
) -> None:
    blocks = dearmour(receipt.read_bytes())
    bare = tmp_path / "bare.receipt"
    bare.write_bytes(blocks[0].data)
    trust = ("--trust", served.home / "roots.pem")
    inside("receipt", "verify", bare, *trust).failed(2, "--certificate FILE")
    chain = tmp_path / "server.pem"
    text = receipt.read_bytes()
    chain.write_bytes(text[text.index(b"-----BEGIN RATATOSKR CERTIFICATE") :])
    ok("receipt", "verify", bare, *trust, "--certificate", chain)
    inside("receipt", "verify", bare, *trust, "--certificate", served.home / "device.toml").failed(1, "device.toml")


def test_a_changed_receipt_is_refused(served: Sandbox, receipt: Path, tmp_path: Path) -> None:
    blocks = dearmour(receipt.read_bytes())
    data = bytearray(blocks[0].data)
    data[len(data) // 2] ^= 1  # in the envelope
    changed = tmp_path / "changed.receipt"
    changed.write_bytes(armour([Block(blocks[0].label, bytes(data)), *blocks[1:]]))
    ended = inside("receipt", "verify", changed, "--trust", served.home / "roots.pem")
    ended.failed(1, "DOES NOT VERIFY", "receipt.signature")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", ["receipt.field"]), (b"# nothing\n", ["holds no receipt"]), (b"\0" * 40, ["receipt.malformed"])],
)
def test_what_is_no_receipt(tmp_path: Path, content: bytes, words: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    inside("receipt", "show", path).failed(1, *words)


def test_a_receipt_under_another_root_is_refused(receipt: Path, tmp_path: Path) -> None:
    ok("dev", "init", tmp_path / "other")
    ended = inside("receipt", "verify", receipt, "--trust", tmp_path / "other" / "roots.pem")
    ended.failed(1, "DOES NOT VERIFY", "localhost")


@pytest.mark.parametrize(("moment", "code"), [("2001-01-01", 1), ("2001-01-01T00:00:00+00:00", 1), ("soon", 2)])
def test_a_receipt_is_judged_at_a_time(served: Sandbox, receipt: Path, moment: str, code: int) -> None:
    assert inside("receipt", "verify", receipt, "--trust", served.home / "roots.pem", "--at", moment).code == code
