"""A process dies once, at its point and at its count, and a write is a write."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ratatoskr import MARKETPLACE_SEARCH, Connection, RequestReceived, v1
from ratatoskr.testing import Pair
from tests.proof.fate import DEATHS, Fate, ServerPoint, append, watch_writes
from tests.proof.history import lines


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *kill: made.append(kill))
    return made


def test_a_process_kills_itself_at_its_count(tmp_path: Path, kills: list[tuple[int, int]]) -> None:
    fate = Fate(tmp_path, "server", 7, "after-claim:2")
    fate.reach(ServerPoint.AFTER_EFFECT)
    fate.reach(ServerPoint.AFTER_CLAIM, nonce=b"\1")
    assert kills == []
    fate.reach(ServerPoint.AFTER_CLAIM, nonce=b"\2")
    assert kills == [(os.getpid(), signal.SIGKILL)]
    [death] = lines(tmp_path / DEATHS)
    assert {**death, "at": 0} == {
        "who": "server",
        "life": 7,
        "point": "after-claim",
        "at": 0,
        "key": "",
        "nonce": "02",
    }


def test_who_has_no_doom_lives(tmp_path: Path, kills: list[tuple[int, int]]) -> None:
    fate = Fate(tmp_path, "server", 1)
    for point in ServerPoint:
        fate.reach(point)
    assert kills == []
    assert list(lines(tmp_path / DEATHS)) == []


def test_a_line_without_an_end_was_not_written(tmp_path: Path) -> None:
    path = tmp_path / "history"
    append(path, {"a": 1})
    append(path, {"b": 2})
    with path.open("ab") as file:
        file.write(json.dumps({"c": 3}).encode())
    assert list(lines(path)) == [{"a": 1}, {"b": 2}]


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the test, connections are as they were."""
    for name in ("respond", "poll", "sent"):
        monkeypatch.setattr(Connection, name, getattr(Connection, name))


@pytest.mark.usefixtures("unwatched")
def test_an_answer_is_written_when_its_driver_says_so() -> None:
    written: list[Any] = []
    pair = Pair()
    pair.open()
    watch_writes("respond", lambda id, message: message.next_page_token, written.append)
    for name in (b"first", b"second"):
        pair.client.connection.request(MARKETPLACE_SEARCH, v1.Search(query="seeds"))
        pair.run()
        pair.server.holds_writes = True
        pair.server.connection.respond(pair.server.take(RequestReceived).id, v1.SearchResult(next_page_token=name))
        pair.run()
        assert name not in written
        pair.server.holds_writes = False
        pair.run()
        assert written[-1] == name
    assert written == [b"first", b"second"]
