"""From text to a source notebook: headers, magics, ids, and errors that name their line."""

from __future__ import annotations

import nbformat
import pytest

from coursekit.errors import CourseError
from coursekit.source import notebook_bytes, read_source


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "01_topic.py"
        path.write_text(text, encoding="utf-8")
        return read_source(path)

    return read


def test_every_role_becomes_nbgraders_metadata(read):
    nb = read(
        '# %% solution="f"\nf = 1\n'
        '# %% test="f_is_one" points=2\nassert f == 1\n'
        '# %% [markdown] manual="why" points=1.5\n# Because.\n'
        '# %% manual="code" points=1\nx = 1\n'
        '# %% locked="given"\ny = 2\n'
        '# %% [markdown] task="plot" points=3\n# Plot.\n'
        "# %% [markdown]\n# Text.\n"
    )
    roles = {
        c.metadata.nbgrader.grade_id: (
            c.cell_type,
            *(c.metadata.nbgrader[k] for k in ("grade", "locked", "solution", "task")),
            c.metadata.nbgrader.get("points"),
        )
        for c in nb.cells[:-1]
    }
    assert roles == {
        "f": ("code", False, False, True, False, None),
        "f_is_one": ("code", True, True, False, False, 2),
        "why": ("markdown", True, False, True, False, 1.5),
        "code": ("code", True, False, True, False, 1),
        "given": ("code", False, True, False, False, None),
        "plot": ("markdown", False, True, False, True, 3),
    }
    assert all(c.metadata.nbgrader.schema_version == 3 for c in nb.cells[:-1])
    assert "nbgrader" not in nb.cells[-1].metadata
    nbformat.validate(nb)


def test_text_magics_and_tags(read):
    nb = read(
        "# of the file\n\n# %% [markdown]\n# # Title\n#\n# $x$\n\n\n"
        '# %% tags="hide-input wide"\n# %pip install this\nif True:\n    # !ls\n    pass\n# %age is no magic: it\n'
    )
    assert nb.cells[0].source == "# Title\n\n$x$"
    assert nb.cells[1].source.split("\n")[:3] == ["%pip install this", "if True:", "    !ls"]
    assert nb.cells[1].metadata.tags == ["hide-input", "wide"]


def test_a_header_inside_a_string_is_text(read):
    nb = read('# %%\ntext = """\n# %% no header\n"""\n')
    assert len(nb.cells) == 1
    assert "# %% no header" in nb.cells[0].source


def test_ids_are_unique_and_the_bytes_repeat(read):
    text = "# %%\nx = 1\n# %%\nx = 1\n# %% [markdown]\n# x = 1\n"
    first, second = read(text), read(text)
    assert len({c.id for c in first.cells}) == 3
    assert notebook_bytes(first) == notebook_bytes(second)


def test_release_changes_with_the_cells_alone(read):
    one, comment, other = (
        read(f"{head}# %%\n{body}\n") for head, body in (("", "x"), ("# c\n", "x"), ("", "y"))
    )
    releases = [nb.metadata.coursekit.release for nb in (one, comment, other)]
    assert releases[0] == releases[1] != releases[2]
    assert one.metadata.coursekit.assignment == "01_topic"


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (1, "unknown keyword 'worth'", '# %% test="t" worth=2\n'),
        (3, "stands at line 1 already", '# %% test="t" points=2\n1\n# %% locked="t"\n2\n'),
        (1, "lacks points", '# %% test="t"\n'),
        (1, "got ''", '# %% test="" points=1\n'),
        (1, "expected letters, digits", '# %% test="two words" points=1\n'),
        (1, "expected letters, digits", "# %% test=3 points=1\n"),
        (1, "keywords such as", "# %% test points=1\n"),
        (1, "keywords such as", "# %% A title\n"),
        (1, "a number ≥ 0", '# %% test="t" points=-1\n'),
        (1, "a number ≥ 0", '# %% test="t" points="2"\n'),
        (1, "a number ≥ 0", '# %% test="t" points=true\n'),
        (1, "a quoted text", "# %% test=t points=1\n"),
        (1, "given twice", '# %% test="t" points=1 points=2\n'),
        (1, "one role", '# %% test="t" locked="l" points=1\n'),
        (1, "takes no points", '# %% solution="f" points=1\nf = 1\n'),
        (1, "points without", "# %% points=1\n"),
        (1, "expected a code cell for test", '# %% [markdown] test="t" points=1\n# text\n'),
        (1, "expected a markdown cell for task", '# %% task="t" points=1\n'),
        (1, "expected [markdown], got [raw]", "# %% [raw]\n"),
        (1, "to define 'f'", '# %% solution="f"\ng = 1\n'),
        (1, "tags=", "# %% tags=3\n"),
        (3, "begin with '# '", "# %% [markdown]\n# text\nno comment\n"),
        (1, "only comments before", "x = 1\n# %%\n"),
        (1, "expected cell headers", "x = 1\n"),
        (3, "BEGIN SOLUTION without its END", '# %% solution="f"\nf = 1\n### BEGIN SOLUTION\n'),
        (2, "END SOLUTION without its BEGIN", '# %% solution="f"\n### END SOLUTION\nf = 1\n'),
        (2, "stands outside of a solution or manual cell", "# %%\n### BEGIN SOLUTION\n### END SOLUTION\n"),
        (2, "stands outside of a test cell", "# %%\n### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\n"),
        (2, "not Python", '# %%\nx = """\n'),
    ],
)
def test_an_error_names_file_and_line(read, line, reason, text):
    with pytest.raises(CourseError) as caught:
        read(text)
    where, _, what = str(caught.value).partition(": ")
    assert where.endswith(f"01_topic.py:{line}"), caught.value
    assert reason in what
