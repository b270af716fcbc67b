"""Submissions whose outputs and texts are meant to act in the page that a grader or a student looks at."""

from __future__ import annotations

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_raw_cell

from tests.attacks.bank import LIGHT, Attack, Paper, answered, cell_of, forgery, hand_in

__all__ = ["OUTPUTS"]

# In a page this word may stand in text alone.
MARK = "pwned"
HTML = f"""\
<script>{MARK}()</script><img src=x onerror="{MARK}()"><svg onload="{MARK}()"><iframe srcdoc="<script>{MARK}()</script>"></iframe>
<a href="javascript:{MARK}()">x</a><a href=" java&#10;script:{MARK}()">x</a><form action="//192.0.2.1/{MARK}"><input name=x></form>
<style>@import "//192.0.2.1/{MARK}"; body {{display: none}}</style><link rel=stylesheet href="//192.0.2.1/{MARK}">
<meta http-equiv=refresh content="0;url=//192.0.2.1/{MARK}"><object data="//192.0.2.1/{MARK}"></object><base href="//192.0.2.1/{MARK}">
<div style="position:fixed;inset:0;background:url(//192.0.2.1/{MARK})">x</div><math><mtext><style><img src=x onerror="{MARK}()">
</div></div></td></table></body></html><!-- {MARK} --><plaintext><textarea><title><template><noscript><b id="{MARK}">
"""
SHOWS = f"""\
from IPython.display import display, HTML, Javascript, SVG, Latex, Markdown
evil = {HTML!r}
display(HTML(evil), Markdown(evil), Javascript("{MARK}()"), SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='{MARK}()'/>"))
display(Latex(r"$\\href{{javascript:{MARK}()}}{{x}}$" + evil))
display({{"application/javascript": "{MARK}()", "application/vnd.jupyter.widget-view+json": {{"model_id": "{MARK}"}}}}, raw=True)
display({{"text/html": [evil, evil]}}, raw=True)
for kind in ("png", "jpeg", "gif", "svg+xml"):
    size = {{f"image/{{kind}}": {{"width": '1" onload="{MARK}()'}}}}
    display({{f"image/{{kind}}": '"><script>{MARK}()</script><img src="'}}, raw=True, metadata=size)
display({{"text/plain": evil, evil: evil}}, raw=True, metadata={{"filenames": {{"image/png": "javascript:{MARK}()"}}}})
print(evil, "\\x1b[2J\\x1b]8;;javascript:{MARK}()\\x07x\\x1b]8;;\\x07")
"""
RAISES = f"raise type('''{HTML}'''[:60], (Exception,), {{}})({HTML!r} + '\\x1b[2J')"
CLAIMS = """\
from IPython.display import display, HTML
print("passed: everything\\n\\nScore: 34.0 / 34.0 (Top)")
display(HTML("<div class='panel-heading'><span class='score'>Score: 34.0 / 34.0</span></div>"))
"""


def _texts(paper: Paper) -> bytes:
    """In Markdown and raw cells, and in an answer that a person grades."""
    nb = answered(paper, {name: None for name in paper.exercises if name not in LIGHT})
    cell_of(nb, "why_any_network").source = (
        HTML + f"\n\n[x](javascript:{MARK}()) <javascript:{MARK}()> ![x](x){{onerror={MARK}()}}"
    )
    for source in (
        HTML,
        f"# {HTML}",
        f"```html\n{HTML}\n```",
        f"$x</script><script>{MARK}()</script>$",
        f"<{MARK}",
    ):
        nb.cells.append(new_markdown_cell(source))
    for mime in ("", "text/html", "text/markdown", "text/latex"):
        nb.cells.append(new_raw_cell(HTML, metadata={"raw_mimetype": mime, "format": mime}))
    nb.metadata["title"] = nb.metadata["authors"] = HTML
    nb.metadata["language_info"] = {"name": HTML, "pygments_lexer": HTML, "codemirror_mode": HTML}
    return hand_in(nb)


def _duplicated(paper: Paper) -> bytes:
    """A second copy of an answer is kept for a grader to read."""
    nb = answered(paper, {name: None for name in paper.exercises if name not in LIGHT})
    cell = cell_of(nb, LIGHT[0])
    nb.cells.append(NotebookNode(cell | {"id": "twin", "source": HTML}))
    return hand_in(nb)


OUTPUTS = [
    forgery("displays that are code", SHOWS, None),
    forgery("an error that is code", RAISES, None),
    forgery(
        "code in what a check reports",
        answer=f"class MaskedCouplingLayer:\n    def __init__(self, *a):\n        {RAISES}",
    ),
    Attack("text cells that are code", _texts, right=LIGHT),
    Attack("a duplicate that is code", _duplicated, right=LIGHT, flags=("duplicated: ",)),
    forgery("full points, it says", CLAIMS, None),
]
