"""What a student does first, on any system: open a notebook, and check a right and an unanswered one.

`python tests/portability/student.py`, in an environment into which the course was installed by `pip install ".[lab]"`: it needs
nothing else. `.github/workflows/ci.yml` runs it on macOS and Windows.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NAME = "01_change_of_variables"
RELEASED = ROOT / "course" / NAME / f"{NAME}.ipynb"
RIGHT = ROOT / "solutions" / NAME / f"{NAME}.ipynb"


def opened(notebook: Path, folder: Path) -> str:
    """What the cell behind a notebook's title prints in a kernel that starts in `folder`."""
    cells = nbformat.read(notebook, as_version=4).cells
    bootstrap = next(cell for cell in cells if cell.cell_type == "code")
    played = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(bootstrap.source)])
    NotebookClient(played, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return "".join(output.get("text", "") for output in played.cells[0].outputs)


def checked(notebook: Path, folder: Path) -> tuple[float, float]:
    """Points and highest points that `coursekit check` prints, in the letters that this system's console has."""
    command = Path(sysconfig.get_path("scripts")) / "coursekit"
    done = subprocess.run(
        [str(command), "check", str(notebook)], cwd=folder, capture_output=True, text=True, errors="replace"
    )
    print(done.stdout[-2000:], done.stderr[-4000:], sep="\n")
    if done.returncode:
        raise SystemExit(f"coursekit check {notebook.name} exited with {done.returncode}")
    got, full = re.findall(r"([\d.]+) of ([\d.]+) points", done.stdout)[-1]
    return float(got), float(full)


def main() -> None:
    """Exit with a line that says what was expected and what came, where something is amiss."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        said = opened(RELEASED, folder)
        if not re.search(r"release [0-9a-f]{12}", said):
            raise SystemExit(f"the notebook's first cell should name its release, and printed {said!r}")
        got, full = checked(RIGHT, folder)
        if got != full or not full:
            raise SystemExit(f"a right notebook should have all {full:g} points, and has {got:g}")
        got, _ = checked(RELEASED, folder)
        if got:
            raise SystemExit(f"an unanswered notebook should have no points, and has {got:g}")
    print(f"A student's first steps work with Python {sys.version.split()[0]} on {sys.platform}")


if __name__ == "__main__":
    main()
