"""Bundle each interactive figure into one HTML file of its own: `python docs/figures/build.py`.

A figure is a JavaScript module `NAME.js` here; its first lines are `// title: …` and `// instruction: …`. What it imports
is put before it, each module once, the `import` lines and `export` words taken out, so that the page needs no
server and no network. The pages stand in `flowlib/figures/`, in the repository: notebooks show them through
`flowlib.interactive`, and nothing runs this script but those who change a figure. `--check` compares only.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from string import Template

__all__ = ["FIGURES", "bundle", "page"]

HERE = Path(__file__).resolve().parent
OUT = HERE.parent.parent / "flowlib" / "figures"
FIGURES = (
    "change_of_variables",
    "jacobian",
    "masked_coupling",
    "composition",
    "spline",
    "latent_space",
    "film",
)

_IMPORT = re.compile(r'^import \{([\w\s,]+)\} from "(\.[\w./]+)";\n', re.M)
_HEAD = re.compile(r"^// (title|instruction): (.+)\n", re.M)
_TOP_NAME = re.compile(r"^(?:const|let|function|class) (\w+)", re.M)


def bundle(path: Path) -> str:
    """The module at `path` behind all that it imports, as one script.

    Raises:
        ValueError: an import or export in a form that is not understood, a name that is not exported, or one
            that two modules define.
    """
    order: dict[Path, str] = {}

    def visit(module: Path) -> None:
        if module in order:
            return
        source = module.read_text(encoding="utf-8")
        for names, target in _IMPORT.findall(source):
            imported = (module.parent / target).resolve()
            visit(imported)
            for name in re.findall(r"\w+", names):
                if not re.search(rf"^export (?:const|function|class) {name}\b", imported.read_text(), re.M):
                    raise ValueError(f"{module.name}: {imported.name} exports no {name!r}")
        body = re.sub(r"^export (?=const |function |class )", "", _IMPORT.sub("", source), flags=re.M)
        if left := re.search(r"^(?:import|export)\b.*", body, re.M):
            raise ValueError(f"{module.name}: not understood: {left[0]}")
        order[module] = body

    visit(path.resolve())
    script = "\n".join(order.values())
    twice = [name for name, count in Counter(_TOP_NAME.findall(script)).items() if count > 1]
    if twice:
        raise ValueError(f"{path.name}: two modules define {', '.join(twice)}")
    # Notebooks carry these pages: full-line comments and indentation stay here.
    script = re.sub(r"/\*\*.*?\*/\n", "", script, flags=re.S)
    lines = (line.strip() for line in script.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def page(name: str) -> str:
    """The HTML page of figure `name`."""
    source = HERE / f"{name}.js"
    head = dict(_HEAD.findall(source.read_text(encoding="utf-8")))
    style = "\n".join(line.strip() for line in (HERE / "figure.css").read_text(encoding="utf-8").splitlines())
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    script = f'(() => {{\n"use strict";\n{bundle(source)}\n}})();'
    return template.substitute(head, style=style, script=script)


def main() -> int:
    parser = argparse.ArgumentParser(description="Bundle the interactive figures into flowlib/figures/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    OUT.mkdir(exist_ok=True)
    stale = []
    for name in FIGURES:
        target, made = OUT / f"{name}.html", page(name).encode()
        if not target.is_file() or target.read_bytes() != made:
            stale.append(target.name)
            if not check:
                target.write_bytes(made)
    if check and stale:
        print(f"stale: {', '.join(stale)}; run python docs/figures/build.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
