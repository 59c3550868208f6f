"""From keys to a connection."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ratatoskr import dearmour
from tests.scenarios.cli.shell import Sandbox, inside, ok, run


def test_dev_init_makes_all_that_a_first_program_needs(dev: Path) -> None:
    names = {"root.key", "roots.pem", "server.key", "server.toml", "device.key", "device.toml", "provider.key"}
    assert names < {path.name for path in dev.iterdir()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in dev.glob("*.key"))
    run("dev", "init", dev).failed(1, "exists already and is not overwritten")
    before = (dev / "device.key").read_bytes()
    paths = ok("dev", "init", dev, "--exist-ok", "--json").json
    assert (dev / "device.key").read_bytes() == before
    assert Path(paths["server.toml"]) == dev / "server.toml"


def test_names_are_proved(dev: Path) -> None:
    rows = ok("cert", "show", dev / "server.key", "--json").json
    assert rows[1]["role"] == "SERVER"
    shown = ok("cert", "show", dev / "server.key").out
    assert "localhost" in shown
    assert "yggdrasil" in shown


def test_a_certificate_without_anybody_copying_a_secret(dev: Path, served: Sandbox, tmp_path: Path) -> None:
    keys, request, chain, identity = (tmp_path / name for name in ("till.keys", "till.request", "till.pem", "till.key"))
    made = ok("keygen", keys, "--json").json
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    ok("cert", "request", keys, request, "--role", "device", "--subject", "till-9")
    issued = ok("cert", "issue", dev / "root.key", request, chain, "--days", "1", "--json").json
    assert issued["kid"] == made["kid"]
    assert "till-9" in ok("cert", "install", keys, chain, identity).out
    config = tmp_path / "till.toml"
    config.write_text(
        f'identity = "till.key"\nserver_name = "localhost"\n[trust]\nroots = {json.dumps(str(dev / "roots.pem"))}\n',
        encoding="utf-8",
    )
    answer = ok("call", "SANDBOX_STATEMENT", "--config", config, "--url", served.url).json
    assert answer["account"] == "wallet::till-9"
    secret = dearmour(keys.read_bytes())[0].data.hex()
    assert secret not in "".join((request.read_bytes() + chain.read_bytes()).hex())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("keygen", "{dev}/device.key"), ["device.key", "exists already"]),
        (("cert", "show", "{dev}/nothing"), ["nothing", "No such file"]),
        (("cert", "show", "{dev}/device.toml"), ["device.toml", "line"]),
        (("cert", "issue", "{dev}/device.key", "{dev}/device.key", "x"), ["device.key", "certificate request"]),
        (("cert", "install", "{dev}/device.key", "{dev}/roots.pem", "x"), ["roots.pem"]),
    ],
)
def test_files_that_cannot_be_used(dev: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    inside(*(each.format(dev=dev) for each in arguments)).failed(1, *words)
