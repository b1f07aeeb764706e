"""Sphinx configuration: `make docs` builds the site of all pages of the repository into site/."""

from importlib import metadata

project = "RATE"
author = "The rate-rl authors"
project_copyright = "The rate-rl authors; MIT licence"
release = metadata.version("rate-rl")

root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/migration/*.md",
    "docs/results/*.md",
    "benchmarks/README.md",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
suppress_warnings = [
    "myst.xref_missing",  # links to files of the repository, which are not pages
    "myst.header",  # a page of results begins below its title
    "misc.highlighting_failure",
]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "RATE: agents that must remember"
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
