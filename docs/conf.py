"""Sphinx's configuration of the course's web site, which `make site` builds.

`coursekit site` assembles the source elsewhere, from the texts of this folder and a page for each notebook.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from coursekit.course import Course
from coursekit.site import DOWNLOADS

HERE = Path(__file__).resolve().parent
COURSE = Course.find(HERE)
# For the extensions in docs/ext.
sys.path.insert(0, str(COURSE.root))

project = "Normalizing flows"
version = release = importlib.metadata.version(COURSE.distribution)
language = "en"

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "docs.ext.docstrings",
    "docs.ext.repository_links",
]
# `figures` holds the sources of interactive figures; notebooks and pages carry what is built from them.
exclude_patterns = [DOWNLOADS, "figures", "_build"]

# Notebooks come executed.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Docstrings: Google's sections; a word between single backticks is code.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = project
html_baseurl = COURSE.settings["site"].rstrip("/") + "/"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static", "../build/static"]
html_css_files = ["course.css"]
html_js_files = [("folds.js", {"defer": "defer"}), ("names.js", {"defer": "defer"})]
html_copy_source = True
html_sourcelink_suffix = ""
html_show_sphinx = False
# The reader's system decides between light and dark until the reader does.
html_context = {"default_mode": "auto"}
html_theme_options = {
    "repository_url": COURSE.settings["repository"],
    "repository_branch": COURSE.settings["branch"],
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": True,
    "use_fullscreen_button": False,
    "launch_buttons": {
        "notebook_interface": "jupyterlab",
        "binderhub_url": "https://mybinder.org",
        "colab_url": "https://colab.research.google.com",
    },
    "home_page_in_toc": False,
    "footer_content_items": ["extra-footer.html"],
    "extra_footer": f"<p>Version {version}. Code: MIT. Text and figures: CC BY 4.0.</p>",
    "show_toc_level": 2,
    # The theme has its own search box; a second one would stand in the header.
    "navbar_persistent": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

# `make site` puts MathJax beside the other static files: a reader needs no other server.
mathjax_path = "mathjax/tex-chtml.js"
mathjax4_config = {"loader": {"paths": {"fonts": "[mathjax]/fonts"}}}


class ExerciseIds(SphinxTransform):
    """The section "Exercise 3 · …" can be linked to as `#exercise-3`, on every page."""

    default_priority = 500

    def apply(self) -> None:
        for section in self.document.findall(nodes.section):
            title = section.next_node(nodes.title)
            if title is not None and (found := re.match(r"Exercise (\d+)\b", title.astext())):
                section["ids"].insert(0, f"exercise-{found[1]}")


def offer_released_notebooks(app: Sphinx, error: Exception | None) -> None:
    """The download button gives the student's notebook, not the notebook that the page was made from."""
    if error is None and app.builder.format == "html":
        shutil.copytree(Path(app.srcdir) / DOWNLOADS, Path(app.outdir) / "_sources", dirs_exist_ok=True)


def setup(app: Sphinx) -> None:
    """Register what stands above."""
    app.add_transform(ExerciseIds)
    app.connect("build-finished", offer_released_notebooks)
