"""The console script as people run it, a sandbox in a process of its own, and a proxy that changes bits."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ratatoskr_cli.main import main

SCRIPT = str(Path(sys.executable).with_name("ratatoskr"))
SECONDS = 60.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """One JSON object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def failed(self, code: int, *words: str) -> None:
        """It ended with this code and said so in one line that holds these words."""
        assert self.code == code, (self.code, self.out, self.err)
        line = self.err.splitlines()[-1]
        assert line.startswith("ratatoskr: ")
        assert "Traceback" not in self.err
        for word in words:
            assert word in line, (word, line)


def run(*arguments: object, stdin: str = "", cwd: Path | None = None, env: dict[str, str] | None = None) -> Ended:
    """Run `ratatoskr` to its end."""
    command = [SCRIPT, *map(str, arguments)]
    done = subprocess.run(
        command, input=stdin, capture_output=True, encoding="utf-8", timeout=SECONDS, cwd=cwd, env=env, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def inside(*arguments: object, stdin: str = "") -> Ended:
    """The same in this process: a table of cases need not start an interpreter for each."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch.object(sys, "stdin", io.StringIO(stdin)):
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


def ok(*arguments: object, stdin: str = "") -> Ended:
    """Run what must end well."""
    ended = run(*arguments, stdin=stdin)
    assert ended.code == 0, (ended.code, ended.out, ended.err)
    return ended


@dataclass
class Sandbox:
    """`ratatoskr serve` while it runs."""

    home: Path
    url: str
    announced: dict[str, Any]
    process: subprocess.Popen[str]

    def call(self, kind: str, payload: object, *options: object) -> Ended:
        """`ratatoskr call` for the device."""
        target = ("--config", self.home / "device.toml", "--url", self.url)
        return inside("call", kind, json.dumps(payload), *target, *options)

    def says(self) -> Any:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.process.wait(SECONDS)


@contextmanager
def sandbox(home: Path, *options: object) -> Generator[Sandbox]:
    """A sandbox for the time of a block."""
    command = [SCRIPT, "serve", "--config", str(home / "server.toml"), "--port", "0", "--json", *map(str, options)]
    log = home / "server.log"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8") as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, log.read_text(encoding="utf-8")
            announced = json.loads(line)
            yield Sandbox(home, announced["listening"], announced, process)
        finally:
            process.kill()


class Flip:
    """One bit changed at an offset of what one side sends in each connection, counted from the end of the upgrade."""

    def __init__(self, target: int, up: int | None = None, down: int | None = None) -> None:
        self._target = target
        self._offsets = {"up": up, "down": down}
        self.flipped = 0
        self.most = {"up": 0, "down": 0}
        """The longest of each direction that came through, without the upgrade."""

    async def _pump(self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offset = self._offsets[way]
        with suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            position = 0
            while data := bytearray(await reader.read(65536)):
                if offset is not None and position <= offset < position + len(data):
                    data[offset - position] ^= 1
                    self.flipped += 1
                position += len(data)
                self.most[way] = max(self.most[way], position)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            await asyncio.gather(self._pump("up", reader, far_writer), self._pump("down", far_reader, writer))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    @contextmanager
    def running(self) -> Generator[str]:
        """The proxy in a thread of its own; its URL."""
        loop = asyncio.new_event_loop()
        listening: asyncio.Server = loop.run_until_complete(asyncio.start_server(self._forward, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finally:
            asyncio.run_coroutine_threadsafe(_end(listening), loop).result(SECONDS)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _end(listening: asyncio.Server) -> None:
    listening.close()
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


WALLET = "wallet:DEV:device-1"
"""The demo device's account."""


def payment(id: str, amount: str = "4.90 EUR", **changes: str) -> dict[str, str]:
    """A payload for PAYMENT_AUTHORIZE."""
    return {
        "end_to_end_id": id,
        "debtor_account": WALLET,
        "creditor_account": "house",
        "amount": amount,
        **changes,
    }
