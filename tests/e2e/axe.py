"""axe-core: rules of accessibility, checked in the page."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from playwright.sync_api import Page

from tests.course import ROOT

__all__ = ["Axe", "fetch"]

VERSION = "4.14.1"
FOLDER = ROOT / "build" / "e2e"  # npm's, ignored by git
SCRIPT = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
BAD = ("serious", "critical")


def fetch() -> None:
    """Bring axe-core where it is not there yet."""
    package = SCRIPT.with_name("package.json")
    if not package.is_file() or json.loads(package.read_text(encoding="utf-8"))["version"] != VERSION:
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(FOLDER), "--no-save", "--no-audit", "--no-fund"]
        subprocess.run([*command, f"axe-core@{VERSION}"], check=True)


class Axe:
    """Lists what is serious or critical on a page: WCAG 2.2 A and AA and axe's best practices."""

    def __init__(self) -> None:
        self.script = SCRIPT.read_text(encoding="utf-8")

    def __call__(
        self,
        page: Page,
        *,
        within: str = "html",
        without: tuple[str, ...] = (),
        rules: tuple[str, ...] = (),
    ) -> list[str]:
        """One text for each rule that is broken, with the first places.

        Args:
            within, without: selectors of what is looked at, and of what is not.
            rules: ids of axe's rules, all of them when none is named.
        """
        for frame in page.frames:
            # By the debugger, which no content security policy stops.
            frame.evaluate(f"() => {{ {self.script} }}")
        options: dict[str, Any] = {"resultTypes": ["violations"]}
        if rules:
            options["runOnly"] = list(rules)
        found = page.evaluate(
            "([within, without, options]) => axe.run({ include: [within], exclude: without }, options)",
            [within, list(without), options],
        )
        assert found["passes"] or found["violations"], "axe looked at nothing"
        return [_line(v) for v in found["violations"] if v["impact"] in BAD]


def _line(violation: dict[str, Any]) -> str:
    places = [
        f"{' '.join(map(str, n['target']))}: {n['html'][:160]} ({_why(n)})" for n in violation["nodes"][:3]
    ]
    more = len(violation["nodes"]) - len(places)
    return "\n    ".join(
        [f"{violation['impact']}: {violation['id']}: {violation['help']}", *places]
        + ([f"and {more} more"] if more else [])
    )


def _why(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for check in (*node["any"], *node["all"], *node["none"]))[:300]
