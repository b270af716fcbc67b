"""Write the generated parts of the site's pages: `python -m docs.ext`; with `--check` name what is stale and exit with 1."""

from __future__ import annotations

import sys
from pathlib import Path

from coursekit.course import Course, atomic_write
from docs.ext.pages import generated

__all__ = ["main"]


def main(check: bool) -> int:
    """Write or compare every generated file; the exit code."""
    root = Path(__file__).resolve().parents[2]
    stale = 0
    for path, content in generated(Course.find(root)).items():
        if check:
            wrong = not path.is_file() or path.read_bytes() != content
            stale += wrong
            if wrong:
                print(f"{path.relative_to(root)} is stale: run python -m docs.ext", file=sys.stderr)
        elif atomic_write(path, content):
            print(f"wrote {path.relative_to(root)}")
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
