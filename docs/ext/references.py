"""The list of references: the bibliography, with the notebooks and the modules of flowlib that cite each entry."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.ext.heads import Head

__all__ = ["Source", "bibliography", "cited_in", "meant", "plain_title", "reference_list", "references_of"]

FILE = Path(__file__).with_name("bibliography.toml")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_SECTION = re.compile(r"^## References\n(.*?)(?=^#|\Z)", re.M | re.S)


@dataclass(frozen=True)
class Source:
    """An entry of bibliography.toml; `id` is the arXiv number, or a name where there is none."""

    topic: str
    id: str
    authors: str
    title: str
    year: int | None
    where: str
    url: str

    @property
    def link(self) -> str:
        """Markdown: where to read it, or nothing."""
        if ARXIV.fullmatch(f"arXiv:{self.id}"):
            return f"[arXiv:{self.id}](https://arxiv.org/abs/{self.id})"
        return f"[{self.url.removeprefix('https://')}]({self.url})" if self.url else ""


def bibliography(path: Path = FILE) -> list[Source]:
    """The entries of the bibliography.

    Raises:
        ValueError: when two have one id.
    """
    entries: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["source"]
    found = [
        Source(
            e["topic"],
            e["id"],
            e["authors"],
            e["title"],
            e.get("year"),
            e.get("in", ""),
            e.get("url", ""),
        )
        for e in entries
    ]
    twice = sorted(s.id for k, s in enumerate(found) if s.id in {t.id for t in found[:k]})
    if twice:
        raise ValueError(f"{path.name}: twice: {', '.join(twice)}")
    return found


def references_of(text: str) -> list[str]:
    """The items of a notebook's section "References", each as one line.

    >>> references_of("## References\\n\\n- A. B, *C*,\\n  2020.\\n- D. E, *F*, 2021.")
    ['A. B, *C*, 2020.', 'D. E, *F*, 2021.']
    """
    match = _SECTION.search(text)
    if match is None:
        return []
    items = re.split(r"^- ", match[1], flags=re.M)[1:]
    return [" ".join(item.split()) for item in items]


def plain_title(title: str) -> str:
    """A title to compare by: lower case, no punctuation.

    >>> plain_title("VEEGAN: Reducing Mode Collapse")
    'veegan reducing mode collapse'
    """
    return " ".join(re.sub(r"[^\w×+ ]", " ", title.lower()).split())


def meant(item: str, sources: Sequence[Source]) -> Iterator[Source]:
    """The sources that an item of a list of references means: by arXiv number, else by title, which may be shortened.

    Raises:
        ValueError: when the bibliography has none, or several of that beginning.
    """
    numbers = ARXIV.findall(item)
    if numbers:
        known = {s.id: s for s in sources}
        for number in numbers:
            if number not in known:
                raise ValueError(f"bibliography.toml lacks arXiv:{number}: {item}")
            yield known[number]
        return
    title = re.search(r"\*(.+?)\*", item)
    found = [s for s in sources if title and plain_title(s.title).startswith(plain_title(title[1]))]
    if len(found) != 1:
        raise ValueError(f"bibliography.toml has {len(found)} entries for: {item}")
    yield found[0]


def cited_in(texts: Mapping[str, str], sources: Sequence[Source]) -> dict[str, list[str]]:
    """Source id → names of the `texts` that cite it, by an arXiv number anywhere or in their list of references.

    Raises:
        ValueError: for a citation that the bibliography lacks.
    """
    found: dict[str, list[str]] = {s.id: [] for s in sources}
    for name, text in texts.items():
        items: Iterable[str] = [*references_of(text), *(m[0] for m in ARXIV.finditer(text))]
        for source in (s for item in items for s in meant(item, sources)):
            if name not in found[source.id]:
                found[source.id].append(name)
    return found


def reference_list(heads: Sequence[Head], notebooks: Mapping[str, str], modules: Mapping[str, str]) -> str:
    """The bibliography as Markdown, by topic and year, each entry with the notebooks and modules that cite it.

    Args:
        heads: of the notebooks.
        notebooks: name → all its text.
        modules: dotted name → source.

    Raises:
        ValueError: for a citation that the bibliography lacks, and for an entry that nobody cites.
    """
    sources = bibliography()
    in_notebooks, in_modules = cited_in(notebooks, sources), cited_in(modules, sources)
    by_name = {h.name: h for h in heads}
    parts: list[str] = []
    for topic in dict.fromkeys(s.topic for s in sources):
        parts += ["", f"## {topic}", ""]
        for s in sorted((s for s in sources if s.topic == topic), key=lambda s: (s.year or 0, s.authors)):
            where = [by_name[name] for name in in_notebooks[s.id]]
            cited = [f"[{h.number}](../course/{h.name}/{h.name}.ipynb)" for h in where]
            by = [f"notebook{'s' * (len(cited) > 1)} {', '.join(cited)}"] if cited else []
            by += [", ".join(f"`{name}`" for name in in_modules[s.id])] if in_modules[s.id] else []
            if not by:
                raise ValueError(f"bibliography.toml: nobody cites {s.id}")
            said = ", ".join(str(part) for part in (s.authors, f"*{s.title}*", s.where, s.year) if part)
            parts.append(f"- {said}. {f'{s.link}. ' if s.link else ''}Cited in {'; '.join(by)}.")
    return "\n".join(parts[1:])
