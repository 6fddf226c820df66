"""Sphinx builds the guide from this folder: `make docs`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from numpydoc.xref import DEFAULT_LINKS
from sklearn.exceptions import ConvergenceWarning
from sphinx.application import Sphinx

import layerwise

sys.path.append(str(Path(__file__).parent / "_ext"))

project = "layerwise"
author = "the founders of layerwise"
copyright = f"2026, {author}"
version = release = layerwise.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "command_line",
    "initials",
    "links_outside",
    "methods",
]
exclude_patterns = ["_build", "generated/commands.md", "sg_execution_times.rst"]
templates_path = ["_templates"]
default_role = "autolink"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more of each parameter
smartquotes = False  # default="auto" is to be copied
highlight_language = "none"  # what is not said to be Python is a formula or the output of a program
numpydoc_show_class_members = False
# Types of parameters lead to the classes of layerwise, and to nothing else.
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {name: name for name in DEFAULT_LINKS} | {
    name: f"layerwise.{name}" for name in layerwise.__all__
}
# What `methods` hands to the templates are functions, which no cache holds.
suppress_warnings = ["config.cache"]

# The examples stop after a set number of iterations.
warnings.filterwarnings("ignore", category=ConvergenceWarning)
# Every concept page shows the picture of an example; they are run when the guide is built, and by the tests.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("layerwise",),
    "remove_config_comments": True,
    "plot_gallery": "True",
}

html_theme = "pydata_sphinx_theme"
html_title = "layerwise"
html_static_path = ["_static"]
html_css_files = ["guide.css"]
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {page: [] for page in ("index", "start", "choosing", "evidence", "results")}  # they have no section
html_context = {"default_mode": "auto"}
html_copy_source = False
html_use_index = False
html_show_sourcelink = False


def _math(self: Any, node: nodes.Node, display: str) -> None:
    """Write a formula as MathML, which browsers render themselves: no script, no network."""
    self.body.append(latex2mathml.converter.convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Render formulas without a script from elsewhere."""
    app.add_node(
        nodes.math,
        override=True,
        html=(lambda self, node: _math(self, node, "inline"), None),
    )
    app.add_node(
        nodes.math_block,
        override=True,
        html=(lambda self, node: _math(self, node, "block"), None),
    )
