"""Links of pages to what is beside docs/: to its page of the site where it has one, else only its name stays."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

PAGES = {"README": "start", "CHANGELOG": "changelog"}


def redirect(app: Sphinx, page: nodes.document) -> None:
    """Called by Sphinx for each page that was read. A link that leads nowhere stays as it is, and fails the build."""
    docs = Path(app.srcdir)
    beside = (docs.parent, (docs / app.env.docname).parent)
    for node in list(page.findall(addnodes.pending_xref)):
        if node["reftype"] != "myst":
            continue
        target = Path(node["reftarget"])
        if target.stem in PAGES:
            node["refdomain"], node["reftarget"] = "doc", PAGES[target.stem]
            node.attributes.setdefault("reftargetid", None)
        elif node["refdomain"] is None and any((directory / target).exists() for directory in beside):
            node.parent.replace(node, node.children)
