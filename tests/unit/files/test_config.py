"""Trust files, the configuration file that names them, and the set for development."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

import ratatoskr
from ratatoskr import SUITES, CertificateRefused, KindRegistry, Limits, Role, TrustPolicy
from ratatoskr_files import (
    Config,
    DevFiles,
    FileRefused,
    Identity,
    dev_init,
    is_dev,
    load_pins,
    load_revoked,
    load_roots,
    save_pins,
    save_revoked,
    save_roots,
)
from tests.unit.identity.people import DEVICE, NOON, OTHER_ROOT, ROOT, SERVER, WEEK

ROOTS = frozenset({ROOT.certificate, OTHER_ROOT.certificate})
PINS = frozenset({DEVICE.certificate.fingerprint, SERVER.certificate.fingerprint})
REVOKED = frozenset({(ROOT.kid, DEVICE.certificate.serial), (OTHER_ROOT.kid, SERVER.certificate.serial)})


# --- trust files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("save", "load", "value"),
    [(save_roots, load_roots, ROOTS), (save_pins, load_pins, PINS), (save_revoked, load_revoked, REVOKED)],
)
def test_trust_files_read_back_and_are_replaced(tmp_path: Path, save: Any, load: Any, value: frozenset[Any]) -> None:
    path = tmp_path / "file"
    for part in (frozenset([next(iter(value))]), value):
        save(path, part)
        assert load(path) == part
    assert path.read_bytes().startswith(b"# Ratatoskr ")


def test_lines_of_trust_files_may_have_comments(tmp_path: Path) -> None:
    path = tmp_path / "pins"
    path.write_text(f"# ours\n\n  {'AB' * 32}   # the till\n")
    assert load_pins(path) == {b"\xab" * 32}


@pytest.mark.parametrize(
    ("load", "line", "says"),
    [
        (load_pins, "ab" * 31, "line 2 is not 64 hex digits"),
        (load_pins, "ab" * 33, "line 2 is not 64 hex digits"),
        (load_pins, "xy" * 32, "line 2 is not 64 hex digits"),
        (load_pins, "é" * 32, "line 2 is not 64 hex digits"),
        (load_pins, f"{'ab' * 32} {'ab' * 32}", "line 2 is not 64 hex digits"),
        (load_revoked, "ab" * 32, "line 2 is not 64 hex digits and 32 hex digits"),
        (load_revoked, f"{'ab' * 16} {'ab' * 32}", "line 2 is not 64 hex digits and 32 hex digits"),
        (load_roots, "ab", "line 2 is neither a comment nor"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, load: Any, line: str, says: str) -> None:
    path = tmp_path / "file"
    path.write_text(f"# one\n{line}\n")
    with pytest.raises(FileRefused, match=says):
        load(path)


def test_a_file_of_roots_holds_roots(tmp_path: Path) -> None:
    save_roots(tmp_path / "roots", [SERVER.certificate])
    with pytest.raises(FileRefused, match="roots: `yggdrasil` is no root"):
        load_roots(tmp_path / "roots")
    (tmp_path / "empty").write_bytes(b"# nothing\n")
    with pytest.raises(FileRefused, match="must hold certificates"):
        load_roots(tmp_path / "empty")


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Identity(DEVICE.keys, DEVICE.chain).save(tmp_path / "till.key")
    save_roots(tmp_path / "roots.pem", ROOTS)
    save_pins(tmp_path / "pins.txt", PINS)
    save_revoked(tmp_path / "revoked.txt", REVOKED)
    return tmp_path


def config_of(directory: Path, text: str) -> Config:
    path = directory / "till.toml"
    path.write_text(text)
    return Config.load(path)


def test_a_configuration_names_files_beside_itself(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = config_of(
        directory,
        """
        identity = "till.key"
        server_name = "yggdrasil.example"
        url = "wss://yggdrasil.example/"
        suites = ["Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256"]
        [trust]
        roots = "roots.pem"
        pins = "pins.txt"
        revoked = "revoked.txt"
        self_issued = true
        earliest = 2025-01-01T13:00:00+01:00
        [limits]
        request_timeout = 3
        requests_open = 7
        """,
    )
    assert isinstance(config, ratatoskr.Config)
    assert config.identity.keys == DEVICE.keys
    assert config.trust == TrustPolicy(roots=ROOTS, pinned=PINS, revoked=REVOKED, self_issued=True, earliest=NOON)
    assert config.limits == Limits(request_timeout=3.0, requests_open=7)
    assert [suite.id for suite in config.suites] == [2]
    assert (config.server_name, config.url, config.dev) == ("yggdrasil.example", "wss://yggdrasil.example/", False)
    assert config.path == directory / "till.toml"
    assert len(config.entropy(32)) == 32


def test_all_but_the_identity_may_be_left_out(directory: Path) -> None:
    config = config_of(directory, f'identity = "{directory / "till.key"}"')
    assert config.trust == TrustPolicy()
    assert config.limits == Limits()
    assert config.suites == (SUITES[1],)
    assert (config.server_name, config.url, config.dev) == (None, None, False)


def test_kinds_and_entropy_are_the_program_s(directory: Path) -> None:
    config_of(directory, 'identity = "till.key"')
    kinds = KindRegistry()
    config = Config.load(str(directory / "till.toml"), kinds=kinds, entropy=bytes)
    assert config.kinds is kinds
    assert config.entropy(2) == b"\0\0"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("identity", "is not TOML"),
        ("identity = 'a'\nidentity = 'b'", "is not TOML"),
        ("", 'names no identity: identity = "device.key"'),
        ("identity = 5", "identity must be of type str, not int"),
        ('identity = "till.key"\nidentty = 5', "identty is no setting"),
        ('identity = "till.key"\ndev = 1', "dev must be of type bool, not int"),
        ('identity = "till.key"\ntrust = "roots.pem"', "trust must be of type dict, not str"),
        ('identity = "till.key"\n[trust]\nroot = "roots.pem"', r"trust\.root is no setting"),
        ('identity = "till.key"\n[trust]\nself_issued = "yes"', r"trust\.self_issued must be of type bool"),
        ('identity = "till.key"\n[trust]\nearliest = 2025-01-01T12:00:00', "must name its time zone"),
        ('identity = "till.key"\n[trust]\nearliest = 2025-01-01', "must be of type datetime, not date"),
        ('identity = "till.key"\n[trust]\nroots = "till.key"', "must hold certificates, and nothing else"),
        ('identity = "till.key"\n[limits]\nrequest_timeouts = 1', r"limits\.request_timeouts is no setting"),
        (
            'identity = "till.key"\n[limits]\nrequests_open = 1.5',
            r"limits\.requests_open must be of type int, not float",
        ),
        ('identity = "till.key"\n[limits]\nrequest_timeout = "1s"', "must be of type int or float, not str"),
        ('identity = "till.key"\n[limits]\nrequests_open = 0', r"Limits\.requests_open must be above zero"),
        ('identity = "till.key"\nsuites = []', r"Config\.suites is empty"),
        ('identity = "till.key"\nsuites = ["Noise_NN"]', "'Noise_NN' is no suite; there are Noise_XXhfs"),
        ('identity = "roots.pem"', "roots.pem: others than its owner may use it"),
    ],
)
def test_a_mistake_in_a_configuration_is_named(directory: Path, text: str, says: str) -> None:
    with pytest.raises(FileRefused, match=says):
        config_of(directory, text)


def test_a_configuration_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b'identity = "\xff"')
    with pytest.raises(FileRefused, match="is not TOML"):
        Config.load(tmp_path / "x.toml")


def test_a_missing_file_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        config_of(tmp_path, 'identity = "till.key"')


# --- development -----------------------------------------------------------------------------------------------------


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_set_for_development_is_complete(tmp_path: Path) -> None:
    files = dev_init(tmp_path / "a" / "b", server_names=("localhost", "127.0.0.1"), now=NOON)
    assert files == DevFiles(tmp_path / "a" / "b")
    assert {path.name for path in files} == set(contents(files.directory))
    server, device, provider = (Config.load(path) for path in (files.server, files.device, files.provider))
    for at in (NOON, NOON + WEEK - 1):
        for client, role, subject in ((device, Role.DEVICE, "device-1"), (provider, Role.PROVIDER, "provider-1")):
            assert client.server_name == "localhost"
            for name in ("localhost", "127.0.0.1"):
                client.trust.judge(server.identity.chain, roles={Role.SERVER}, server_name=name, at=at)
            peer = server.trust.judge(client.identity.chain, roles={role}, at=at)
            assert (peer.subject, peer.enrolled) == (subject, True)
    with pytest.raises(CertificateRefused, match="expired"):
        server.trust.judge(device.identity.chain, roles={Role.DEVICE}, at=NOON + WEEK)
    assert (server.server_name, server.url) == (None, None)
    assert (device.url, provider.url) == ("ws://localhost:8765", "ws://localhost:8765")
    assert server.dev
    assert device.dev
    for path in files:
        secret = path.suffix == ".key"
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or not secret


def test_every_set_has_keys_of_its_own(tmp_path: Path) -> None:
    one, two = (dev_init(tmp_path / name, now=NOON) for name in "ab")
    kids = {Identity.load(path).kid for files in (one, two) for path in (files.root, *files.identities)}
    assert len(kids) == 8


def test_the_url_of_a_set_can_be_chosen(tmp_path: Path) -> None:
    files = dev_init(tmp_path, now=NOON, server_names=["yggdrasil"], url='ws://yggdrasil:1/"?')
    config = Config.load(files.device)
    assert (config.server_name, config.url) == ("yggdrasil", 'ws://yggdrasil:1/"?')


def test_a_set_is_not_overwritten(tmp_path: Path) -> None:
    dev_init(tmp_path, now=NOON)
    before = contents(tmp_path)
    with pytest.raises(FileRefused, match=r"root\.key: exists already"):
        dev_init(tmp_path, now=NOON)
    assert contents(tmp_path) == before


def test_a_set_that_is_there_may_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"mine")
    dev_init(tmp_path, exist_ok=True, now=NOON)
    before = contents(tmp_path)
    dev_init(tmp_path, exist_ok=True, now=NOON + WEEK - 1)
    assert contents(tmp_path) == before
    with pytest.raises(FileRefused, match=r"server\.key: has expired"):
        dev_init(tmp_path, exist_ok=True, now=NOON + WEEK)
    (tmp_path / "device.toml").unlink()
    with pytest.raises(FileRefused, match=r"is incomplete: device\.toml missing"):
        dev_init(tmp_path, exist_ok=True, now=NOON)


def test_identities_for_development_are_known_as_such(tmp_path: Path) -> None:
    files = dev_init(tmp_path, now=NOON)
    for path in (files.root, *files.identities):
        assert is_dev(Identity.load(path))
    assert not is_dev(SERVER)
    assert not is_dev(SERVER, TrustPolicy(roots={OTHER_ROOT.certificate}))
    assert is_dev(SERVER, TrustPolicy(roots=load_roots(files.roots)))
