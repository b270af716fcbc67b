"""Writing a file so that no reader sees half of it. The standard library alone: notebooks' checks use it, too."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["atomic_write"]


def atomic_write(path: Path, data: bytes) -> bool:
    """Replace the file at `path` in one step: no reader sees half of it. True when its bytes changed."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # As long as `path` may be, and no other process's, on whatever machine it runs.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return True
