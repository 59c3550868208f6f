"""``.. public:: PACKAGE``: every public name of a package."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any, ClassVar

from docutils.nodes import Node
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from tools.site import names, wire

GROUPS = ("Functions", "Classes", "Exceptions", "Enumerations", "Types and values")
_KINDS = {"Functions": ("function", "func"), "Exceptions": ("exception", "exc"), "Types and values": ("data", "data")}
_LONG = 120


class Public(SphinxDirective):
    """The docstring of the package, then its names in groups."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[Node]:
        """Called by docutils."""
        return self.parse_text_to_nodes("\n".join(package(self.arguments[0])), allow_section_headings=True)


def package(name: str) -> Iterator[str]:
    """A package in reStructuredText."""
    yield from (f".. automodule:: {name}", "   :no-members:", "", f".. currentmodule:: {name}", "")
    module = import_module(name)
    groups: dict[str, list[str]] = {}
    for each in names.public(name):
        groups.setdefault(names.group(getattr(module, each)), []).append(each)
    messages = wire.of_package(name)
    for title in GROUPS:
        if title in groups:
            yield from (title, "-" * len(title), "")
        for each in groups.get(title, []):
            yield from _one(name, each, getattr(module, each), messages)


def _one(package: str, name: str, value: Any, messages: dict[str, list[str]]) -> Iterator[str]:
    home = names.homes().get(names.canonical_name(package, name) or "", f"{package}.{name}")
    if name in messages:
        yield from messages[name]
    elif home != f"{package}.{name}":
        yield from _elsewhere(name, value, home)
    elif isinstance(value, type):
        yield from (f".. autoclass:: {package}.{name}", *_inherited(value))
        if _shown(value.__bases__):
            yield "   :show-inheritance:"
        yield ""
    elif names.group(value) == "Functions":
        yield from (f".. autofunction:: {package}.{name}", "")
    else:
        yield from _data(package, name)


def _elsewhere(name: str, value: Any, home: str) -> Iterator[str]:
    kind = {"Functions": "function", "Exceptions": "exception", "Types and values": "data"}.get(
        names.group(value), "class"
    )
    role = {"function": "func", "exception": "exc"}.get(kind, kind)
    yield from (f".. py:{kind}:: {name}", "", f"   This is :{role}:`{home}`.", "")


def _data(package: str, name: str) -> Iterator[str]:
    """A value: its type, and what it is where that is short; of an alias, always."""
    annotation, value, doc = names.assignment(package, name)
    yield f".. py:data:: {name}"
    if annotation not in {"", "Final", "TypeAlias"}:
        yield f"   :type: {annotation.removeprefix('Final[').removesuffix(']')}"
    if annotation == "TypeAlias" or len(value) < _LONG:
        yield f"   :value: {value}"
    yield ""
    yield from (f"   {line}" for line in inspect.cleandoc(doc).splitlines())
    yield ""


def public_bases(app: Sphinx, name: str, value: type, options: object, bases: list[Any]) -> None:  # noqa: ARG001
    """Called by Sphinx for a class: only bases that tell its user something are named."""
    bases[:] = _shown(bases)


def _shown(bases: Iterable[Any]) -> list[Any]:
    return [
        base
        for base in bases
        if isinstance(base, type)
        and (
            (issubclass(base, BaseException | enum.Enum) and base.__module__ in {"builtins", "enum"})
            or f"{base.__module__}.{base.__qualname__}" in names.homes()
        )
    ]


def _inherited(cls: type) -> Iterator[str]:
    """Members of bases that are not public are members of the class for whoever reads about it."""
    bases = cls.__mro__[1:]
    ours = [base for base in bases if base.__module__.startswith("ratatoskr")]
    shown = {f"{base.__module__}.{base.__qualname__}" for base in ours} - names.homes().keys()
    if shown and not issubclass(cls, Message | EnumTypeWrapper):
        stop = [base.__name__ for base in bases if f"{base.__module__}.{base.__qualname__}" not in shown]
        yield f"   :inherited-members: {', '.join(stop)}"
