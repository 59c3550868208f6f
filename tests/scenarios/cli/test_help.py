"""Help, versions, wrong command lines, kinds."""

from __future__ import annotations

import json
import re

import pytest

from ratatoskr import STANDARD_KINDS, __version__
from ratatoskr_cli.client import KINDS
from ratatoskr_cli.exits import Exit
from ratatoskr_cli.payloads import payload_of
from tests.scenarios.cli.shell import ok, run

COMMANDS = [
    "demo",
    "dev init",
    "keygen",
    "cert request",
    "cert issue",
    "cert install",
    "cert show",
    "serve",
    "call",
    "kinds",
    "receipt show",
    "receipt verify",
]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_explains_itself(command: str) -> None:
    ended = ok(*command.split(), "--help")
    assert ended.out.startswith(f"usage: ratatoskr {command}".strip())
    assert ended.err == ""
    assert max(map(len, ended.out.splitlines())) <= 120


@pytest.mark.parametrize("command", ["demo", "dev init", "keygen", "cert", "serve", "call", "kinds", "receipt"])
def test_help_has_examples(command: str) -> None:
    assert "examples:\n  ratatoskr " in ok(*command.split(), "--help").out


def test_help_documents_the_exit_codes() -> None:
    for ended in (ok("--help"), ok("call", "--help")):
        assert re.findall(r"^ +(\d+)  ", ended.out, re.MULTILINE) == [str(int(code)) for code in Exit]


def test_version() -> None:
    assert ok("--version").out == f"ratatoskr {__version__}\n"


@pytest.mark.parametrize(
    "line",
    [
        "serve --config x --port 65536",
        "serve --config x --port -1",
        "",
        "dev",
        "cert",
        "receipt",
        "buy",
        "call",
        "serve",
        "demo --jsn",
        "receipt verify x",
    ],
)
def test_a_wrong_command_line_ends_with_two_and_shows_the_usage(line: str) -> None:
    ended = run(*line.split())
    assert ended.code == 2
    assert ended.err.startswith("usage: ratatoskr")
    assert "Traceback" not in ended.err


def test_kinds_lists_what_can_be_asked() -> None:
    shown = ok("kinds").out
    for kind in STANDARD_KINDS:
        assert kind.name in shown
    assert "SANDBOX_STATEMENT" in shown
    assert "lines[] {offer_id, quantity, unit_price}" in shown
    assert "\nSANDBOX_ACTIVITY  1000/2, sealed\n  asks     nothing\n" in shown


def test_kinds_shows_which_is_a_stream() -> None:
    streams = [kind.name for kind in KINDS if kind.stream]
    assert [known["name"] for known in ok("kinds", "--json").json if known["stream"]] == streams
    shown = ok("kinds").out
    assert re.findall(r"^(\w+)  \d+/\d+, a stream, ", shown, re.MULTILINE) == streams
    assert len(re.findall(r"^  streams  ", shown, re.MULTILINE)) == len(streams)
    assert "  streams  offer {offer_id, " in shown


@pytest.mark.parametrize(("kind", "label"), [("MARKETPLACE_BROWSE", "items"), ("MARKETPLACE_SEARCH", "answer")])
def test_a_kind_shows_whether_its_answer_comes_in_items(kind: str, label: str) -> None:
    shown = ok("kinds", kind).out
    assert re.findall(r"^  (items|answer): ", shown, re.MULTILINE) == [label]
    assert ("a stream" in shown) == (label == "items")


def test_examples_are_understood() -> None:
    for known in ok("kinds", "--json").json:
        message = payload_of(KINDS.by_name(known["name"]), json.dumps(known["example"]))
        assert list(known["example"]) == [each.name for each in message.DESCRIPTOR.fields]


def test_a_kind_shows_its_fields_and_an_example() -> None:
    shown = ok("kinds", "marketplace_order").out
    assert re.search(r"^    unit_price +Money", shown, re.MULTILINE)
    example = re.search(r"ratatoskr call MARKETPLACE_ORDER '(.*)'", shown)
    assert example is not None
    assert list(json.loads(example[1])) == ["order_id", "provider_id", "lines"]
