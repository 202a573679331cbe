"""The documentation's site: sphinx-build -W docs DIRECTORY."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from labctl import __version__

project = "labctl"
author = copyright = "The labctl developers"  # noqa: A001  the name that Sphinx reads
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "made_from_code"]
exclude_patterns = ["examples/run"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
toc_object_entries = False  # the sidebar shows pages and sections
autodoc_default_options = {"members": True}

html_theme = "alabaster"
html_theme_options = {
    "description": "Fluence sweeps and lasing thresholds on a femtosecond bench",
    "page_width": "78em",
    "sidebar_width": "17em",
    "font_family": "sans-serif",
    "head_font_family": "sans-serif",
    "font_size": "0.95em",
    "code_font_size": "0.82em",
    "fixed_sidebar": True,
    "show_powered_by": False,
    "sidebar_collapse": True,
}
html_sidebars = {"**": ["about.html", "searchbox.html", "navigation.html"]}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_sphinx = False
