"""The floors hold: the core is pure, each floor imports only those below, adapters use public names only."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "src"
ADAPTERS = ROOT / "adapters"

STANDARD_LIBRARY = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "binascii",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
        "warnings",
        "weakref",
    }
)
"""What the core may import: modules that compute and do nothing else."""
DEPENDENCIES = frozenset({"cryptography", "google"})
TEST_TOOLS = {"ratatoskr.testing.plugin": {"pytest"}, "ratatoskr.testing.strategies": {"hypothesis"}}
IMPURE_CALLS = re.compile(r"(.*\.)?(date|datetime)\.(now|today|utcnow)|.*\.generate(_key)?|open|input|print")
"""Functions that read a clock, make randomness or touch a file, as they are written."""
PUBLIC = frozenset({"ratatoskr", "ratatoskr.lines", "ratatoskr.service", "ratatoskr.testing", "ratatoskr.v1"})
"""What an adapter may import of the core."""


class Import(NamedTuple):
    module: str
    name: str | None
    line: int


def imports(tree: ast.AST) -> Iterator[Import]:
    """Every import, also those inside functions; relative ones are refused by the linter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(node.module or "", alias.name, node.lineno) for alias in node.names)


def core_faults(module: str, tree: ast.AST) -> Iterator[str]:
    """What a module of the core must not do."""
    allowed = STANDARD_LIBRARY | DEPENDENCIES | {"ratatoskr"} | TEST_TOOLS.get(module, set())
    for found in imports(tree):
        if found.module.partition(".")[0] not in allowed:
            yield f"{module}:{found.line} imports {found.module}"
    if module.startswith("ratatoskr.testing"):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and IMPURE_CALLS.fullmatch(called := ast.unparse(node.func)):
            yield f"{module}:{node.lineno} calls {called}()"


def adapter_faults(module: str, tree: ast.AST) -> Iterator[str]:
    """What a module of an adapter must not import."""
    package = module.partition(".")[0]
    for found in imports(tree):
        top = found.module.partition(".")[0]
        if top == "ratatoskr":
            whole = f"{found.module}.{found.name}"
            if found.module not in PUBLIC and whole not in PUBLIC:
                yield f"{module}:{found.line} imports {found.module}, which is not public"
        elif not top.startswith("ratatoskr_") or top == package:
            continue
        names = [*found.module.split("."), found.name or ""]
        if any(name.startswith("_") and name != "__version__" for name in names):
            yield f"{module}:{found.line} imports a private name of {top}: {found.name or found.module}"


def modules(base: Path) -> Iterator[tuple[str, ast.AST]]:
    """Dotted name and syntax tree of each module that people wrote."""
    for path in sorted(base.rglob("*.py")):
        if path.name.endswith("_pb2.py"):
            continue
        parts = path.relative_to(base).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_the_core_imports_only_what_computes() -> None:
    assert [fault for name, tree in modules(CORE) for fault in core_faults(name, tree)] == []


def test_adapters_import_public_names_only() -> None:
    assert [fault for name, tree in modules(ADAPTERS) for fault in adapter_faults(name, tree)] == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("ratatoskr.session.calls", "import time", "ratatoskr.session.calls:1 imports time"),
        ("ratatoskr.session.calls", "def f():\n    from os import path", "ratatoskr.session.calls:2 imports os"),
        ("ratatoskr.channel.noise", "from secrets import token_bytes", "ratatoskr.channel.noise:1 imports secrets"),
        ("ratatoskr.testing.pair", "import pytest", "ratatoskr.testing.pair:1 imports pytest"),
        ("ratatoskr.config", "import protovalidate", "ratatoskr.config:1 imports protovalidate"),
        ("ratatoskr.identity.keys", "K.generate()", "ratatoskr.identity.keys:1 calls K.generate()"),
        ("ratatoskr.config", "datetime.now(UTC)", "ratatoskr.config:1 calls datetime.now()"),
        ("ratatoskr.config", "open('x')", "ratatoskr.config:1 calls open()"),
    ],
)
def test_an_impure_core_module_is_found(module: str, source: str, fault: str) -> None:
    assert list(core_faults(module, ast.parse(source))) == [fault]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("from ratatoskr.connection import Connection", "x.a:1 imports ratatoskr.connection, which is not public"),
        ("import ratatoskr.session.calls", "x.a:1 imports ratatoskr.session.calls, which is not public"),
        ("from ratatoskr import _secret", "x.a:1 imports a private name of ratatoskr: _secret"),
        ("from ratatoskr_files import _load", "x.a:1 imports a private name of ratatoskr_files: _load"),
        ("from ratatoskr_files._x import load", "x.a:1 imports a private name of ratatoskr_files: load"),
        ("from ratatoskr.v1.money_pb2 import Money", "x.a:1 imports ratatoskr.v1.money_pb2, which is not public"),
    ],
)
def test_a_prying_adapter_is_found(source: str, fault: str) -> None:
    assert list(adapter_faults("x.a", ast.parse(source))) == [fault]


@pytest.mark.parametrize(
    "source",
    [
        "from ratatoskr import Connection",
        "import ratatoskr",
        "from ratatoskr import service, v1",
        "from ratatoskr.service import Router",
        "from ratatoskr.v1 import Money",
        "from ratatoskr_files import load",
        "from x._private import y",
        "import asyncio",
    ],
)
def test_a_well_behaved_adapter_passes(source: str) -> None:
    assert list(adapter_faults("x.a", ast.parse(source))) == []


def test_import_contracts_hold() -> None:
    """The layers in pyproject.toml, by import-linter."""
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports"
    result = subprocess.run(
        [command, "--no-cache", "--config", "pyproject.toml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
