"""The client in JavaScript, which was written from the specification alone, against this implementation's server."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CLI = [sys.executable, "-m", "ratatoskr_cli"]


def node_is_ready() -> bool:
    """Node 20.19 or newer, and the packages of package-lock.json, installed where they are not."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None:
        return False
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if [int(part) for part in version.strip().lstrip("v").split(".")] < [20, 19]:
        return False
    if not (HERE / "node_modules").is_dir() and npm is not None:
        subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=HERE, check=False, capture_output=True)
    return (HERE / "node_modules").is_dir()


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
    if not node_is_ready():
        pytest.skip("needs Node 20.19 or newer, and `npm ci` in tests/interop")
    url, folder = server
    environment = {**os.environ, "RATATOSKR_URL": url, "RATATOSKR_DEV": str(folder)}
    done = subprocess.run(
        ["node", "--test", "--test-reporter=spec"], cwd=HERE, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
