"""Reading and writing whole small files, with the care that keys and trust need."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ratatoskr import CertificateRefused, LocalProtocolError, RatatoskrError

MAX_FILE_BYTES = 1 << 20
"""Longest file that is read."""

_NO_WAITING = getattr(os, "O_NONBLOCK", 0)
_HAS_MODES = os.name == "posix"


class FileRefused(RatatoskrError):
    """A file that cannot be used as it is. The message names it and says what to do."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


@contextmanager
def refusals_of(path: Path) -> Generator[None]:
    """What the core says about a file's content, as :class:`FileRefused`."""
    try:
        yield
    except CertificateRefused as refused:
        raise FileRefused(path, f"{refused.detail} [{refused.rule}]") from None
    except LocalProtocolError as misuse:
        raise FileRefused(path, str(misuse)) from None


def read(path: Path) -> bytes:
    """A file that decides whom to trust. Refuses one that everybody may write to."""
    return _read(path, forbidden=stat.S_IWOTH, why="everybody may write to it", remedy="chmod o-w")


def read_private(path: Path) -> bytes:
    """A file with secrets. Refuses one that group or others may read or write."""
    return _read(
        path, forbidden=stat.S_IRWXG | stat.S_IRWXO, why="others than its owner may use it", remedy="chmod 600"
    )


def create(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a new file, on disk when this returns. Refuses to overwrite."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise FileRefused(path, "exists already and is not overwritten; choose another name, or move it away") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise
    _sync_directory(path.parent)


def create_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read, from its first moment. Refuses to overwrite."""
    create(path, data, mode=0o600)


def replace(path: Path, data: bytes) -> None:
    """Write a file that others may read; a crash leaves the old content or the new."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    create(draft, data)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink()
        raise
    _sync_directory(path.parent)


def _read(path: Path, *, forbidden: int, why: str, remedy: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | _NO_WAITING)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileRefused(path, "is not a file")
        if _HAS_MODES and status.st_mode & forbidden:
            mode = stat.S_IMODE(status.st_mode)
            raise FileRefused(path, f"{why} (mode {mode:04o}). Run: {remedy} {shlex.quote(str(path))}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_FILE_BYTES:
        raise FileRefused(path, f"is longer than {MAX_FILE_BYTES} bytes")
    return data


def _sync_directory(directory: Path) -> None:
    if not _HAS_MODES:
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
