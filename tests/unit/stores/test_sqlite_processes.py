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
from tests.unit.stores.support import HELD, KEEP, Blocking, claim, create, effects

CHILD = """
import os
import sys
from ratatoskr_stores import SqliteStore, SubjectFull
from tests.unit.service.support import run
from tests.unit.stores.support import KEEP, NOW, OUTCOME, Blocking, claim

def say(text):
    print(text, flush=True)

path, task = sys.argv[1:]
with SqliteStore(path, wait=Blocking, busy_timeout=30) as store:
    say("ready")
    sys.stdin.readline()
    if task == "race":
        won = [n for n in range(100) if run(store.claim(claim(bytes([n]), owner=task.encode()))) is None]
        say(len(won))
    elif task == "inherit":
        me = f"heir {os.getpid()}".encode()
        heirs = [claim(bytes([n]), owner=me) for n in range(100)]
        seen = [run(store.claim(each)) for each in heirs]
        say("seen")
        sys.stdin.readline()
        say(sum(run(store.take_over(each, entry)) for each, entry in zip(heirs, seen, strict=True)))
    elif task == "fill":
        won = 0
        for n in range(50):
            try:
                won += run(store.claim(claim(os.urandom(16)), per_subject=60)) is None
            except SubjectFull:
                pass
        say(won)
    elif task == "slow":
        run(store.claim(claim()))
        say("claimed")
        sys.stdin.readline()
        transaction = store.begin(claim())
        run(transaction.start())
        run(transaction.run(lambda db: db.execute("INSERT INTO effects VALUES ('slow')")))
        say(run(transaction.commit(OUTCOME, keep_until=KEEP, now=NOW)))
        say(run(store.complete(claim(), OUTCOME, keep_until=KEEP)))
        say(run(store.release(claim())))
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


def all_together(path: Path, task: str, *steps: str, count: int = 4) -> list[int]:
    """Let processes take each step at the same moment; what each says in the end."""
    processes = [child(path, task) for _ in range(count)]
    try:
        for step in ("ready", *steps):
            for process in processes:
                assert said(process) == step
            for process in processes:
                nudge(process)
        return [int(said(process)) for process in processes]
    finally:
        for process in processes:
            process.communicate(timeout=30)


def test_of_several_processes_one_gets_each_key(path: Path) -> None:
    """They open a new file at the same moment too."""
    assert sum(all_together(path, "race")) == 100


def test_of_several_processes_one_takes_over_each_dead_claim(path: Path) -> None:
    with SqliteStore(path, wait=Blocking) as store:
        for n in range(100):
            run(store.claim(claim(bytes([n]))))
        assert sum(all_together(path, "inherit", "seen")) == 100
        owners = [run(store.claim(claim(bytes([n])))) for n in range(100)]
        assert all(entry is not None and entry.owner.startswith(b"heir ") for entry in owners)


def test_several_processes_keep_to_one_quota(path: Path) -> None:
    assert sum(all_together(path, "fill")) == 60


def test_an_owner_that_was_only_slow_cannot_store_anything(path: Path) -> None:
    """It stood still until its lease was over, and another process took its claim over, before its transaction."""
    with SqliteStore(path, wait=Blocking) as store:
        run(store.run(create))
        slow = child(path, "slow")
        try:
            assert said(slow) == "ready"
            nudge(slow)
            assert said(slow) == "claimed"
            heir = claim(owner=b"heir")
            assert run(store.take_over(heir, HELD))
            nudge(slow)
            assert [said(slow) for _ in range(3)] == ["False"] * 3
        finally:
            slow.communicate(timeout=30)
        assert run(store.run(effects)) == []
        assert run(store.complete(heir, b"the heir's", keep_until=KEEP))


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
