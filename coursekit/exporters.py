"""Grades for a learning management system, as plugins of `nbgrader export`.

    nbgrader export --exporter coursekit.exporters.CanvasExporter --to grades.csv
    nbgrader export --exporter coursekit.exporters.MoodleExporter --MoodleExporter.identifier=email --to grades.csv

Names, email addresses and `lms_user_id` are those of the gradebook's students (`nbgrader db student add`). A late
penalty is taken off as nbgrader's own exporter does. Who handed in nothing has an empty grade: a 0 in the file would
replace an excuse or a grade given in the LMS (`--CanvasExporter.missing=zero` writes it nevertheless).

What the formats demand was read in the importers themselves: Canvas `lib/gradebook_importer.rb` (instructure/canvas-lms),
Moodle `grade/import/csv/classes/load_data.php` and `lib/csvlib.class.php` (moodle/moodle), and in
docs.moodle.org/en/Grade_import.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, Student
from nbgrader.apps import NbGrader
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Dict, Enum, Unicode

from coursekit.course import atomic_write
from coursekit.errors import CourseError
from coursekit.spreadsheet import plain_cell

__all__ = ["CanvasExporter", "MoodleExporter"]

# Canvas ignores every column with one of these texts anywhere in its title (NON_ASSIGNMENT_COLUMN_HEADERS), and takes
# a column with one of the reserved names for something else.
_CANVAS_IGNORED = re.compile("(Current|Final) (Score|Points|Grade)|Override (Score|Grade|Status)")
_CANVAS_RESERVED = {
    *("Student", "LastName", "FirstName", "ID", "SIS User ID", "SIS Login ID", "Section"),
    *("Integration ID", "Root Account"),
}
# "Title (17)" is Canvas's own assignment 17, whatever its title (Assignment.title_and_id).
_CANVAS_ID = re.compile(r"\s\(\d+\)\Z")
# Of Moodle's options for the user ("Map to"), those that a gradebook can know.
_MOODLE_IDENTIFIERS = {"username": "Username", "email": "Email address", "idnumber": "ID number"}
# insert_grade_record refuses the whole file for a larger grade unless the site allows it (unlimitedgrades).
_MOODLE_MOST = 100.0


class _LmsExporter(ExportPlugin):
    """What both formats share: who and what is exported, and the scores."""

    missing = Enum(["empty", "zero"], default_value="empty", help="the grade of who handed in nothing").tag(
        config=True
    )

    def export(self, gradebook: Gradebook) -> None:
        """Write the CSV file `to`, `grades.csv` by default.

        Raises:
            CourseError: when the file could not be imported; the message says why. The command `nbgrader export` prints
                it in one line and exits with 1.
        """
        try:
            self._export(gradebook)
        except CourseError as error:
            if isinstance(self.parent, NbGrader):
                self.parent.fail(str(error))
            raise

    def _export(self, gradebook: Gradebook) -> None:
        wanted = [str(a) for a in self.assignment]
        assignments = [a for a in gradebook.assignments if not wanted or a.name in wanted]
        absent = sorted(set(wanted) - {a.name for a in assignments})
        if absent:
            raise CourseError(f"the gradebook has no assignment {', '.join(absent)}")
        chosen = [str(s) for s in self.student]
        students = [s for s in gradebook.students if not chosen or s.id in chosen]
        rows = self.rows(gradebook, assignments, students)
        text = io.StringIO()
        # Both importers take the line ends of any system and fields in double quotes (RFC 4180).
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        path = Path(self.to or "grades.csv")
        # Canvas reads UTF-8; in Moodle's form it is the default encoding.
        atomic_write(path, text.getvalue().encode("utf-8", "replace"))
        self.log.info("Exported %d students to %s", len(students), path)

    def rows(self, gradebook: Gradebook, assignments: list[Any], students: list[Student]) -> list[list[str]]:
        """The header and a row a student."""
        raise NotImplementedError

    def submissions(self, gradebook: Gradebook, assignments: list[Any]) -> dict[tuple[str, str], Any]:
        """(assignment, student) → submission, one query an assignment; says what still waits for a person."""
        found = {}
        for assignment in assignments:
            waiting = 0
            for submission in gradebook.assignment_submissions(assignment.name):
                found[assignment.name, submission.student_id] = submission
                waiting += bool(submission.needs_manual_grade)
            if waiting:
                self.log.warning(
                    "%s: %d submissions wait for manual grading; exported are the points so far",
                    assignment.name,
                    waiting,
                )
        return found

    def grade(self, submission: Any | None) -> str:
        """A score as text with a decimal point, late penalty taken off; the empty text for none."""
        if submission is None:
            return "0" if self.missing == "zero" else ""
        return _decimal(max(0.0, float(submission.score) - float(submission.late_submission_penalty or 0.0)))


class CanvasExporter(_LmsExporter):
    """A CSV file for "Import" in Canvas's gradebook.

    Columns: Student ("Last, First"), ID (`lms_user_id`, Canvas's own number), SIS User ID, SIS Login ID, Section, then
    one an assignment; the second row gives the points possible. A student is found by ID, else by SIS User ID, else by
    SIS Login ID, else by name.
    """

    sis_user_id = Bool(False, help="write the gradebook's student id as SIS User ID").tag(config=True)
    login_id = Enum(["id", "email", "none"], default_value="id", help="what to write as SIS Login ID").tag(
        config=True
    )
    section = Unicode("", help="the section, the same for all; Canvas reads none").tag(config=True)
    assignment_ids = Dict(
        {}, help="Canvas's number of an assignment by its name; without it Canvas goes by the title"
    ).tag(config=True)

    def rows(self, gradebook: Gradebook, assignments: list[Any], students: list[Student]) -> list[list[str]]:
        """Header, points possible, students."""
        # The first two headers tell Canvas that this is a gradebook, `Section` ends what is about the student.
        head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
        titles = [self._title(a.name) for a in assignments]
        possible = [
            "    Points Possible",
            "",
            "",
            "",
            "",
            *(_decimal(float(a.max_score)) for a in assignments),
        ]
        found = self.submissions(gradebook, assignments)
        rows = []
        for student in students:
            login = {"id": student.id, "email": student.email or "", "none": ""}[self.login_id]
            number = (student.lms_user_id or "").strip()
            if number and not (number.isascii() and number.isdecimal()):
                # `"12x".to_i` is 12 in Ruby: somebody else's number.
                raise CourseError(f"the lms_user_id of {student.id!r} is no Canvas number: {number!r}")
            who = [plain_cell(_name(student)), number]
            who += [
                plain_cell(student.id if self.sis_user_id else ""),
                plain_cell(login),
                plain_cell(self.section),
            ]
            rows.append([*who, *(self.grade(found.get((a.name, student.id))) for a in assignments)])
        return [[*head, *titles], possible, *rows]

    def _title(self, name: str) -> str:
        if name in self.assignment_ids:
            return plain_cell(f"{name} ({int(self.assignment_ids[name])})")
        if _CANVAS_IGNORED.search(name) or name in _CANVAS_RESERVED:
            raise CourseError(f"Canvas would ignore a column called {name!r}: rename the assignment")
        if _CANVAS_ID.search(name):
            raise CourseError(
                f"Canvas would take the number at the end of {name!r} for an assignment's id: say it in assignment_ids"
            )
        return plain_cell(name)


class MoodleExporter(_LmsExporter):
    """A CSV file for "Grades → Import → CSV file" in Moodle.

    Columns: the identifier, then for each assignment its grade and, with `feedback`, a comment. In the form that follows
    the upload map the first column to `username`, `useremail` or `useridnumber`, and the others to grade items.
    """

    identifier = Enum(
        list(_MOODLE_IDENTIFIERS), default_value="username", help="what Moodle finds students by"
    ).tag(config=True)
    feedback = Bool(True, help="write a feedback column for each assignment").tag(config=True)

    def rows(self, gradebook: Gradebook, assignments: list[Any], students: list[Student]) -> list[list[str]]:
        """Header and students; who has no identifier is left out, with a warning."""
        head = [_MOODLE_IDENTIFIERS[self.identifier]]
        for assignment in assignments:
            if float(assignment.max_score) > _MOODLE_MOST:
                self.log.warning(
                    "%s has %g points: Moodle refuses grades above 100 unless its site allows them",
                    assignment.name,
                    assignment.max_score,
                )
            head.append(plain_cell(assignment.name))
            # Named as in Moodle's own export.
            head += [plain_cell(f"{assignment.name} (Feedback)")] if self.feedback else []
        found = self.submissions(gradebook, assignments)
        rows, taken = [], {}
        for student in students:
            who = self._identifier(student)
            # Moodle keeps the last row's student where the identifier is empty: the grades would be somebody else's.
            # And one student whom it does not find ends the whole import.
            if not who or plain_cell(who) != who:
                self.log.warning("%r is left out: its %s is %r", student.id, self.identifier, who)
                continue
            if who in taken:
                raise CourseError(
                    f"{student.id!r} and {taken[who]!r} have the same {self.identifier}: {who!r}"
                )
            taken[who] = student.id
            row = [who]
            for assignment in assignments:
                submission = found.get((assignment.name, student.id))
                # A new grade item takes "-" alone for no grade, one that is there takes it as well.
                row.append(self.grade(submission) or "-")
                row += [plain_cell(_feedback(submission))] if self.feedback else []
            rows.append(row)
        return [head, *rows]

    def _identifier(self, student: Student) -> str:
        value = {
            "username": student.id,
            "email": student.email,
            "idnumber": student.lms_user_id,
        }[self.identifier]
        return (value or "").strip()


def _decimal(value: float) -> str:
    """No exponent and no comma, which the importers would read otherwise.

    >>> _decimal(2.50), _decimal(100000.0), _decimal(1 / 3)
    ('2.5', '100000', '0.3333')
    """
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _name(student: Student) -> str:
    """`sortable_name` in Canvas: "Last, First"; the id where the gradebook has no name."""
    names = (" ".join((n or "").split()) for n in (student.last_name, student.first_name))
    return ", ".join(n for n in names if n) or student.id


def _feedback(submission: Any | None) -> str:
    """Comments given by hand, and how many points each cell has, in one line."""
    if submission is None:
        return ""
    parts = []
    for notebook in submission.notebooks:
        parts += [f"{g.name}: {g.score:g}/{g.max_score:g}" for g in notebook.grades]
        parts += [f"{c.name}: {c.manual_comment}" for c in notebook.comments if c.manual_comment]
    # Older Moodle splits the file at every line break, quoted or not.
    return " ".join("; ".join(parts).split())
