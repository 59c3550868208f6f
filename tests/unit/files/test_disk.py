"""Files with secrets and with trust: how they are made, and which are refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ratatoskr_files import FileRefused, disk


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_private_file_is_private_from_its_first_moment(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[int, int]] = []
    os_open = os.open

    def recording(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = os_open(path, flags, mode)
        opened.append((flags, stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return descriptor

    monkeypatch.setattr(os, "open", recording)
    before = os.umask(umask)
    try:
        disk.create_private(tmp_path / "a.key", b"secret")
    finally:
        os.umask(before)
    flags, mode = opened[0]
    assert flags & os.O_EXCL
    assert flags & os.O_CREAT
    assert mode == 0o600
    assert mode_of(tmp_path / "a.key") == 0o600
    assert disk.read_private(tmp_path / "a.key") == b"secret"


def test_a_new_file_is_on_disk_before_anyone_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    os_fsync = os.fsync

    def recording(descriptor: int) -> None:
        os_fsync(descriptor)
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))

    monkeypatch.setattr(os, "fsync", recording)
    disk.create(tmp_path / "a", b"data")
    assert synced == [False, True]
    synced.clear()
    disk.replace(tmp_path / "a", b"more")
    assert synced[0] is False
    assert synced[-1] is True


@pytest.mark.parametrize("create", [disk.create, disk.create_private])
def test_nothing_is_overwritten(tmp_path: Path, create: object) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"precious")
    with pytest.raises(FileRefused, match="exists already and is not overwritten"):
        create(path, b"other")  # type: ignore[operator]
    assert path.read_bytes() == b"precious"


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileRefused, match="exists already"):
        disk.create_private(tmp_path / "link", b"secret")
    assert not (tmp_path / "target").exists()


def full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_that_cannot_be_written_whole_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk.create_private(tmp_path / "a", b"secret")
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    disk.replace(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            disk.replace(path, b"new")
    (tmp_path / "directory").mkdir()
    with pytest.raises(OSError, match="directory"):
        disk.replace(tmp_path / "directory", b"new")
    assert path.read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "directory"]


def test_a_replacement_may_be_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "a"
    before = os.umask(0o022)
    try:
        for data in (b"one", b"two"):
            disk.replace(path, data)
            assert disk.read(path) == data
    finally:
        os.umask(before)
    assert mode_of(path) == 0o644


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777])
def test_a_secret_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "my key"
    path.write_bytes(b"secret")
    path.chmod(mode)
    with pytest.raises(FileRefused) as refused:
        disk.read_private(path)
    assert str(refused.value) == (
        f"{path}: others than its owner may use it (mode {mode:04o}). Run: chmod 600 '{path}'"
    )


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_secret_of_its_owner_alone_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"secret")
    path.chmod(mode)
    assert disk.read_private(path) == b"secret"


def test_a_secret_may_stand_behind_a_link(tmp_path: Path) -> None:
    disk.create_private(tmp_path / "a", b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert disk.read_private(tmp_path / "link") == b"secret"


@pytest.mark.parametrize("mode", [0o646, 0o666, 0o602])
def test_trust_that_everybody_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"roots")
    path.chmod(mode)
    with pytest.raises(FileRefused, match=r"everybody may write to it .* Run: chmod o-w "):
        disk.read(path)
    path.chmod(0o664)
    assert disk.read(path) == b"roots"


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    for path in (tmp_path, tmp_path / "fifo"):
        for read in (disk.read, disk.read_private):
            with pytest.raises(FileRefused, match="is not a file"):
                read(path)


def test_a_missing_file_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        disk.read(tmp_path / "nowhere")


def test_a_file_is_read_up_to_a_length(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1 << 20))
    assert len(disk.read(path)) == 1 << 20
    path.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(FileRefused, match="is longer than 1048576 bytes"):
        disk.read(path)


def test_a_system_without_modes_is_asked_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_HAS_MODES", False)
    disk.create(tmp_path / "a", b"secret")
    assert disk.read_private(tmp_path / "a") == b"secret"
