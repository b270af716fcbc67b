"""What all commands share: the terminal and what it can show, JSON, and errors as one line."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from coursekit.errors import CourseError

__all__ = ["here", "one_line_errors", "out", "print_json", "replace_what_cannot_be_shown", "shown"]

out = Console(highlight=False, soft_wrap=True)


def replace_what_cannot_be_shown() -> None:
    """From here on, stdout and stderr take every text: `?` stands for a sign that their encoding lacks.

    Windows writes a redirected output in an 8-bit code page, and no command shall end at a `∂` or at a name.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_json(value: Any) -> None:
    """Print a value as JSON: signs as they are where stdout takes them all, else as JSON's escapes, which lose nothing."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # also a folder's name whose bytes are no text
        text = json.dumps(value, indent=1)
    print(text)


def one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into one line on stderr and exit code 2; COURSEKIT_DEBUG=1 shows the traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except CourseError as error:
            reason = str(error)
        except KeyboardInterrupt:
            reason = "interrupted"
        except Exception as error:
            reason = f"unexpected {type(error).__name__}: {error} (COURSEKIT_DEBUG=1 shows where)"
            if os.environ.get("COURSEKIT_DEBUG"):
                raise
        print(f"coursekit: {' '.join(reason.split())}", file=sys.stderr)
        raise typer.Exit(2)

    return wrapped


def here(path: Path) -> str:
    """`path` as seen from the working folder when it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def shown(text: str) -> Text:
    """Text of a student's without what a terminal would obey."""
    return Text("".join(c if c.isprintable() else "�" for c in text))
