"""`ratatoskr call` against a sandbox."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ratatoskr import Role
from ratatoskr.testing import Authority
from tests.scenarios.cli.shell import SCRIPT, Sandbox, inside, ok, payment, run


def test_an_answer_is_json(served: Sandbox) -> None:
    ended = served.call("marketplace_search", {"query": "tea"})
    assert ended.code == 0
    assert ended.err == ""
    (offer,) = ended.json["offers"]
    assert offer["offer_id"] == "tea"
    assert ended.json["next_page_token"] == ""


def test_a_payload_comes_from_the_line_a_file_or_standard_input(served: Sandbox, tmp_path: Path) -> None:
    text = json.dumps({"query": "mug"})
    file = tmp_path / "search.json"
    file.write_text(text, encoding="utf-8")
    base = ("--config", served.home / "device.toml", "--url", served.url)
    answers = [ok("call", "MARKETPLACE_SEARCH", payload, *base, stdin=text).json for payload in (text, f"@{file}", "-")]
    assert answers[0]["offers"]
    assert answers == [answers[0]] * 3


def test_the_same_payment_twice_is_paid_once(served: Sandbox, tmp_path: Path) -> None:
    first = served.call("PAYMENT_AUTHORIZE", payment("twice"), "--json").json
    second = served.call("PAYMENT_AUTHORIZE", payment("twice"), "--json").json
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert first["answer"] == second["answer"]
    assert "replayed: " in served.call("PAYMENT_AUTHORIZE", payment("twice")).err
    served.call("PAYMENT_AUTHORIZE", payment("twice", "4.91 EUR")).failed(6, "CONFLICT", "another request")
    error = served.call("PAYMENT_AUTHORIZE", payment("twice", "4.91 EUR"), "--json").json["error"]
    assert (error["reason"], error["disposition"]) == ("CONFLICT", "FAILED")


def test_a_refusal_names_the_fields(served: Sandbox) -> None:
    ended = served.call("PAYMENT_AUTHORIZE", payment("bad id!", creditor_account="no such"), "--json")
    ended.failed(4, "end_to_end_id", "creditor_account", "Nothing was done")
    assert {each["field"] for each in ended.json["error"]["violations"]} == {"end_to_end_id", "creditor_account"}


@pytest.mark.parametrize(
    ("kind", "payload", "code", "words"),
    [
        ("PAYMENT_AUTHORIZE", {}, 2, ["set end_to_end_id in the message"]),
        ("PAYMENT_AUTHORIZE", payment("", "4.90 EUR"), 2, ["set end_to_end_id"]),
        ("PAYMENT_AUTHORIZE", payment("x", "4.90"), 2, ["amount", "49.90 EUR"]),
        ("PAYMENT_AUTHORIZE", {"creditor_acount": "x"}, 2, ["creditor_acount", "did you mean creditor_account?"]),
        ("MARKETPLACE_ORDER", {"lines": [{"offer": 1}]}, 2, ["lines[0].offer", "did you mean offer_id?"]),
        ("MARKETPLACE_SEARCH", {"zzz": 1}, 2, ["zzz", "it has query, filters"]),
        ("MARKETPLACE_SEARCH", {"page_size": "many"}, 2, ["Search", "page_size"]),
        ("MARKETPLACE_SEARCH", {"page_size": -1}, 2, ["Search", "page_size"]),
        ("MARKETPLACE_SEARCH", [], 2, ["JSON object"]),
        ("MARKETPLACE_SEARCH", {"page_size": 51}, 4, ["page_size"]),
        ("MARKET", {}, 2, ["no kind 'MARKET'", "MARKETPLACE_SEARCH"]),
        ("PAYMENT_AUTHORIZE", payment("much", "1000.01 EUR"), 6, ["INSUFFICIENT_FUNDS", "1,000.01 EUR are needed"]),
        ("MARKETPLACE_PUBLISH", {"publication_id": "p", "offer_id": "o", "title": "t", "price": "1 EUR"}, 4, ["ROLE"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    served: Sandbox, kind: str, payload: object, code: int, words: list[str]
) -> None:
    served.call(kind, payload).failed(code, *words)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "{} {}", "nothing"])
def test_text_that_is_not_json(dev: Path, text: str) -> None:
    inside("call", "MARKETPLACE_SEARCH", "-", "--config", dev / "device.toml", stdin=text).failed(2, "not JSON")


def test_a_key_where_the_message_has_its_own(served: Sandbox) -> None:
    served.call("PAYMENT_AUTHORIZE", payment("k"), "--key", "k").failed(2, "end_to_end_id")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--config", "{dev}/device.toml", "--url", "ws://127.0.0.1:1"], 3, ["Cannot reach ws://127.0.0.1:1"]),
        (["--config", "{dev}/device.toml", "--url", "http://x"], 1, ["no WebSocket URL"]),
        (["--config", "{dev}/device.toml", "--url", "{url}", "--server-name", "else"], 3, ["--server-name localhost"]),
        (["--config", "{dev}/server.toml", "--url", "{url}"], 1, ["server.toml", "role SERVER"]),
        (["--config", "{dev}/nothing.toml"], 1, ["nothing.toml", "No such file"]),
        (["--config", "{dev}/roots.pem"], 1, ["roots.pem", "is not TOML"]),
        (["--config", "{dev}/device.toml", "--url", "{url}", "--receipt", "{dev}/roots.pem"], 1, ["not overwritten"]),
        (["--config", "{dev}/device.toml", "--url", "{url}", "--receipt", "{dev}/no/where"], 1, ["No such file"]),
    ],
)
def test_who_and_where(served: Sandbox, options: list[str], code: int, words: list[str]) -> None:
    filled = [each.format(dev=served.home, url=served.url) for each in options]
    inside("call", "MARKETPLACE_SEARCH", "{}", *filled).failed(code, *words)


def test_an_expired_identity_says_so(tmp_path: Path) -> None:
    authority = Authority(now=time.time())
    old = authority.issue(Role.DEVICE, "till-1", not_before=1.0, not_after=time.time() - 1)
    key = tmp_path / "till.key"
    key.touch(mode=0o600)
    key.write_bytes(old.to_bytes())
    config = tmp_path / "till.toml"
    config.write_text('identity = "till.key"\n', encoding="utf-8")
    inside("call", "MARKETPLACE_SEARCH", "{}", "--config", config, "--url", "ws://x").failed(1, "till-1", "expired at")


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        ("MARKETPLACE_SEARCH", {}, 0),
        ("MARKETPLACE_SEARCH", {"x": 1}, 2),
        ("MARKETPLACE_SEARCH", {"page_size": 51}, 4),
        ("PAYMENT_AUTHORIZE", payment("much", "1000.01 EUR"), 6),
    ],
)
def test_the_script_ends_with_the_code(served: Sandbox, kind: str, payload: object, code: int) -> None:
    target = ("--config", served.home / "device.toml", "--url", served.url)
    ended = run("call", kind, json.dumps(payload), *target)
    if code:
        ended.failed(code)
    else:
        assert (ended.code, ended.err) == (0, "")


def test_a_closed_pipe_is_no_error(dev: Path) -> None:
    command = f"{SCRIPT} kinds --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"[", b"")


def test_an_interrupted_call_leaves_no_receipt(dev: Path, tmp_path: Path) -> None:
    """A server that takes connections and says nothing."""
    path = tmp_path / "x.receipt"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = ("--config", str(dev / "device.toml"), "--url", f"ws://127.0.0.1:{silent.getsockname()[1]}")
        command = [SCRIPT, "call", "MARKETPLACE_SEARCH", *target, "--receipt", str(path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process, silent.accept()[0] as line:
            line.recv(1)
            assert path.exists()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == b""
    assert not path.exists()
