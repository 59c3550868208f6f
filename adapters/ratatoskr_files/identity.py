"""Identity files and key files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Self

import ratatoskr
from ratatoskr import SecretKeys, dearmour
from ratatoskr import identity as ids
from ratatoskr_files.disk import FileRefused, create_private, read_private, refusals_of


class Identity(ratatoskr.Identity):
    """An identity that lives in a file: its secret keys, then its certificates, as text."""

    __slots__ = ()

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an identity file.

        Raises FileRefused where others than its owner may read it or where it holds no identity, and OSError where it
        cannot be read.
        """
        path = Path(path)
        text = read_private(path)
        with refusals_of(path):
            return cls.from_bytes(text)

    def save(self, path: str | PathLike[str]) -> None:
        """Write a new identity file, which only its owner may read, from its first moment.

        Raises FileRefused where the file exists already, and OSError where it cannot be written.
        """
        create_private(Path(path), self.to_bytes())


def load_keys(path: str | PathLike[str]) -> SecretKeys:
    """The secret keys of a key file, or of an identity file. Raises what :meth:`Identity.load` raises."""
    path = Path(path)
    text = read_private(path)
    with refusals_of(path):
        blocks = dearmour(text)
        if not blocks or blocks[0].label != ids.SECRET_KEYS:
            raise FileRefused(path, "holds no secret keys")
        return SecretKeys.from_bytes(blocks[0].data)
