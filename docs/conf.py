"""The documentation site: `tox -e docs`. What makes the API reference is in tools/site."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "Ratatoskr"
author = "the authors of Ratatoskr"
extensions = ["myst_parser", "sphinx.ext.autodoc", "tools.site"]
# Pages of the site alone are .myst: what ends in .md is read on its own, too, and is a file of the tests of pages.
source_suffix = {".md": "markdown", ".myst": "markdown", ".rst": "restructuredtext"}
nitpicky = True
smartquotes = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": True}
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 150
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "Ratatoskr"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_domain_indices = False
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
