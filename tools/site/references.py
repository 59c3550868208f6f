"""References by the names that the code has: to where the public name is documented."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from tools.site import names


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Called by Sphinx for what it does not find. A name of the code that is not public stays text. None for a name
    that the code does not have: a warning, and the build fails.
    """
    if node.get("refdomain") != "py":
        return None
    objects = env.domains.python_domain.objects
    known = False
    for target in meant(node["reftarget"], f"{node.get('py:module')}.{node.get('py:class')}"):
        known = True
        if target in objects:
            entry = objects[target]
            uri = f"{app.builder.get_relative_uri(node['refdoc'], entry.docname)}#{entry.node_id}"
            return nodes.reference("", "", content, internal=True, refuri=uri)
    return content if known or _is_in_signature(node) else None


def leave_builtins(app: Sphinx, page: nodes.document) -> None:  # noqa: ARG001 - as Sphinx calls it
    """In a signature ``type`` is Python's, not a field of that name."""
    for node in list(page.findall(addnodes.pending_xref)):
        if hasattr(builtins, node["reftarget"]) and _is_in_signature(node):
            node.parent.replace(node, nodes.Text(node["reftarget"]))


def meant(target: str, inside: str) -> Iterator[str]:
    """The names under which what ``target`` says may be documented; none where the code has no such name.

    ``inside``: the public name of the class whose docstring it is from. Its bases and its module are searched, too.
    """
    places = [""]
    if isinstance(found := _value(inside), type):
        places += [f"{base.__module__}.{base.__qualname__}." for base in found.__mro__]
        places += [f"{base.__module__}." for base in found.__mro__]
    for place in places:
        if _value(place + target) is not None:
            yield names.documented(place + target)
    first, dot, rest = target.partition(".")
    homes = (home + dot + rest for home in names.homes().values() if home.endswith(f".{first}"))
    yield from (home for home in homes if _value(home) is not None)


def _value(dotted: str) -> Any:
    """What a dotted name stands for, or None."""
    parts = dotted.split(".")
    for at in range(len(parts), 0, -1):
        try:
            value = import_module(".".join(parts[:at]))
        except ImportError:
            continue
        for part in parts[at:]:
            value = getattr(value, part, None)  # type: ignore[assignment]
        return value
    return None


def _is_in_signature(node: nodes.Element) -> bool:
    parent = node.parent
    while parent is not None and not isinstance(parent, addnodes.desc_signature):
        parent = parent.parent
    return parent is not None
