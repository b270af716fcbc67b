"""The machinery of a course of notebooks: build, check, grade.

It knows nothing of the course's subject. What it must be told stands in `[tool.coursekit]` of pyproject.toml
and in nbgrader_config.py.
"""

__all__: list[str] = []
