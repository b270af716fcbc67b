"""`python -m tests.site FOLDER`: check the pages of a built site; exit 1 and name the faults when there are any."""

from __future__ import annotations

import sys
from pathlib import Path

from coursekit.course import Course
from tests.site.built import Built, faults

site = Built(Path(sys.argv[1]).resolve(), Course.find(Path(__file__).parent))
found = faults(site)
for fault in found:
    print(fault, file=sys.stderr)
print(f"{len(site.pages)} pages checked, {len(found)} faults")
sys.exit(bool(found))
