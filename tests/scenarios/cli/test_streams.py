"""`ratatoskr call` for a stream: lines as they come, slow readers, Ctrl-C, progress on a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from ratatoskr import Limits
from tests.scenarios.cli.browsing import EVERYTHING, OFFERS, activity, command, reading
from tests.scenarios.cli.shell import SECONDS, Sandbox
from tests.scenarios.cli.terminal import ENVIRONMENT, ERASE, shown_on, terminal


def test_an_item_is_a_line(shop: Sandbox) -> None:
    ended = shop.call("MARKETPLACE_BROWSE", EVERYTHING)
    assert (ended.code, ended.err) == (0, "")
    assert [item["offer"]["offer_id"] for item in ended.lines] == [f"zz-{number}" for number in range(OFFERS)]
    assert [(item["found"], item["total"]) for item in ended.lines] == [(n + 1, OFFERS) for n in range(OFFERS)]


def test_programs_read_how_it_ended(shop: Sandbox) -> None:
    *items, end = shop.call("marketplace_browse", {**EVERYTHING, "limit": 2}, "--json").lines
    assert [(item["kind"], item["index"], item["item"]["found"]) for item in items] == [
        ("MARKETPLACE_BROWSE", 0, 1),
        ("MARKETPLACE_BROWSE", 1, 2),
    ]
    assert end == {"kind": "MARKETPLACE_BROWSE", "ended": "complete", "items": 2}


def test_nothing_found_is_no_line(shop: Sandbox) -> None:
    ended = shop.call("MARKETPLACE_BROWSE", {"query": "nothing of the kind"})
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    (end,) = shop.call("MARKETPLACE_BROWSE", {"query": "nothing of the kind"}, "--json").lines
    assert end == {"kind": "MARKETPLACE_BROWSE", "ended": "complete", "items": 0}


def test_a_failure_is_told_like_that_of_any_call(shop: Sandbox) -> None:
    dear = {"max_price": {"currency": "EUR", "nanos": 1}}
    shop.call("MARKETPLACE_BROWSE", dear).failed(6, "AMOUNT_NOT_EXACT", "max_price")
    (end,) = shop.call("MARKETPLACE_BROWSE", dear, "--json").lines
    assert (end["ended"], end["items"], end["error"]["reason"]) == ("failed", 0, "AMOUNT_NOT_EXACT")
    shop.call("MARKETPLACE_BROWSE", {"limit": 10_001}).failed(4, "limit", "Nothing was done")


def test_a_receipt_is_for_a_single_answer(shop: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "x.receipt"
    shop.call("MARKETPLACE_BROWSE", EVERYTHING, "--receipt", path).failed(2, "is a stream", "leave --receipt out")
    assert not path.exists()


def test_who_reads_slowly_slows_the_server_down(shop: Sandbox) -> None:
    with reading(shop, "--json") as slow:
        first = slow.line()
        assert activity(shop) == (1, Limits().stream_credit)
        *items, end = first, *slow.rest()
        assert [item["index"] for item in items] == list(range(OFFERS))
        assert end["ended"] == "complete"
        assert slow.end() == (0, "")
    assert activity(shop) == (0, OFFERS)


def test_time_that_runs_out_is_told_behind_what_has_come(shop: Sandbox) -> None:
    with reading(shop, "--json", "--timeout", "2") as slow:
        first = slow.line()
        while activity(shop)[0]:  # the server gives up at its caller's deadline
            pass
        *items, end = first, *slow.rest()
        assert (end["ended"], end["items"], end["error"]["reason"]) == ("failed", len(items), "TIMEOUT")
        code, said = slow.end()
    assert 0 < len(items) < OFFERS
    assert code == 5
    assert said.rstrip().endswith(f"(after {len(items)} of {OFFERS})")


def test_ctrl_c_cancels_the_call_and_says_so(shop: Sandbox) -> None:
    with reading(shop) as slow:
        slow.line()
        slow.process.send_signal(signal.SIGINT)
        code, said = slow.end()  # also where nobody reads on
        count = 1 + len(slow.rest())
    assert code == 130
    assert said == f"ratatoskr: MARKETPLACE_BROWSE: interrupted after {count} of {OFFERS}; the call was cancelled\n"
    running, sent = activity(shop)
    assert running == 0
    assert sent < OFFERS
    assert not left_uncleanly(shop)


def test_programs_read_that_it_was_interrupted(shop: Sandbox) -> None:
    with reading(shop, "--json") as slow:
        first = slow.line()
        slow.process.send_signal(signal.SIGINT)
        *items, end = first, *slow.rest()
        assert slow.end()[0] == 130
    assert end == {"kind": "MARKETPLACE_BROWSE", "ended": "interrupted", "items": len(items)}


def test_a_reader_who_has_seen_enough_cancels_the_call(shop: Sandbox) -> None:
    with reading(shop) as slow:
        slow.line()
        slow.close()
        assert slow.end() == (0, "")
    running, sent = activity(shop)
    assert running == 0
    assert sent < OFFERS
    assert not left_uncleanly(shop)


def left_uncleanly(shop: Sandbox) -> list[str]:
    log = (shop.home / "server.log").read_text(encoding="utf-8")
    return [line for line in log.splitlines() if " closed: " in line and " CLEAN " not in line]


def test_a_terminal_shows_how_far_it_is(shop: Sandbox) -> None:
    with (
        terminal() as (ours, theirs),
        subprocess.Popen(command(shop), stdout=subprocess.PIPE, stderr=theirs, env=ENVIRONMENT) as process,
    ):
        os.close(theirs)
        assert process.stdout is not None
        items = process.stdout.read().decode().splitlines()
        shown = shown_on(ours)
        assert process.wait(SECONDS) == 0
    assert [json.loads(item)["found"] for item in items] == list(range(1, OFFERS + 1))
    counts = re.findall(rf"(\d+) of {OFFERS}", shown)
    assert counts[0] == "1"
    assert counts[-1] == str(OFFERS)
    assert shown.endswith("\r\n")
    assert shown.count(ERASE) == len(counts) - 1


def test_progress_and_items_share_a_terminal(shop: Sandbox) -> None:
    with (
        terminal() as (ours, theirs),
        subprocess.Popen(command(shop), stdout=theirs, stderr=theirs, env=ENVIRONMENT) as process,
    ):
        os.close(theirs)
        lines = [line.rpartition(ERASE)[2] for line in shown_on(ours).split("\r\n")]
        assert process.wait(SECONDS) == 0
    assert [json.loads(item)["found"] for item in lines[:-2]] == list(range(1, OFFERS + 1))
    assert lines[-2:] == [f"\x1b[2m{OFFERS} of {OFFERS}\x1b[0m", ""]


def test_a_terminal_that_cannot_take_a_line_back_shows_no_progress(shop: Sandbox) -> None:
    dumb = {**ENVIRONMENT, "TERM": "dumb"}
    with (
        terminal() as (ours, theirs),
        subprocess.Popen(command(shop), stdout=subprocess.DEVNULL, stderr=theirs, env=dumb) as process,
    ):
        os.close(theirs)
        assert shown_on(ours) == ""
        assert process.wait(SECONDS) == 0
