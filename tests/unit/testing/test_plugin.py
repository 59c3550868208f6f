"""The pytest plugin: its fixtures are there, and a failing test can be read."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from ratatoskr.testing import Authority, Pair

ROOT = Path(__file__).parents[3]

TESTS = """
from ratatoskr import MARKETPLACE_SEARCH, RequestReceived, ResponseReceived, v1


def test_fixtures(ratatoskr_authority, ratatoskr_pair):
    assert ratatoskr_pair.client.connection.peer.names == ("yggdrasil.test",)
    assert ratatoskr_authority.device("x").certificate.subject == "x"
    ratatoskr_pair.client.connection.request(MARKETPLACE_SEARCH, v1.Search())
    ratatoskr_pair.run()
    assert ratatoskr_pair.server.take(RequestReceived)


def test_the_pair_belongs_to_the_authority(ratatoskr_authority, ratatoskr_pair):
    assert ratatoskr_pair.client.connection.peer.certificate.issuer == ratatoskr_authority.root.kid


def test_reads_well_when_it_fails(ratatoskr_pair):
    ratatoskr_pair.client.take(ResponseReceived)
"""


def run_pytest(directory: Path, *arguments: str) -> str:
    """pytest in a process of its own, with this plugin and no other."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "COLUMNS": "120",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "ratatoskr.testing.plugin", "-q", "-W", "error", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout + done.stderr


def test_fixtures_are_there(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    output = run_pytest(tmp_path)
    assert "2 passed" in output, output
    assert "1 failed" in output, output
    assert "AssertionError: the client saw no ResponseReceived; it saw []" in output
    listed = run_pytest(tmp_path, "--fixtures")
    assert "ratatoskr_authority" in listed
    assert "open, in virtual time" in listed


def test_the_package_announces_it_to_pytest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"ratatoskr": "ratatoskr.testing.plugin"}


def test_the_pair_is_open_and_of_the_authority(ratatoskr_authority: Authority, ratatoskr_pair: Pair) -> None:
    peer = ratatoskr_pair.client.connection.peer
    assert peer is not None
    assert peer.certificate.issuer == ratatoskr_authority.root.kid
    assert ratatoskr_pair.client.events == ratatoskr_pair.server.events == []
