"""What must hold on every page of the built site. A rule yields its faults, one text each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from coursekit.course import Course
from coursekit.leaks import TRIVIAL, lines_by_kind
from coursekit.regions import MARKERS, SOLUTION
from coursekit.site_page import answer_id

__all__ = ["RULES", "Built", "faults"]

# What a browser fetches by itself, and where its address stands. A `link` fetches by its rel.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
FETCHING_RELS = {"stylesheet", "icon", "preload", "modulepreload", "manifest", "shortcut"}
_CSS_ADDRESS = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)")


@dataclass(frozen=True)
class Built:
    """A built site: its folder, and the course it shows."""

    folder: Path
    course: Course

    @cached_property
    def pages(self) -> dict[str, Tag]:
        """Address below the folder → parsed page, of every HTML file."""
        return {
            path.relative_to(self.folder).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
            for path in sorted(self.folder.rglob("*.html"))
            if not path.relative_to(self.folder).parts[0].startswith("_static")
        }

    @cached_property
    def ids(self) -> dict[str, set[str]]:
        """Address of a page → ids of its elements."""
        return {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in self.pages.items()}

    def assignments(self) -> Iterator[tuple[str, str, Tag]]:
        """(assignment, address, page) of every assignment; those without a page are `every_page_is_there`'s."""
        for name in self.course.assignments():
            address = self.address(name)
            if address in self.pages:
                yield name, address, self.pages[address]

    def address(self, assignment: str) -> str:
        """Where the page of an assignment must stand."""
        path = self.course.release_notebook(assignment).relative_to(self.course.root)
        return path.with_suffix(".html").as_posix()


def every_page_is_there(site: Built) -> Iterator[str]:
    """A page for the course and one for each assignment."""
    for address in ("index.html", *map(site.address, site.course.assignments())):
        if address not in site.pages:
            yield f"{address} is missing"


def graders_secrets_are_kept(site: Built) -> Iterator[str]:
    """No line of a hidden test or mark scheme, and no marker, is on the page or in what it offers for download."""
    for name, address, page in site.assignments():
        lines = list(lines_by_kind(site.course.source(name)))
        public = {line for line, kind in lines if kind in (None, SOLUTION)}
        secret = {line for line, kind in lines if len(line) > TRIVIAL} - public
        download = site.folder / "_sources" / Path(address).with_suffix(".ipynb")
        notebook = download.read_text("utf-8") if download.is_file() else ""
        for place, text in ((address, page.get_text()), (f"_sources of {address}", notebook)):
            yield from (f"{place} shows {s!r}" for s in (*MARKERS, *sorted(secret)) if s in text)


def answers_are_folded(site: Built) -> Iterator[str]:
    """A line of a solution is nowhere but in the fold of a model answer, which is closed."""
    for name, address, page in site.assignments():
        lines = list(lines_by_kind(site.course.source(name)))
        public = {line for line, kind in lines if kind is None}
        secret = {line for line, kind in lines if kind == SOLUTION and len(line) > TRIVIAL} - public
        secret -= {line for line in secret if any(marker in line for marker in MARKERS)}
        folds = page.select("details.model-answer")
        yield from (f"{address}: {fold.get('id')} is open" for fold in folds if fold.has_attr("open"))
        folded = {id(text) for fold in folds for text in fold.strings}
        shown = "".join(text for text in page.strings if id(text) not in folded)
        seen = {line.strip() for line in shown.split("\n")}
        yield from (f"{address} shows {line!r} outside of a fold" for line in sorted(secret & seen))
        download = site.folder / "_sources" / Path(address).with_suffix(".ipynb")
        if not download.is_file():
            yield f"{address}: nothing to download"
        elif download.read_bytes() != site.course.release_notebook(name).read_bytes():
            yield f"{address}: what it offers for download is not the released notebook"


def answers_and_exercises_have_ids(site: Built) -> Iterator[str]:
    """Every answer of the source has its fold with its id; every heading "Exercise n" has the id `exercise-n`."""
    for name, address, page in site.assignments():
        for cell in site.course.source(name).cells:
            meta = cell.metadata.get("nbgrader", {})
            if meta.get("solution") and page.find("details", id=answer_id(meta["grade_id"])) is None:
                yield f"{address} lacks the fold #{answer_id(meta['grade_id'])}"
        for heading in page.select("article :is(h2, h3, h4)"):
            found = re.match(r"Exercise (\d+)\b", heading.get_text())
            if found and heading.find_parent(id=f"exercise-{found[1]}") is None:
                yield f"{address}: {heading.get_text()!r} lacks the id exercise-{found[1]}"


def folds_hold_no_headings(site: Built) -> Iterator[str]:
    """A fold that is not closed where it should be swallows what follows."""
    for address, page in site.pages.items():
        for fold in page.select("details.checks, details.model-answer"):
            if heading := fold.find(["h1", "h2", "h3"]):
                yield f"{address}: a fold holds the heading {heading.get_text()!r}"


def pictures_have_words(site: Built) -> Iterator[str]:
    """Every picture has an alternative text, every frame a title."""
    for address, page in site.pages.items():
        for picture in page.find_all("img"):
            if not picture.get("alt", "").strip():
                yield f"{address}: no alt for {picture.get('src', '')[:60]}"
        for frame in page.find_all("iframe"):
            if not frame.get("title", "").strip():
                yield f"{address}: a frame without title"


def launch_links_exist(site: Built) -> Iterator[str]:
    """Binder and Colab are asked for a notebook of this repository that is there."""
    repository = site.course.settings["repository"].rstrip("/").removeprefix("https://github.com/")
    branch = site.course.settings["branch"]
    starts = {
        "mybinder.org": f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/",
        "colab.research.google.com": f"https://colab.research.google.com/github/{repository}/blob/{branch}/",
    }
    own = {site.address(name) for name in site.course.assignments()}
    for address, page in site.pages.items():
        links = {a["href"] for a in page.find_all("a", href=True)}
        for host, start in starts.items():
            asked = {link for link in links if urlsplit(link).hostname == host}
            if address in own and not asked:
                yield f"{address} has no link to {host}"
            for link in sorted(asked):
                path = unquote(link.removeprefix(start).removeprefix("tree/"))
                if not link.startswith(start) or not (site.course.root / path).is_file():
                    yield f"{address}: {link} leads nowhere"


def internal_links_lead_somewhere(site: Built) -> Iterator[str]:
    """A link within the site leads to a file, and to an element where it names one."""
    for address, page in site.pages.items():
        for tag, key in [(t, k) for k in ("href", "src") for t in page.find_all(attrs={k: True})]:
            link = urlsplit(tag[key])
            if link.scheme or link.netloc or tag[key] in ("", "#"):
                continue
            base = site.folder / address
            target = base if not link.path else (base.parent / unquote(link.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.is_file():
                yield f"{address}: {tag[key]} is not there"
                continue
            name = target.relative_to(site.folder.resolve()).as_posix() if link.path else address
            if link.fragment and name in site.ids and unquote(link.fragment) not in site.ids[name]:
                yield f"{address}: {tag[key]} has no such place"


def nothing_is_fetched_from_elsewhere(site: Built) -> Iterator[str]:
    """No script, style, picture, font or frame comes from another server."""
    for address, page in site.pages.items():
        wanted = [
            (tag.name, tag[key])
            for name, key in FETCHED.items()
            for tag in page.find_all(name, **{key: True})
        ]
        wanted += [
            ("link", tag["href"])
            for tag in page.find_all("link", href=True)
            if FETCHING_RELS & {rel.lower() for rel in tag.get("rel", [])}
        ]
        for kind, link in wanted:
            if urlsplit(link).netloc:
                yield f"{address}: a {kind} from {link}"
    for path in sorted(site.folder.rglob("*.css")):
        for link in _CSS_ADDRESS.findall(path.read_text("utf-8")):
            yield f"{path.relative_to(site.folder)}: fetches {link}"


def ids_are_unique(site: Built) -> Iterator[str]:
    """No id stands twice on a page."""
    for address, page in site.pages.items():
        seen: set[str] = set()
        for tag in page.find_all(id=True):
            if tag["id"] in seen:
                yield f"{address}: the id {tag['id']!r} is there twice"
            seen.add(tag["id"])


RULES: tuple[Callable[[Built], Iterator[str]], ...] = (
    every_page_is_there,
    graders_secrets_are_kept,
    answers_are_folded,
    answers_and_exercises_have_ids,
    folds_hold_no_headings,
    pictures_have_words,
    launch_links_exist,
    internal_links_lead_somewhere,
    nothing_is_fetched_from_elsewhere,
    ids_are_unique,
)


def faults(site: Built) -> list[str]:
    """All faults of a built site, each with the name of its rule."""
    return [f"{rule.__name__}: {fault}" for rule in RULES for fault in rule(site)]
