"""Trust files: roots as armoured certificates; pins and revoked serials as lines of hex, with comments behind ``#``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from ratatoskr import Certificate, armour, dearmour
from ratatoskr import identity as ids
from ratatoskr_files.disk import FileRefused, read, refusals_of, replace

FINGERPRINT_BYTES = 32
KID_BYTES = 32
SERIAL_BYTES = 16


def load_certificates(path: str | PathLike[str]) -> tuple[Certificate, ...]:
    """The certificates of a file, in its order: a chain, or roots. Raises FileRefused."""
    path = Path(path)
    text = read(path)
    with refusals_of(path):
        blocks = dearmour(text)
        if not blocks or any(block.label != ids.CERTIFICATE for block in blocks):
            raise FileRefused(path, "must hold certificates, and nothing else")
        return tuple(Certificate.from_bytes(block.data) for block in blocks)


def certificates_text(certificates: Iterable[Certificate], comment: str) -> bytes:
    """The text that :func:`load_certificates` reads."""
    return armour([ids.Block(ids.CERTIFICATE, certificate.to_bytes()) for certificate in certificates], comment)


def load_roots(path: str | PathLike[str]) -> frozenset[Certificate]:
    """The roots of a file. Raises FileRefused where one of them is no root."""
    path = Path(path)
    roots = frozenset(load_certificates(path))
    with refusals_of(path):
        return frozenset(ids.TrustPolicy(roots=roots).roots)


def save_roots(path: str | PathLike[str], roots: Iterable[Certificate]) -> None:
    """Write a file of roots, or replace it."""
    ordered = sorted(roots, key=lambda root: (root.subject, root.encoded))
    replace(
        Path(path), certificates_text(ordered, "Ratatoskr roots: " + ", ".join(f"`{each.subject}`" for each in ordered))
    )


def load_pins(path: str | PathLike[str]) -> frozenset[bytes]:
    """Fingerprints, one a line: 64 hex digits. Raises FileRefused."""
    return frozenset(fingerprint for (fingerprint,) in _lines(Path(path), FINGERPRINT_BYTES))


def save_pins(path: str | PathLike[str], pins: Iterable[bytes]) -> None:
    """Write a file of pins, or replace it."""
    _write_lines(Path(path), "Ratatoskr pins: fingerprints of certificates", ((pin,) for pin in pins))


def load_revoked(path: str | PathLike[str]) -> frozenset[tuple[bytes, bytes]]:
    """Revoked certificates, one a line: the issuer's kid and the serial, 64 and 32 hex digits. Raises FileRefused."""
    return frozenset((kid, serial) for kid, serial in _lines(Path(path), KID_BYTES, SERIAL_BYTES))


def save_revoked(path: str | PathLike[str], revoked: Iterable[tuple[bytes, bytes]]) -> None:
    """Write a file of revoked certificates, or replace it."""
    _write_lines(Path(path), "Ratatoskr revocations: kid of the issuer, serial", revoked)


def _lines(path: Path, *lengths: int) -> Iterator[list[bytes]]:
    """The fields of each line, each of its length in bytes."""
    expected = " and ".join(f"{2 * length} hex digits" for length in lengths)
    for number, line in enumerate(read(path).splitlines(), 1):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        try:
            fields = [bytes.fromhex(word.decode("ascii")) for word in words]
        except ValueError:
            fields = []
        if tuple(map(len, fields)) != lengths:
            raise FileRefused(path, f"line {number} is not {expected}")
        yield fields


def _write_lines(path: Path, comment: str, rows: Iterable[tuple[bytes, ...]]) -> None:
    lines = [f"# {comment}", *sorted(" ".join(field.hex() for field in row) for row in rows)]
    replace(path, "".join(f"{line}\n" for line in lines).encode())
