"""`ratatoskr serve`: what it says, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.scenarios.cli.browsing import OFFERS, reading, stock
from tests.scenarios.cli.shell import SCRIPT, Ended, Sandbox, payment, run, sandbox


def test_serve_says_where_and_what(served: Sandbox) -> None:
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+", served.announced["listening"])
    assert "SANDBOX_STATEMENT" in served.announced["kinds"]
    assert served.announced["names"] == ["localhost", "yggdrasil"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ["for development", "--dev"]),
        (["--host", "::"], ["for development", "--dev"]),
        (["--db", "{dev}/roots.pem"], ["roots.pem", "not a database", "--db"]),
        (["--db", "{dev}/no/where"], ["unable to open database file", "--db"]),
        (["--port", "{taken}"], ["cannot listen on 127.0.0.1", "--port"]),
    ],
)
def test_serve_refuses(served: Sandbox, tmp_path: Path, options: list[str], words: list[str]) -> None:
    taken = served.url.rpartition(":")[2]
    filled = [each.format(dev=served.home, taken=taken) for each in options]
    extra = [] if "--db" in options else ["--db", tmp_path / "x.sqlite"]
    extra += [] if "--port" in options else ["--port", "0"]
    run("serve", "--config", served.home / "server.toml", *filled, *extra).failed(1, *words)


def test_serve_is_for_servers(dev: Path) -> None:
    run("serve", "--config", dev / "device.toml").failed(1, "role DEVICE")


def test_development_identities_off_loopback_when_told(dev: Path, tmp_path: Path) -> None:
    with sandbox(dev, "--host", "0.0.0.0", "--dev", "--db", tmp_path / "x.sqlite") as running:
        assert running.announced["listening"].startswith("ws://0.0.0.0:")
        assert running.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(dev: Path, tmp_path: Path, number: signal.Signals) -> None:
    with sandbox(dev, "--db", tmp_path / "x.sqlite") as running:
        os.kill(running.process.pid, number)
        assert running.process.wait(30) == 0
    assert "Traceback" not in (dev / "server.log").read_text(encoding="utf-8")


def test_a_signal_lets_what_was_asked_complete(dev: Path, tmp_path: Path) -> None:
    answers: list[Ended] = []
    with sandbox(dev, "--db", tmp_path / "x.sqlite") as running:
        command, target = ("call", "PAYMENT_AUTHORIZE"), ("--config", dev / "device.toml", "--url", running.url)
        clients = [
            threading.Thread(target=lambda n=n: answers.append(run(*command, json.dumps(payment(f"d-{n}")), *target)))
            for n in range(4)
        ]
        for each in clients:
            each.start()
        clients[0].join()
        assert running.stop() == 0
        for each in clients:
            each.join()
    # Answered, or surely not asked: nobody is left wondering.
    assert {answer.code for answer in answers} <= {0, 3, 4}
    assert answers[0].code == 0


def test_a_drained_server_completes_what_is_open_and_says_so(dev: Path, tmp_path: Path) -> None:
    with sandbox(dev, "--db", tmp_path / "x.sqlite") as running:
        stock(running)
        with reading(running) as slow:
            slow.line()
            running.process.terminate()
            assert running.says() == {"draining": "SIGTERM", "open": 1, "clients": 1}
            running.call("SANDBOX_ACTIVITY", {}).failed(3, "Cannot reach")
            assert len(slow.rest()) == OFFERS - 1
            assert slow.end() == (0, "")
        end = running.says()
        assert running.process.wait(30) == 0
    assert end.pop("seconds") < 30
    assert end == {"stopped_by": "SIGTERM", "completed": 1, "stopped": 0, "clients": 1, "clean": 1, "cut": 0}


def test_a_second_signal_waits_for_nobody_and_says_so(dev: Path, tmp_path: Path) -> None:
    with sandbox(dev, "--db", tmp_path / "x.sqlite") as running:
        stock(running)
        with reading(running, "--json") as slow:
            first = slow.line()
            running.process.send_signal(signal.SIGINT)
            assert running.says()["draining"] == "SIGINT"
            running.process.terminate()
            end = running.says()
            assert running.process.wait(30) == 1
            *items, last = first, *slow.rest()
            assert slow.end()[0] == 5
    end.pop("seconds")
    assert end == {"stopped_by": "SIGINT", "completed": 0, "stopped": 1, "clients": 1, "clean": 0, "cut": 1}
    assert last["ended"] == "failed"
    assert last["items"] == len(items) < OFFERS


def test_people_read_how_it_ended(dev: Path, tmp_path: Path) -> None:
    command = [SCRIPT, "serve", "--config", str(dev / "server.toml"), "--port=0", f"--db={tmp_path / 'x.sqlite'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.terminate()
        told, end = process.stdout.read().splitlines()
        assert process.wait(30) == 0
    assert told == "SIGTERM: nobody is connected"
    assert re.fullmatch(r"Stopped after \d\.\d s: 0 calls completed, nobody was connected", end)


def test_what_was_paid_is_paid_after_a_restart(dev: Path, tmp_path: Path) -> None:
    database = tmp_path / "x.sqlite"
    with sandbox(dev, "--db", database) as running:
        first = running.call("PAYMENT_AUTHORIZE", payment("kept"), "--json").json
        running.process.kill()
        running.process.wait()
    with sandbox(dev, "--db", database) as running:
        second = running.call("PAYMENT_AUTHORIZE", payment("kept"), "--json").json
    assert second == {**first, "replayed": True}
