import re
from pathlib import Path

import pytest

from ratatoskr_cli import demo
from tests.scenarios.cli.shell import Flip, Sandbox, inside, ok, run
from tests.scenarios.cli.terminal import ERASE, on_a_terminal

STEPS = 15
WHAT = 40
"""The width of a step's name."""


def through(proxy_url: str, home: Path) -> tuple[object, ...]:
    return ("demo", "--url", proxy_url, "--config-dir", home)


def test_a_stranger_watches_a_sale() -> None:
    shown = ok("demo").out
    assert shown.count(" ✓ ") == STEPS
    assert "✗" not in shown
    for words in (
        "40 receipts, sealed after delivery",
        "server stopped at 8",
        "replayed",
        "refused: CONFLICT",
        "buyer 922.00, seller 78.00 EUR",
        "audited row by row",
        "3 of 3 offers, 3 receipts, a new call refused, clean end",
    ):
        assert words in shown
    assert re.search(r"1\d\d receipts verified offline", shown)
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) < 130


def test_a_program_reads_a_line_for_each_step() -> None:
    begin, *steps, end = ok("demo", "--json").lines
    assert begin["demo"].startswith("ws://127.0.0.1:")
    assert [step["step"] for step in steps] == list(range(1, STEPS + 1))
    assert all(step["ok"] and step["verified"] for step in steps)
    assert end["ok"]
    assert end["steps"] == STEPS
    assert end["receipts"] >= 100


def test_the_client_part_alone_as_often_as_you_like(served: Sandbox) -> None:
    for _ in range(2):
        ended = ok(*through(served.url, served.home))
        assert ended.out.count(" ✓ ") == STEPS
        assert "the server's sealed word" in ended.out


def test_an_honest_proxy_changes_nothing(served: Sandbox) -> None:
    proxy = Flip(port(served))
    with proxy.running() as url:
        ok(*through(url, served.home))
    assert min(proxy.most.values()) > 9000


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("offset", [1, 8, 300, 1400, 1900, 2500, 3500, 9000])
def test_one_changed_bit_fails_the_demo_and_it_says_so(served: Sandbox, way: str, offset: int) -> None:
    proxy = Flip(port(served), **{way: offset})
    with proxy.running() as url:
        ended = run(*through(url, served.home))
    assert proxy.flipped
    ended.failed(1, "demo failed: ")
    assert re.search("tampered with or cut on the way|bytes were changed on the way", ended.err)
    assert " ✗ " in ended.out
    assert "Paid once" not in ended.out


def test_a_changed_bit_is_told_to_programs_too(served: Sandbox) -> None:
    with Flip(port(served), down=2500).running() as url:
        ended = run(*through(url, served.home), "--json")
    ended.failed(1, "demo failed: ")
    last = ended.lines[-1]
    assert not last["ok"]
    assert "on the way" in last["error"]


def test_a_demo_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PATIENCE_SECONDS", 0.01)
    inside("demo").failed(1, "demo failed: it took too long")


def test_a_terminal_shows_the_step_that_is_under_way_and_how_far_it_is() -> None:
    steps = [line.split(ERASE) for line in on_a_terminal("demo") if " ✓ " in line]
    assert len(steps) == STEPS
    for *drafts, done in steps:
        assert done.startswith(" ✓ ")
        assert {draft[: len(" · ") + WHAT] for draft in drafts} == {done[: len(" ✓ ") + WHAT].replace("✓", "·")}
    (browse,) = (drafts for *drafts, done in steps if "browses" in done)
    progress = [draft[len(" · ") + WHAT :] for draft in browse]
    assert progress[:2] == ["", "1 of 40"]


def test_nobody_is_there(dev: Path) -> None:
    run(*through("ws://127.0.0.1:1", dev)).failed(1, "demo failed: Cannot reach ws://127.0.0.1:1")


def test_another_platform_is_not_believed(served: Sandbox, tmp_path: Path) -> None:
    ok("dev", "init", tmp_path / "other")
    run(*through(served.url, tmp_path / "other")).failed(1, "demo failed: ", "no authenticated connection")


@pytest.mark.parametrize("option", ["--url=ws://127.0.0.1:1", "--config-dir=dev"])
def test_half_a_target_is_none(option: str) -> None:
    run("demo", option).failed(2, "--url and --config-dir belong together")


def port(served: Sandbox) -> int:
    return int(served.url.rpartition(":")[2])
