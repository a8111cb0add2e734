"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

from codex_nb import __version__

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]
import generated_pages  # noqa: E402 - it is in this folder

generated_pages.write(DOCS)

project = "codex_nb"
author = "the codex_nb authors"
copyright = "2026, the codex_nb authors"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_generated/modules.md", "_generated/error_classes.md", "_generated/faults.md"]
html_theme = "furo"
html_static_path = ["_static"]
html_title = f"codex_nb {__version__}"

# The tour notebooks are shown as saved; the tests execute them.
nb_execution_mode = "off"
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_default_options = {"show-inheritance": True}
intersphinx_mapping = {}

# Saved outputs have media types that the pages do not show; the HTML of the same output is shown instead.
suppress_warnings = ["mystnb.unknown_mime_type"]
