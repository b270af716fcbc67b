"""The public address of a course's repository: `[tool.coursekit]` keeps it, all else is made from it.

    repository   https://github.com/OWNER/REPOSITORY
    branch       what Binder, Colab and pip take
    site         address of the course's web site
    address-in   patterns of the files, written by hand, in which repository and site may stand in full

What `coursekit build` makes takes the address from there. In the files of `address-in` the old one is replaced.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from coursekit.course import PROJECT_FILE, Course
from coursekit.errors import CourseError

__all__ = ["Address", "moved", "read_repository"]

_GITHUB = re.compile(
    r"(?:https?://(?:www\.)?github\.com/|github\.com/|(?:ssh://)?git@github\.com[:/])"
    r"(?P<owner>[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)/(?P<name>[\w.-]+?)(?:\.git)?/?",
    re.ASCII,
)
_BRANCH = re.compile(r"\w[\w./-]*", re.ASCII)
_SITE = re.compile(r"https?://[\w.~:/%-]+", re.ASCII)
# An address ends where no letter of a longer one follows; the full stop of a sentence may.
_END = r"(?![\w-]|\.(?!git\b)\w)"


@dataclass(frozen=True)
class Address:
    """Where a course is published."""

    repository: str
    branch: str
    site: str

    @classmethod
    def of(cls, course: Course) -> Address:
        """The course's present address; "" for what it has not."""
        return cls(*(course.settings.get(key, "").rstrip("/") for key in ("repository", "branch", "site")))

    def changed(self, repository: str | None, branch: str | None, site: str | None) -> Address:
        """This address with what is not None in its place; a new repository has its site at GitHub Pages, unless told.

        Raises:
            CourseError: for what is no address of that kind.
        """
        new = self.repository if repository is None else read_repository(repository)
        if branch is not None and not _BRANCH.fullmatch(branch):
            raise CourseError(f"branch: expected a name such as main, got {branch!r}")
        if site is not None and not (_SITE.fullmatch(site) and urlsplit(site).hostname):
            raise CourseError(f"site: expected an address such as https://example.org/course, got {site!r}")
        moves = new != self.repository or not self.site
        return Address(
            new,
            branch or self.branch or "main",
            (site or (pages_of(new) if moves and new else self.site)).rstrip("/"),
        )


def read_repository(text: str) -> str:
    """The address of a repository as `[tool.coursekit]` keeps it, of any of the ways in which GitHub shows it.

    >>> read_repository("git@github.com:someone/flows.git")
    'https://github.com/someone/flows'

    Raises:
        CourseError: when it is none.
    """
    found = _GITHUB.fullmatch(text.strip())
    if found is None or set(found["name"]) <= {"."}:
        raise CourseError(
            "repository: expected https://github.com/OWNER/REPOSITORY (Colab opens notebooks from GitHub alone), "
            f"got {text!r}"
        )
    return f"https://github.com/{found['owner']}/{found['name']}"


def pages_of(repository: str) -> str:
    """Where GitHub Pages shows the site of a repository.

    >>> pages_of("https://github.com/Someone/flows"), pages_of("https://github.com/someone/someone.github.io")
    ('https://someone.github.io/flows', 'https://someone.github.io')
    """
    owner, name = repository.split("/")[-2:]
    host = f"{owner.lower()}.github.io"
    return f"https://{host}" if name.lower() == host else f"https://{host}/{name}"


def moved(course: Course, new: Address) -> dict[Path, bytes]:
    """The files written by hand that hold the course's address, as they are with the new one; pyproject.toml comes last.

    So a run that was cut short finds the old address still there, and the next one does the rest.

    Raises:
        CourseError: when pyproject.toml is written in a way that this cannot change, or a file is no UTF-8 text.
    """
    old, project = Address.of(course), course.root / PROJECT_FILE
    paths = [path for path in _texts(course) if path != project]
    files = {path: _replaced(_read(path), old, new) for path in paths}
    files[project] = _with_settings(_replaced(_read(project), old, new), vars(new), project)
    return {path: text.encode() for path, text in files.items()}


def _texts(course: Course) -> Iterator[Path]:
    for pattern in course.settings.get("address-in", ["README.md"]):
        yield from sorted(path for path in course.root.glob(pattern) if path.is_file())


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")  # line ends stay as they are
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path}: cannot be read: {error}") from error


def _replaced(text: str, old: Address, new: Address) -> str:
    """`text` with the new addresses for the old ones; behind a `git clone`, the folder that it makes, too."""
    for before, after in ((old.site, new.site), (old.repository, new.repository)):
        if before:
            text = re.sub(re.escape(before) + _END, lambda _, after=after: after, text)
    folder, made = (a.repository.rpartition("/")[2] for a in (old, new))
    if not folder:
        return text
    clone = rf"(git clone {re.escape(new.repository)}(?:\.git)?\r?\n[ \t]*cd ){re.escape(folder)}{_END}"
    return re.sub(clone, lambda found: found[1] + made, text)


def _with_settings(text: str, values: dict[str, str], path: Path) -> str:
    """`text` of a TOML file with `values` in its table [tool.coursekit]; comments and layout stay.

    Raises:
        CourseError: when the table or a value is written in another way than in lines of their own.
    """
    wanted: dict[str, Any] = tomllib.loads(text)
    wanted["tool"]["coursekit"] |= values
    start = re.search(r"^\[tool\.coursekit\][^\n]*\n", text, re.M)
    head, table = (text[: start.end()], text[start.end() :]) if start else ("", text)
    for key, value in values.items():
        line = f'{key} = "{value}"'
        present = rf"^{key}[ \t]*=[ \t]*(?:\"[^\"\n]*\"|'[^'\n]*')"
        table, count = re.subn(present, line, table, count=1, flags=re.M)
        if not count:
            table = f"{line}\n{table}"
    try:
        right = tomllib.loads(head + table) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise CourseError(
            f'{path}: expected a line [tool.coursekit] and, below it, lines such as branch = "main", got other TOML: '
            f"set {', '.join(values)} there by hand, then run coursekit build"
        )
    return head + table
