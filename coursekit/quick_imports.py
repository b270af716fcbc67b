"""Imported first by this package's own programs: spares each of their processes most of a second.

jsonschema, which nbformat checks notebooks with, looks for rfc3987_syntax, a grammar of web addresses that takes 0.7 s to
build at its import. It is optional, and a notebook's schema has no field of that format.
"""

import sys

__all__: list[str] = []

if "jsonschema" not in sys.modules:
    # An import of None raises ImportError, which jsonschema expects.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
