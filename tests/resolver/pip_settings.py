"""Where this machine's pip finds packages, said to uv: uv reads nothing of pip's."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

__all__ = ["pip_settings", "uv_variables"]

# pip's option → uv's variable, and what stands between two values there.
VARIABLES = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
}


def pip_settings(listed: str | None = None) -> dict[str, list[str]]:
    """Option → its values, from `pip config list`; a variable of the environment goes before a file.

    >>> pip_settings(\"""
    ... global.extra-index-url='file:///a/simple\\\\nfile:///b/simple'
    ... global.find-links='/a'
    ... :env:.find-links='/b /c'
    ... \""")
    {'extra-index-url': ['file:///a/simple', 'file:///b/simple'], 'find-links': ['/b', '/c']}
    """
    if listed is None:
        command = [sys.executable, "-m", "pip", "config", "list"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^(global|install|:env:)\.([\w-]+)=(.+)$", listed, re.M)
    sections = ("global", "install", ":env:")
    lines.sort(key=lambda line: sections.index(line[0]))
    return {option: str(ast.literal_eval(value)).split() for _, option, value in lines}


def uv_variables(settings: dict[str, list[str]]) -> dict[str, str]:
    """What uv must find in its environment to ask where pip asks.

    >>> uv_variables({"find-links": ["/b", "/c"], "extra-index-url": ["file:///a"], "timeout": ["180"]})
    {'UV_INDEX': 'file:///a', 'UV_FIND_LINKS': '/b,/c', 'UV_INDEX_STRATEGY': 'unsafe-best-match'}
    """
    found = {name: between.join(settings[o]) for o, (name, between) in VARIABLES.items() if o in settings}
    # pip takes the best version of all its indexes, uv by itself stops at the first that knows the package.
    return {**found, "UV_INDEX_STRATEGY": "unsafe-best-match"}
