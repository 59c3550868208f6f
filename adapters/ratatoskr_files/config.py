"""The configuration file: one TOML file that names the others, relative to itself.

All keys but ``identity`` may be left out::

    identity = "server.key"
    server_name = "localhost"          # a client: who the server must prove to be
    url = "ws://localhost:8765"        # a client: where the server is
    suites = ["Noise_XXhfs_25519+MLKEM768_AESGCM_SHA256"]
    dev = true                         # for development only

    [trust]
    roots = "roots.pem"
    pins = "pins.txt"
    revoked = "revoked.txt"
    self_issued = false                # let unenrolled providers ask for registration
    earliest = 2025-01-01T00:00:00Z    # a moment that has surely passed, for devices without a clock

    [limits]
    request_timeout = 10.0
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Self

import ratatoskr
from ratatoskr import STANDARD_KINDS, SUITES, KindRegistry, Limits, Suite, TrustPolicy
from ratatoskr_files.disk import FileRefused, read, refusals_of
from ratatoskr_files.identity import Identity
from ratatoskr_files.trust import load_pins, load_revoked, load_roots

_SUITES = {suite.name: suite for suite in SUITES.values()}
_INTEGERS = {field.name for field in fields(Limits) if isinstance(field.default, int)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ratatoskr.Config):
    """A configuration that was read from a file, with what adapters need beside it."""

    path: Path
    """The file."""
    server_name: str | None = None
    """Who the server must prove to be; None for the host of the URL."""
    url: str | None = None
    """Where a client finds the server."""
    dev: bool = False
    """Whether the file says that it is for development."""

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        kinds: KindRegistry = STANDARD_KINDS,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Read a configuration file and all that it names.

        Raises FileRefused for what it cannot use, and OSError for a file that cannot be read. What a file does not
        say, such as ``token``, is set with :func:`dataclasses.replace`.
        """
        path = Path(path)
        try:
            table = _Table(path, "", tomllib.loads(read(path).decode()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileRefused(path, f"is not TOML: {error}") from None
        identity = table.take_path("identity")
        if identity is None:
            raise FileRefused(path, 'names no identity: identity = "device.key"')
        trust = _trust(table.take_table("trust"))
        limits = _limits(table.take_table("limits"))
        with refusals_of(path):
            config = cls(
                identity=Identity.load(identity),
                trust=trust,
                entropy=entropy,
                kinds=kinds,
                limits=limits,
                path=path,
                server_name=table.take("server_name", str),
                url=table.take("url", str),
                dev=table.take("dev", bool) or False,
            )
            suites = _suites(table)
            if suites is not None:
                config = replace(config, suites=suites)
        table.finish()
        return config


class _Table:
    """One table of the file; what nobody took is a mistake."""

    def __init__(self, path: Path, name: str, values: dict[str, Any]) -> None:
        self.path = path
        self._prefix = f"{name}." if name else ""
        self._values = values

    def take(self, key: str, *types: type) -> Any:
        """The value of a key, of one of these types; None where it is not there."""
        value = self._values.pop(key, None)
        if value is not None and type(value) not in types:
            wanted = " or ".join(each.__name__ for each in types)
            raise FileRefused(self.path, f"{self._prefix}{key} must be of type {wanted}, not {type(value).__name__}")
        return value

    def take_path(self, key: str) -> Path | None:
        """A file, relative to this one."""
        value = self.take(key, str)
        return None if value is None else self.path.parent / value

    def take_table(self, key: str) -> _Table:
        """A table; empty where it is not there."""
        return _Table(self.path, key, self.take(key, dict) or {})

    def finish(self) -> None:
        """Refuse the keys that nobody took."""
        for key in self._values:
            raise FileRefused(self.path, f"{self._prefix}{key} is no setting")


def _trust(table: _Table) -> TrustPolicy:
    roots, pins, revoked = (table.take_path(key) for key in ("roots", "pins", "revoked"))
    earliest: datetime | None = table.take("earliest", datetime)
    if earliest is not None and earliest.tzinfo is None:
        raise FileRefused(table.path, "trust.earliest must name its time zone: earliest = 2025-01-01T00:00:00Z")
    policy = TrustPolicy(
        roots=frozenset() if roots is None else load_roots(roots),
        pinned=frozenset() if pins is None else load_pins(pins),
        revoked=frozenset() if revoked is None else load_revoked(revoked),
        self_issued=table.take("self_issued", bool) or False,
        earliest=0.0 if earliest is None else earliest.timestamp(),
    )
    table.finish()
    return policy


def _limits(table: _Table) -> Limits:
    changes: dict[str, Any] = {}
    for field in fields(Limits):
        value = table.take(field.name, int) if field.name in _INTEGERS else table.take(field.name, int, float)
        if value is not None:
            changes[field.name] = value
    table.finish()
    with refusals_of(table.path):
        return Limits(**changes)


def _suites(table: _Table) -> tuple[Suite, ...] | None:
    names: list[Any] | None = table.take("suites", list)
    if names is None:
        return None
    unknown = [name for name in names if name not in _SUITES]
    if unknown:
        raise FileRefused(table.path, f"{unknown[0]!r} is no suite; there are {', '.join(_SUITES)}")
    return tuple(_SUITES[name] for name in names)
