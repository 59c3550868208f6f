"""The public names: which there are, and where each is documented in full."""

from __future__ import annotations

import ast
import enum
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

PACKAGES = (
    "ratatoskr",
    "ratatoskr.lines",
    "ratatoskr.service",
    "ratatoskr.testing",
    "ratatoskr.v1",
    "ratatoskr_asyncio",
    "ratatoskr_files",
    "ratatoskr_sandbox",
    "ratatoskr_stores",
    "ratatoskr_websockets",
)
"""Those whose ``__all__`` is public. A name that several have is documented in the first."""


def public(package: str) -> list[str]:
    """The public names of a package."""
    return [str(name) for name in import_module(package).__all__]


@cache
def homes() -> dict[str, str]:
    """Where a class or function is defined → the public name that it is documented under."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for name in public(package):
            if canonical := canonical_name(package, name):
                found.setdefault(canonical, f"{package}.{name}")
    return found


def canonical_name(package: str, name: str) -> str | None:
    """Module and name that a public name comes from; None for a name that no module of ours assigns."""
    return _canonical(import_module(package), name)


def _canonical(package: ModuleType, name: str) -> str | None:
    value = getattr(package, name, None)
    module, qualified = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    if qualified == name and str(module).startswith("ratatoskr"):
        return f"{module}.{qualified}"
    modules = (each for each in _assigning().get(name, ()) if getattr(sys.modules[each], name) is value)
    return next((f"{each}.{name}" for each in modules), None)


def documented(dotted: str) -> str:
    """The public name of a name of the code, or of its class; the name itself where there is none."""
    head, tail = dotted, ""
    while head:
        if head in homes():
            return homes()[head] + tail
        module, _, last = head.rpartition(".")
        if module in sys.modules and (canonical := _canonical(sys.modules[module], last)) in homes():
            return homes()[canonical] + tail
        head, tail = module, f".{last}{tail}"
    return dotted


class Assignment(NamedTuple):
    """A name that a module assigns a value to."""

    annotation: str
    value: str
    doc: str


def assignment(package: str, name: str) -> Assignment:
    """Where a public name of data comes from. KeyError where no module of ours assigns it."""
    canonical = canonical_name(package, name)
    if canonical is None:
        raise KeyError(f"{package}.{name}")
    return _assignments(canonical.rpartition(".")[0])[name]


@cache
def _assigning() -> dict[str, list[str]]:
    """Name → the modules of ours that assign it."""
    for package in PACKAGES:
        import_module(package)
    tops = {package.partition(".")[0] for package in PACKAGES}
    found: dict[str, list[str]] = {}
    for module in sorted(name for name in sys.modules if name.partition(".")[0] in tops and not name.endswith("_pb2")):
        for name in _assignments(module):
            found.setdefault(name, []).append(module)
    return found


@cache
def _assignments(module: str) -> dict[str, Assignment]:
    file = sys.modules[module].__file__
    return dict(_assigned(ast.parse(Path(file).read_text(encoding="utf-8")).body)) if file else {}


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, Assignment]]:
    for statement, following in zip(body, [*body[1:], None], strict=True):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value):
                kind = ast.unparse(annotation)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                kind = ""
            case _:
                continue
        match following:
            case ast.Expr(value=ast.Constant(value=str(doc))):
                yield name, Assignment(kind, ast.unparse(value), doc)
            case _:
                yield name, Assignment(kind, ast.unparse(value), "")


def group(value: Any) -> str:
    """The heading that a public name stands under."""
    match value:
        case type() if issubclass(value, BaseException):
            return "Exceptions"
        case type() if issubclass(value, enum.Enum):
            return "Enumerations"
        case type():
            return "Classes"
        case _ if callable(value) and hasattr(value, "__code__"):
            return "Functions"
        case _:
            return "Types and values"
