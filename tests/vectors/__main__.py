"""The published vectors.

    python -m tests.vectors write    make them again
    python -m tests.vectors check    name the files that are not current, and exit 1

Every secret follows from a label, but the encapsulations of ML-KEM, which are kept in encapsulations.json. So a file
changes when the protocol does, and not otherwise.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vectors import (
    admission,
    cast,
    certificates,
    chain,
    envelopes,
    flights,
    handshakes,
    kem,
    keys,
    nonces,
    receipts,
    records,
    resume,
    sessions,
)

FOLDER = Path(__file__).parent
FILES: dict[str, Callable[[], dict[str, Any]]] = {
    "identities.json": cast.make,
    "records.json": records.make,
    "handshakes.json": handshakes.make,
    "keys.json": keys.make,
    "certificates.json": certificates.make,
    "admission.json": admission.make,
    "envelopes.json": envelopes.make,
    "nonces.json": nonces.make,
    "flights.json": flights.make,
    "chain.json": chain.make,
    "receipts.json": receipts.make,
    "resume.json": resume.make,
    **sessions.FILES,
    "encapsulations.json": kem.make,
}
"""In the order in which they are made: the encapsulations are those that the others needed."""


def texts() -> dict[str, str]:
    """What each file is to hold."""
    kem.KEM.forget()
    return {name: json.dumps(make(), indent=1, ensure_ascii=False) + "\n" for name, make in FILES.items()}


def stale() -> dict[str, str]:
    """The files that do not hold that, with what they should."""
    return {name: text for name, text in texts().items() if not _holds(FOLDER / name, text)}


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str]) -> int:
    """Run one command."""
    if arguments == ["write"]:
        for name, text in stale().items():
            (FOLDER / name).write_text(text, encoding="utf-8")
            sys.stdout.write(f"written: {name}\n")
        return 0
    if arguments == ["check"]:
        for name in (found := stale()):
            sys.stderr.write(f"stale: {name}; run: python -m tests.vectors write\n")
        return 1 if found else 0
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
