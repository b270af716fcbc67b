"""The rules for built pages each find their fault; the site builds and keeps all rules; the workflow does what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from coursekit.build import build, write
from coursekit.course import Course
from tests.course import ROOT
from tests.site.built import RULES, Built, faults

SOURCE = """\
# %% [markdown]
# # Areas

# %% solution="area"
def area(a, b):
    ### BEGIN SOLUTION
    return a * b + 0
    ### END SOLUTION

# %% test="area_of_square" points=2
assert area(3, 3) == 9
### BEGIN HIDDEN TESTS
assert area(12, 12) == 144
### END HIDDEN TESTS
"""
NOTEBOOK = "course/01_areas/01_areas.ipynb"
START = "https://mybinder.org/v2/gh/them/areas/main?urlpath=lab/tree/"
PAGE = f"""\
<html><head><link rel="stylesheet" href="../../style.css"><script src="../../a.js"></script></head>
<body><article>
<section id="areas"><h1>Areas</h1>
<a href="{START}{NOTEBOOK}">Binder</a>
<a href="https://colab.research.google.com/github/them/areas/blob/main/{NOTEBOOK}">Colab</a>
<a href="../../index.html#top">top</a> <a href="#areas">here</a>
<img src="../../a.png" alt="A square.">
<iframe title="A square to drag" srcdoc="&lt;p&gt;"></iframe>
<section id="exercise-1"><span id="exercise-1-area"></span><h3>Exercise 1 · Area</h3>
<pre>def area(a, b):\n    # YOUR CODE HERE</pre>
<details class="checks"><summary>1 check</summary><pre>assert area(3, 3) == 9</pre></details>
<details class="model-answer" id="solution-area"><summary>Model answer</summary>
<pre><span>    return</span> a * b + 0\n</pre></details>
</section></section></article></body></html>
"""


@pytest.fixture
def site(tmp_path: Path) -> Built:
    """A site without faults of a course with one exercise."""
    root, folder = tmp_path / "course", tmp_path / "html"
    (root / "solutions").mkdir(parents=True)
    (root / "solutions" / "01_areas.py").write_text(SOURCE)
    settings = '[tool.coursekit]\nrepository = "https://github.com/them/areas"\nbranch = "main"\n'
    (root / "pyproject.toml").write_text(settings)
    shutil.copy(ROOT / "nbgrader_config.py", root)
    course = Course.find(root)
    write(build(course, "01_areas"))
    (folder / "course" / "01_areas").mkdir(parents=True)
    (folder / "_sources" / "course").mkdir(parents=True)
    shutil.copytree(root / "course" / "01_areas", folder / "_sources" / "course" / "01_areas")
    (folder / "course" / "01_areas" / "01_areas.html").write_text(PAGE)
    (folder / "index.html").write_text('<p id="top">Start</p>')
    for name in ("style.css", "a.js", "a.png"):
        (folder / name).write_text("")
    return Built(folder, course)


def test_a_site_without_faults_has_none(site):
    assert faults(site) == []


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("graders_secrets_are_kept", "== 9</pre>", "== 9\nassert area(12, 12) == 144</pre>"),
        ("graders_secrets_are_kept", "# YOUR CODE HERE", "### BEGIN SOLUTION"),
        ("answers_are_folded", "# YOUR CODE HERE", "return a * b + 0"),
        ("answers_are_folded", 'id="solution-area"', 'id="solution-area" open'),
        ("answers_and_exercises_have_ids", 'id="solution-area"', 'id="solution-volume"'),
        ("answers_and_exercises_have_ids", 'section id="exercise-1"', "section"),
        ("folds_hold_no_headings", "<summary>1 check</summary>", "<summary>1 check</summary><h2>Next</h2>"),
        ("pictures_have_words", ' alt="A square."', ""),
        ("pictures_have_words", 'title="A square to drag"', 'title=""'),
        ("launch_links_exist", "lab/tree/course/01", "lab/tree/course/02"),
        ("launch_links_exist", "them/areas/main", "them/areas/other"),
        ("launch_links_exist", "colab.research.google.com", "example.org"),
        ("internal_links_lead_somewhere", "index.html#top", "index.html#end"),
        ("internal_links_lead_somewhere", 'href="#areas"', 'href="#volumes"'),
        ("internal_links_lead_somewhere", "../../a.png", "../../b.png"),
        ("nothing_is_fetched_from_elsewhere", "../../a.js", "https://example.org/a.js"),
        ("nothing_is_fetched_from_elsewhere", "../../style.css", "//example.org/style.css"),
        ("ids_are_unique", "exercise-1-area", "exercise-1"),
    ],
)
def test_a_rule_finds_its_fault_and_no_other_does(site, rule, old, new):
    assert PAGE.count(old) == 1
    (site.folder / "course" / "01_areas" / "01_areas.html").write_text(PAGE.replace(old, new))
    assert {fault.split(":")[0] for fault in faults(site)} == {rule}


def test_what_is_offered_for_download_is_the_release(site):
    shutil.copy(site.course.source_notebook("01_areas"), site.folder / "_sources" / "course" / "01_areas")
    found = {fault.split(":")[0] for fault in faults(site)}
    assert found == {"answers_are_folded", "graders_secrets_are_kept"}


def test_a_missing_page_and_a_style_from_elsewhere_are_faults(site):
    (site.folder / "index.html").unlink()
    (site.folder / "style.css").write_text("@font-face {src: url('https://example.org/a.woff2')}")
    found = {fault.split(":")[0] for fault in faults(site)}
    assert found == {
        "every_page_is_there",
        "internal_links_lead_somewhere",
        "nothing_is_fetched_from_elsewhere",
    }


def test_every_rule_says_what_it_demands():
    assert all(rule.__doc__ for rule in RULES)


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`make`, with the environment that is already there."""
    command = ["make", "--old-file", "setup", f"VENV={sys.prefix}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_workflow_builds_what_it_deploys():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text())
    jobs = workflow["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert commands == ["make site"]
    [uploaded] = [
        s["with"]["path"] for s in steps if s.get("uses", "").startswith("actions/upload-pages-artifact@")
    ]
    planned = _make("--dry-run", "site")
    assert planned.returncode == 0, planned.stderr
    assert re.search(rf"^rm -rf {uploaded} && mv \S+ {uploaded}$", planned.stdout, re.M)
    assert any(s.get("uses", "").startswith("actions/deploy-pages@") for s in jobs["deploy"]["steps"])
    assert jobs["deploy"]["needs"] == "build"
    assert jobs["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}
    [python] = [
        s["with"]["python-version"] for s in steps if s.get("uses", "").startswith("actions/setup-python@")
    ]
    assert f"Python {python}" in (ROOT / "constraints.txt").read_text().splitlines()[0]


def test_without_npm_make_says_which_package_has_it(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "make", "grep", "mkdir", "rm"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    done = subprocess.run(
        ["make", "build/static/mathjax/.0.0.0", "MATHJAX=0.0.0"],
        cwd=ROOT,
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "needs npm" in done.stderr
    assert "apt install npm" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="MathJax comes by npm (Debian: apt install npm)")
def test_the_site_builds_and_keeps_all_rules(tmp_path):
    """With what outputs there are: `make site` itself runs the notebooks, and checks the same rules."""
    done = _make("site", "PREVIEW=1", f"SITE={tmp_path}")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " pages checked, 0 faults" in done.stdout
    assert (tmp_path / "html" / "_static" / "mathjax" / "tex-chtml.js").is_file()
