"""Runs the commands of a page as a reader would: in an empty directory, with real processes and real sockets."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.docs.pages import ROOT, Command

PORTS = (8443, 8765, 8766)
"""The ports that pages name. Tests use free ones instead."""
SECONDS = 60
NOT_RUN = ("docker/run", "docker compose", "pip", "git")
"""Commands that are only checked to be possible."""


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Reader:
    """Somebody who follows a page. At the end of the block the servers that he started are stopped."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ports = {str(port): str(free_port()) for port in PORTS}
        self.servers: list[subprocess.Popen[bytes]] = []
        """What was started and goes on."""
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "PYTHONWARNINGS": "error",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
        for server in self.servers:
            server.communicate(timeout=SECONDS)

    def port(self, named: int) -> int:
        """The free port that stands for one of PORTS."""
        return int(self._ports[str(named)])

    def save(self, name: str, text: str) -> None:
        """Paste a block into a file."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._with_free_ports(text), encoding="utf-8")

    def run(self, command: Command) -> None:
        """Type a command, and compare what it prints. AssertionError says what came instead."""
        if command.line.startswith(NOT_RUN):
            check_possible(command.line)
            return
        line = self._with_free_ports(command.line)
        if command.stays:
            self._start(line)
            return
        result = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        printed = self._with_printed_ports(result.stdout)
        assert result.returncode == 0, f"$ {line}\n{printed}{result.stderr}"
        assert matches(command.output, printed), f"$ {line}\n{printed}--- not as on the page:\n{command.output}"
        for path in self.directory.rglob("*.toml"):
            path.write_text(self._with_free_ports(path.read_text(encoding="utf-8")), encoding="utf-8")

    def _start(self, line: str) -> None:
        """Start a server, and wait until one of the ports answers that did not before."""
        ports = [int(port) for port in self._ports.values() if not answers(int(port))]
        server = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.servers.append(server)
        for _ in range(SECONDS * 50):
            if any(map(answers, ports)):
                return
            try:
                server.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            break
        server.kill()
        raise AssertionError(f"$ {line}\n{server.communicate()[0].decode()}")

    def _with_free_ports(self, text: str) -> str:
        return re.sub("|".join(self._ports), lambda found: self._ports[found[0]], text)

    def _with_printed_ports(self, text: str) -> str:
        for printed, used in self._ports.items():
            text = text.replace(used, printed)
        return text


def answers(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def matches(expected: str, printed: str) -> bool:
    """Whether that was printed, ``…`` standing for anything in a line, and a line of ``…`` for any lines."""
    if not expected.strip():
        return True
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(re.escape(part) for part in line.rstrip().split("…")) + "\n"
    lines = "".join(f"{line.rstrip()}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, lines) is not None


def check_possible(line: str) -> None:
    """Commands that tests do not run: what they name must exist."""
    words = shlex.split(line)
    match words:
        case ["docker/run", *arguments]:
            command = next(word for word in arguments if not word.startswith("--"))
            script = ROOT / "docker/run"
            assert os.access(script, os.X_OK)
            assert re.search(rf"^    (?:\w+ \| )*{command}(?: \| \w+)*\) ;;$", script.read_text(), re.MULTILINE), line
            if "--" in arguments:
                for path in (word for word in arguments if word.startswith("tests/")):
                    assert (ROOT / path).exists(), line
        case ["docker", "compose", "-f", file, action, *arguments]:
            services = set(re.findall(r"^  ([\w-]+):$", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE))
            named = [word.split(":")[0] for word in arguments if not word.startswith((".", "-")) and action != "cp"]
            named += [word.split(":")[0] for word in arguments if ":" in word]
            assert named, line
            assert set(named) <= services, line
        case ["pip", "install", "-e", target]:
            extras = re.fullmatch(r"\.\[([\w,]+)\]", target)
            assert extras, line
            assert set(extras[1].split(",")) <= set(project_extras()), line
        case _:
            raise AssertionError(f"{line}: neither run nor checked")


def project_extras() -> Mapping[str, object]:
    """What pip can install beside the core."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, object] = project["optional-dependencies"]
    return extras
