"""Several processes on one SQLite file: races, and a kill between claim and outcome."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from ratatoskr_stores import SqliteStore
from ratatoskr_stores.database import _write_ahead
from tests.unit.service.support import run
from tests.unit.stores.support import HELD, Blocking, claim, create, effects

CHILD = """
import sys
from ratatoskr_stores import SqliteStore
from tests.unit.service.support import run
from tests.unit.stores.support import Blocking, claim

def say(text):
    print(text, flush=True)

path, task = sys.argv[1:]
with SqliteStore(path, wait=Blocking, busy_timeout=30) as store:
    say("ready")
    sys.stdin.readline()
    if task == "race":
        won = [n for n in range(100) if run(store.claim(claim(bytes([n]), owner=task.encode()))) is None]
        say(len(won))
    elif task == "claim":
        say(run(store.claim(claim())))
        sys.stdin.readline()
    elif task == "effect":
        run(store.claim(claim()))
        transaction = store.begin(claim())
        run(transaction.start())
        run(transaction.run(lambda db: db.execute("INSERT INTO effects VALUES ('lost')")))
        say("done")
        sys.stdin.readline()
"""
ROOT = Path(__file__).parents[3]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "once.db"


def child(path: Path, task: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), task],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def nudge(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_several_processes_one_gets_each_key(path: Path) -> None:
    """They open a new file at the same moment too."""
    processes = [child(path, "race") for _ in range(4)]
    try:
        for process in processes:
            assert said(process) == "ready"
        for process in processes:
            nudge(process)
        assert sum(int(said(process)) for process in processes) == 100
    finally:
        for process in processes:
            process.communicate(timeout=30)


def killed_after(path: Path, task: str, *expected: str) -> None:
    """Run the task in a process and kill it where it has said what is expected."""
    process = child(path, task)
    try:
        assert said(process) == "ready"
        nudge(process)
        assert [said(process) for _ in expected] == list(expected)
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_claim_outlives_the_process_that_made_it(path: Path) -> None:
    killed_after(path, "claim", "None")
    with SqliteStore(path, wait=Blocking) as store:
        assert run(store.claim(claim(owner=b"next"))) == HELD


def test_a_process_that_dies_in_its_transaction_leaves_the_claim_alone(path: Path) -> None:
    with SqliteStore(path, wait=Blocking) as store:
        run(store.run(create))
        killed_after(path, "effect", "done")
        assert run(store.run(effects)) == []
        assert run(store.claim(claim(owner=b"next"))) == HELD


def test_another_process_that_writes_for_too_long_is_an_error(path: Path) -> None:
    with SqliteStore(path, wait=Blocking, busy_timeout=0.02) as impatient:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            run(impatient.claim(claim()))
        db.close()
        assert run(impatient.claim(claim())) is None


class Contested:
    """A connection whose journal cannot be changed before some other process is done."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def execute(self, statement: str) -> None:
        if self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error


def test_two_processes_that_make_a_new_file_do_not_fail_each_other() -> None:
    db: Any = Contested(refusals=3)
    _write_ahead(db, monotonic() + 60)
    assert db.refusals == 0
    db.refusals = 1
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        _write_ahead(db, monotonic())
