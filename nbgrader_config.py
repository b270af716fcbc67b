"""nbgrader's configuration, and the one place where coursekit learns the course's folders."""

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "normalizing-flows"
# The source notebooks and the release are both generated: `coursekit build` makes them from solutions/*.py.
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "course"
# nbgrader copies every other file beside a notebook. A `.py` beside a source notebook may be a solution, and
# one beside a submission may shadow a library (`torch.py`).
c.CourseDirectory.ignore = [".ipynb_checkpoints", "__pycache__", "*.pyc", "*.py"]

c.ClearSolutions.code_stub = {"python": '# YOUR CODE HERE\nraise NotImplementedError("not answered yet")'}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"

# Plain `nbgrader autograde` gives 0 to a test cell that writes to stderr: a warning would cost points.
c.Execute.timeout = 30
c.Autograde.autograde_preprocessors = [
    "nbgrader.preprocessors.Execute",
    "coursekit.nbgrader_plugins.DropStderr",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
# nbgrader's feedback shows hidden tests; this course's does not.
c.GenerateFeedback.preprocessors = [
    "nbgrader.preprocessors.GetGrades",
    "coursekit.nbgrader_plugins.RedactHiddenTests",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
# Students' Markdown may hold scripts: neither feedback nor the formgrader runs them.
c.TemplateExporter.filters = {"markdown2html": "coursekit.sanitize.page_markdown"}
