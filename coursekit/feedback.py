"""Feedback for students: nbgrader's HTML page of a graded notebook, without hidden tests."""

from __future__ import annotations

import logging
from collections.abc import Container
from pathlib import Path

import nbformat
from nbconvert.exporters import HTMLExporter
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory

from coursekit.course import Course, atomic_write
from coursekit.grading import Result
from coursekit.nbgrader_plugins import RedactHiddenTests

__all__ = ["FeedbackWriter"]


class FeedbackWriter:
    """Writes `CLASS/feedback/STUDENT/ASSIGNMENT/ASSIGNMENT.html` with nbgrader's template and
    preprocessors."""

    def __init__(self, course: Course, class_dir: Path, db_url: str) -> None:
        self.class_dir, self.db_url = class_dir, db_url
        converter = GenerateFeedback(coursedir=CourseDirectory(root=str(class_dir)), config=course.config)
        logging.getLogger("traitlets").setLevel(logging.CRITICAL)
        self.exporter = HTMLExporter(config=converter.config)
        for preprocessor in converter.preprocessors:
            self.exporter.register_preprocessor(preprocessor, enabled=True)

    def write(self, student: str, result: Result, known: Container[str]) -> Path:
        """Write one page with the scores and comments that the gradebook has by now.

        A graded cell that is not among the gradebook's cells, `known`, is shown without a score: an older release
        may have it.
        """
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
        atomic_write(path, html.encode("utf-8"))
        return path
