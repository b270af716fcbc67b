"""Feedback for students: nbgrader's HTML page of a graded notebook, without hidden tests."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbgrader import api
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory

from coursekit.course import Course, atomic_write
from coursekit.grading import Result
from coursekit.nbgrader_plugins import RedactHiddenTests

__all__ = ["FeedbackWriter"]


_TEMPLATES = Path(__file__).parent / "templates"

# An image without alternative text.
_IMAGE = re.compile(r"<img(?![^>]*\salt=)(?=[\s/>])")
_ALT = '<img alt="No description has been provided for this image"'


class _Page(HTMLExporter):
    """nbconvert's HTML without its last pass, which parses the whole page again and takes longer than all the rest.

    Of what that pass does, nbgrader's template is concerned by images' alternative texts alone.
    """

    def from_notebook_node(
        self, nb: nbformat.NotebookNode, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """Convert a notebook."""
        language = nb.metadata.get("language_info", {})
        lexer = language.get("pygments_lexer", language.get("name"))
        resources = self._init_resources(resources)
        self.register_filter("highlight_code", Highlight2HTML(pygments_lexer=lexer, parent=self))
        widgets = WidgetsDataTypeFilter(notebook_metadata=self._nb_metadata, parent=self, resources=resources)
        self.register_filter("filter_data_type", widgets)
        html, resources = super(HTMLExporter, self).from_notebook_node(nb, resources, **kw)
        return _IMAGE.sub(_ALT, html), resources


class FeedbackWriter:
    """Writes `CLASS/feedback/STUDENT/ASSIGNMENT/ASSIGNMENT.html` with nbgrader's preprocessors and, but for the list of
    what was graded, its template."""

    def __init__(self, course: Course, class_dir: Path, db_url: str) -> None:
        self.class_dir, self.db_url = class_dir, db_url
        self._known: dict[str, set[str]] = {}
        converter = GenerateFeedback(coursedir=CourseDirectory(root=str(class_dir)), config=course.config)
        logging.getLogger("traitlets").setLevel(logging.CRITICAL)
        html = converter.config.HTMLExporter
        html.template_name = "coursekit_feedback"  # ours extends nbgrader's
        html.extra_template_paths = [*html.extra_template_paths, *html.extra_template_basedirs]
        html.extra_template_basedirs = [str(_TEMPLATES), *html.extra_template_basedirs]
        self.exporter = _Page(config=converter.config)
        for preprocessor in converter.preprocessors:
            self.exporter.register_preprocessor(preprocessor, enabled=True)

    def write(self, student: str, result: Result, *, note: str = "") -> Path:
        """Write one page with the scores and comments that the gradebook has by now, and `note` behind it.

        A graded cell that is not among the gradebook's cells is shown without a score: an older release may have it.
        """
        known = self._cells(result.assignment)
        nb = nbformat.reads(result.notebook, as_version=4)
        # First, since it goes by the metadata that may be taken off next.
        nb, _ = RedactHiddenTests().preprocess(nb, {})
        for cell in nb.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") not in known:
                cell.metadata.pop("nbgrader", None)
        name = result.assignment
        where = {"student": student, "assignment": name, "notebook": name, "db_url": self.db_url}
        html, _ = self.exporter.from_notebook_node(nb, resources={"nbgrader": where, "unique_key": name})
        path = self.class_dir / "feedback" / student / name / f"{name}.html"
        atomic_write(path, (html + note).encode("utf-8"))
        return path

    def _cells(self, assignment: str) -> set[str]:
        if assignment not in self._known:
            with api.Gradebook(self.db_url) as gradebook:
                notebook = gradebook.find_notebook(assignment, assignment)
                self._known[assignment] = {c.name for c in notebook.source_cells}
        return self._known[assignment]
