"""From keys to an installed certificate, through files, and what each file shows."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import ratatoskr
from ratatoskr import LocalProtocolError, Role, SecretKeys, TrustPolicy
from ratatoskr_files import (
    FileRefused,
    Identity,
    create_keys,
    describe,
    install_certificate,
    issue_certificate,
    load_keys,
    request_certificate,
    show,
)
from tests.unit.identity.people import BRANCH, DEVICE, NOON, PROVIDER, ROOT, SERVER, WEEK


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root.key"
    Identity(ROOT.keys, ROOT.chain).save(path)
    return path


def test_an_identity_is_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    Identity(PROVIDER.keys, PROVIDER.chain).save(str(path))
    loaded = Identity.load(str(path))
    assert isinstance(loaded, ratatoskr.Identity)
    assert (loaded.keys, loaded.chain) == (PROVIDER.keys, PROVIDER.chain)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(path) == PROVIDER.keys


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    Identity(PROVIDER.keys, PROVIDER.chain).save(path)
    with pytest.raises(FileRefused, match="not overwritten"):
        Identity(DEVICE.keys, DEVICE.chain).save(path)
    assert Identity.load(path).keys == PROVIDER.keys


def test_a_file_that_holds_no_identity_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    path.write_bytes(b"what?")
    path.chmod(0o600)
    for load in (Identity.load, load_keys):
        with pytest.raises(FileRefused, match=r"till\.key: line 1 is neither .* \[armour\]"):
            load(path)
    path.write_bytes(b"")
    with pytest.raises(FileRefused, match="holds no secret keys"):
        load_keys(path)
    path.chmod(0o644)
    for load in (Identity.load, load_keys):
        with pytest.raises(FileRefused, match="chmod 600"):
            load(path)


def test_a_device_gets_a_certificate_and_keeps_its_secret(tmp_path: Path, root: Path) -> None:
    keys, request, chain, out = (tmp_path / name for name in ("shop.key", "shop.request", "shop.pem", "shop.id.key"))
    created = create_keys(keys)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    request_certificate(keys, request, role=Role.PROVIDER, subject="shop-7", tenant="acme")
    issued = issue_certificate(root, request, chain, not_before=NOON, not_after=NOON + WEEK, tenant="acme-2")
    installed = install_certificate(keys, chain, out)

    peer = TrustPolicy(roots={ROOT.certificate}).judge(Identity.load(out).chain, roles={Role.PROVIDER}, at=NOON)
    assert (peer.subject, peer.tenant, peer.kid) == ("shop-7", "acme-2", created.kid)
    assert installed.certificate == issued
    assert installed.keys == created
    secret = SecretKeys.to_bytes(created)
    assert load_keys(out).to_bytes() == secret
    for public in (request, chain):
        assert b"SECRET" not in public.read_bytes()
        assert stat.S_IMODE(public.stat().st_mode) & 0o600 == 0o600


def test_no_step_overwrites_a_file(tmp_path: Path, root: Path) -> None:
    keys, request, chain, out = (tmp_path / name for name in "abcd")
    steps: list[Callable[[], object]] = [
        lambda: create_keys(keys),
        lambda: request_certificate(keys, request, role=Role.DEVICE, subject="till-1"),
        lambda: issue_certificate(root, request, chain, not_before=NOON, not_after=NOON + WEEK),
        lambda: install_certificate(keys, chain, out),
    ]
    for step in steps:
        step()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for step in steps:
        with pytest.raises(FileRefused, match="not overwritten"):
            step()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(list(tmp_path.iterdir())) == 5


def test_an_issuer_under_a_root_hands_out_its_own_certificate_too(tmp_path: Path) -> None:
    Identity(BRANCH.keys, BRANCH.chain).save(tmp_path / "branch.key")
    create_keys(tmp_path / "a.key")
    request_certificate(tmp_path / "a.key", tmp_path / "a.request", role=Role.DEVICE, subject="till-2")
    issue_certificate(
        tmp_path / "branch.key", tmp_path / "a.request", tmp_path / "a.pem", not_before=NOON, not_after=NOON + WEEK
    )
    identity = install_certificate(tmp_path / "a.key", tmp_path / "a.pem", tmp_path / "a.id.key")
    assert identity.chain[1] == BRANCH.certificate


def test_a_request_that_was_changed_is_not_certified(tmp_path: Path, root: Path) -> None:
    create_keys(tmp_path / "a.key")
    request_certificate(tmp_path / "a.key", tmp_path / "a.request", role=Role.DEVICE, subject="till-2")
    text = (tmp_path / "a.request").read_bytes()
    block = ratatoskr.dearmour(text)[0]
    changed = block._replace(data=block.data.replace(b"till-2", b"till-1"))
    (tmp_path / "b.request").write_bytes(ratatoskr.armour([changed]))
    with pytest.raises(FileRefused, match=r"b\.request: .* \[request\.signature\]"):
        issue_certificate(root, tmp_path / "b.request", tmp_path / "b.pem", not_before=NOON, not_after=NOON + 1)
    with pytest.raises(FileRefused, match="must hold one certificate request"):
        issue_certificate(root, root, tmp_path / "b.pem", not_before=NOON, not_after=NOON + 1)
    assert not (tmp_path / "b.pem").exists()


def test_only_an_issuer_issues(tmp_path: Path) -> None:
    Identity(DEVICE.keys, DEVICE.chain).save(tmp_path / "till.key")
    request_certificate(tmp_path / "till.key", tmp_path / "a.request", role=Role.DEVICE, subject="till-2")
    with pytest.raises(LocalProtocolError, match="cannot issue"):
        issue_certificate(
            tmp_path / "till.key", tmp_path / "a.request", tmp_path / "a.pem", not_before=NOON, not_after=NOON + 1
        )


def test_a_certificate_for_other_keys_is_not_installed(tmp_path: Path) -> None:
    Identity(DEVICE.keys, DEVICE.chain).save(tmp_path / "till.key")
    (tmp_path / "server.pem").write_bytes(
        ratatoskr.armour([block for block in ratatoskr.dearmour(SERVER.to_bytes()) if block.label == "CERTIFICATE"])
    )
    with pytest.raises(FileRefused, match=r"server\.pem: the certificate of `yggdrasil` is for other keys"):
        install_certificate(tmp_path / "till.key", tmp_path / "server.pem", tmp_path / "out.key")
    with pytest.raises(FileRefused, match=r"till\.key: must hold certificates, and nothing else"):
        install_certificate(tmp_path / "till.key", tmp_path / "till.key", tmp_path / "out.key")


# --- what people see -------------------------------------------------------------------------------------------------


def test_a_certificate_is_described() -> None:
    certificate = SERVER.certificate
    assert describe(certificate) == [
        ("role", "SERVER"),
        ("subject", "yggdrasil"),
        ("name", "yggdrasil.example"),
        ("name", "localhost"),
        ("valid from", "2025-01-01T12:00:00Z"),
        ("valid until", "2025-01-08T12:00:00Z"),
        ("issuer", ROOT.kid.hex()),
        ("serial", certificate.serial.hex()),
        ("fingerprint", certificate.fingerprint.hex()),
        ("kid", certificate.kid.hex()),
    ]
    assert ("tenant", "acme") in describe(DEVICE.certificate)
    assert ("issuer", "itself") in describe(ROOT.certificate)


def test_files_are_shown_without_their_secrets(tmp_path: Path) -> None:
    path = tmp_path / "till.key"
    Identity(DEVICE.keys, DEVICE.chain).save(path)
    request = request_certificate(path, tmp_path / "till.request", role=Role.DEVICE, subject="till-1")
    shown = show(path)
    assert shown == [
        [("block", "secret keys"), ("kid", DEVICE.kid.hex())],
        [("block", "certificate"), *describe(DEVICE.certificate)],
    ]
    assert show(tmp_path / "till.request") == [[("block", "certificate request"), *describe(request)]]
    secret = DEVICE.keys.to_bytes()
    assert not any(half.hex() in str(shown) for half in (secret[:32], secret[32:]))


def test_an_unknown_block_is_not_shown(tmp_path: Path) -> None:
    block = ratatoskr.dearmour(DEVICE.to_bytes())[0]._replace(label="PARCEL")
    (tmp_path / "x").write_bytes(ratatoskr.armour([block]))
    with pytest.raises(FileRefused, match="a block of an unknown kind, PARCEL"):
        show(tmp_path / "x")
