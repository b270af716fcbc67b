"""Run a notebook with plain nbclient, whatever its cells raise: `python play.py IN OUT SECONDS`, SECONDS for each cell."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(source: str, target: str, seconds: str) -> None:
    """Write the executed notebook to `target`."""
    nb = nbformat.read(source, as_version=4)
    NotebookClient(nb, kernel_name="python3", allow_errors=True, timeout=int(seconds)).execute()
    Path(target).write_text(nbformat.writes(nb), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
