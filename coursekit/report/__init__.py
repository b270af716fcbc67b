"""The instructor's report on a graded assignment: one page, one table.

`load` reads what grading wrote, `summary`, `misconceptions` and `similarity` (with `fingerprints`) say what is in
it, `figures` places the bars of the two figures, `page` fills the template, `table` writes the CSV, and `write`
does one after the other.
"""

from coursekit.report.write import Report, write_report

__all__ = ["Report", "write_report"]
