"""An extension of Sphinx: the API reference of all public names, and links that leave docs/."""

from __future__ import annotations

from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from tools.site import links, references
from tools.site.directive import Public, public_bases


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("public", Public)
    app.add_lexer("mermaid", TextLexer)
    app.connect("missing-reference", references.resolve)
    app.connect("doctree-read", links.redirect)
    app.connect("doctree-read", references.leave_builtins)
    app.connect("autodoc-process-bases", public_bases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
