"""Every program in examples/, run as it stands; server.py and client.py by the README's own commands."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.plain_socket import drive
from ratatoskr import Closed, Connection, ConnectionRequested, RequestReceived, v1
from ratatoskr_files import Config, dev_init
from tests.docs.pages import EXAMPLES, Command
from tests.docs.shell import SECONDS, Reader
from tools import proto


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a copy of the examples and identities for development."""
    with Reader(tmp_path) as somebody:
        for path in EXAMPLES.rglob("*.py"):
            somebody.save(path.relative_to(EXAMPLES).as_posix(), path.read_text(encoding="utf-8"))
        dev_init(tmp_path / "dev", now=time.time())
        yield somebody


def type_in(reader: Reader, line: str, output: str = "", *, stays: bool = False) -> None:
    reader.run(Command(line, output, stays=stays))


def test_pair(reader: Reader) -> None:
    type_in(reader, "python pair.py")


def test_custom_kind(reader: Reader) -> None:
    type_in(reader, "python -m custom_kind.server", stays=True)
    type_in(
        reader,
        "python -m custom_kind.client",
        "50 points\n50 points (repeated)\nNOT_FOUND/VOUCHER_UNKNOWN: there is no voucher 'AUTUMN'\n",
    )


def test_the_test_of_the_custom_kind(reader: Reader) -> None:
    type_in(reader, "python -m pytest -q -p no:cacheprovider custom_kind", "…\n… passed in …\n")


def test_the_generated_code_of_the_custom_kind_is_current(tmp_path: Path) -> None:
    folder = EXAMPLES / "custom_kind"
    proto._protoc(f"--proto_path={folder}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "loyalty.proto")
    for name in ("loyalty_pb2.py", "loyalty_pb2.pyi"):
        assert (folder / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8")


def test_plain_socket(reader: Reader) -> None:
    """The client of the example, and a server that uses its loop."""
    events: list[str] = []

    def serve(listener: socket.socket, config: Config) -> None:
        connection = Connection.server(config)
        for event in drive(connection, listener.accept()[0]):
            events.append(type(event).__name__)
            match event:
                case ConnectionRequested():
                    connection.accept()
                case RequestReceived(id=id):
                    connection.respond(id, v1.SearchResult())
                case Closed(fault=fault):
                    events.append(fault.name)

    with socket.create_server(("127.0.0.1", reader.port(8766))) as listener:
        config = Config.load(reader.directory / "dev/server.toml")
        server = threading.Thread(target=serve, args=(listener, config), daemon=True)
        server.start()
        type_in(reader, "python plain_socket.py", "connected to localhost\nfound 0 offers\nended: CLEAN\n")
        server.join(10)
    assert events[0] == "ConnectionRequested"
    assert events[-2:] == ["Closed", "CLEAN"]
    assert "RequestReceived" in events


def test_rolling_restart(reader: Reader) -> None:
    """The server that is asked is ended, and the client goes on at the other one."""
    for port in (8765, 8766):
        type_in(reader, f"python -m rolling_restart.server {port}", stays=True)
    client = subprocess.Popen(
        [sys.executable, "-m", "rolling_restart.client", "5"],
        cwd=reader.directory,
        env=reader.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    first = reader.servers[0]
    with client:
        assert client.stdout is not None
        assert client.stdout.readline().endswith(f":{reader.port(8765)}\n")
        first.send_signal(signal.SIGTERM)
        goes_on, log = client.communicate(timeout=SECONDS)
    assert goes_on == "50 payments, and no call failed\n"
    opened = [line for line in log.splitlines() if ":opened: localhost" in line]
    assert [line.rpartition(":")[2] for line in opened] == [str(reader.port(port)) for port in (8765, 8766)]
    assert (client.returncode, first.wait(SECONDS)) == (0, 0)


def test_offline(reader: Reader) -> None:
    """Without a server the payment waits; with one it is made, once."""
    line = "python offline.py order-17"
    posted = "order-17 is on disk\n"
    for _ in range(2):
        type_in(reader, line, f"{posted}there is no server: run this again later\n")
    type_in(reader, "python server.py", stays=True)
    for _ in range(2):
        type_in(reader, line, f"{posted}order-17 is payment-1 with a receipt\n")


def test_till(reader: Reader) -> None:
    """Started before the server, and left alone."""
    till = subprocess.Popen(
        [sys.executable, "till.py", "order-17"],
        cwd=reader.directory,
        env=reader.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with till:
        assert till.stdout is not None
        assert till.stdout.readline() == "order-17 is on disk\n"
        type_in(reader, "python server.py", stays=True)
        assert [till.stdout.readline() for _ in range(2)] == ["connected to localhost\n", "order-17 is payment-1\n"]
        till.kill()
