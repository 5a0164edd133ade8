"""The documentation site, built by Sphinx: .venv/bin/sphinx-build -W --keep-going -c docs . build/site.

The source folder is the repository: a link between two files leads to the same place on the site and in a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path

from costmodel.version import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "costmodel"
author = "The costmodel contributors"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "_notebooks", "_reference"]
root_doc = "docs/index"
include_patterns = ["docs/**", "reports/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "**/__pycache__", "build", "dist", "costmodel", "models", "src", "tests"]

myst_heading_anchors = 4
# A name that does not exist is a warning, as are all links; but signatures may name types that are not public.
nitpicky = True
nitpick_ignore_regex = [("py:class", ".*")]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"Count": "Count"}
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries = False

html_theme = "furo"
html_title = "costmodel"
html_static_path = ["_static"]
html_css_files = ["costmodel.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
