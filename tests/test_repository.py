"""What a repository has beside its code: workflows, forms for issues, a changelog, a citation."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from autograder_tests import coach
from autograder_tests.session import Session
from tests.course import ROOT

GITHUB = ROOT / ".github"
FORMS = GITHUB / "ISSUE_TEMPLATE"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# What each form must ask for: without it nobody could tell what happened.
ASKED = {
    "right_answer_rejected.yml": {"notebook", "release", "exercise", "code", "report", "why"},
    "text_is_wrong.yml": {"notebook", "section", "sentence", "why"},
}
# The kinds of change that Keep a Changelog knows.
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def linted(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """What check-jsonschema says of files; the schemas come with it."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        f"vendor.{schema}",
        *map(str, files),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", sorted((GITHUB / "workflows").glob("*.yml"))),
        ("github-issue-forms", [FORMS / name for name in ASKED]),
        ("github-issue-config", [FORMS / "config.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_are_what_their_readers_expect(schema: str, files: list[Path]) -> None:
    done = linted(schema, *files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_slip_in_a_workflow_is_found(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    text = (GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(text.replace("runs-on:", "runs_on:", 1), encoding="utf-8")
    done = linted("github-workflows", tmp_path / "ci.yml")
    assert done.returncode == 1
    assert "runs_on" in done.stdout + done.stderr


# Workflows


def commands(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_all_tests_run_on_ubuntu() -> None:
    job = read(GITHUB / "workflows" / "ci.yml")["jobs"]["all"]
    assert job["runs-on"] == "ubuntu-latest"
    [command] = commands(job)
    assert command.endswith(" .ci/run")
    [python] = [s["with"]["python-version"] for s in job["steps"] if "python-version" in s.get("with", {})]
    assert f"Python {python}" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[0]


def test_students_steps_run_where_students_are_and_maintainers_are_not() -> None:
    job = read(GITHUB / "workflows" / "ci.yml")["jobs"]["students"]
    assert job["runs-on"] == "${{ matrix.system }}"
    assert job["strategy"]["matrix"] == {"system": ["macos-latest", "windows-latest"]}
    *_, lab, steps = commands(job)
    # The line that students are told to type, and the script that `make test-slow` runs here.
    assert lab.removeprefix("python -m ") in (ROOT / "course" / "README.md").read_text(encoding="utf-8")
    assert (ROOT / steps.removeprefix("python ")).is_file()


@pytest.mark.parametrize("path", sorted((GITHUB / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_may_only_read_unless_a_job_says_more_and_what_builds_ends_in_time(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert [
        name for name, job in workflow["jobs"].items() if commands(job) and "timeout-minutes" not in job
    ] == []


# Forms


@pytest.mark.parametrize("name", ASKED)
def test_a_form_insists_on_what_is_needed_to_find_the_fault(name: str) -> None:
    fields = [field for field in read(FORMS / name)["body"] if field["type"] != "markdown"]
    assert {f["id"] for f in fields if f["validations"]["required"]} == ASKED[name]


def test_every_form_is_looked_at() -> None:
    assert {path.name for path in FORMS.iterdir()} == {*ASKED, "config.yml"}


def test_the_release_is_asked_for_as_a_notebook_prints_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coach, "current", Session())
    coach.begin("01_change_of_variables", "0123456789ab")
    form = read(FORMS / "right_answer_rejected.yml")
    [asked] = [field for field in form["body"] if field.get("id") == "release"]
    assert asked["attributes"]["placeholder"] in capsys.readouterr().out.splitlines()


def test_who_only_needs_help_is_sent_to_a_page_that_is_there() -> None:
    [link] = read(FORMS / "config.yml")["contact_links"]
    page = link["url"].removeprefix(PYPROJECT["tool"]["coursekit"]["site"] + "/")
    assert (ROOT / "docs" / page).with_suffix(".md").is_file()


# Changelog and citation


def releases() -> list[tuple[str, str]]:
    """Version and date of every release in the changelog, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.findall(r"^## \[([\d.]+)\] - (\S+)$", text, re.M)


def test_the_changelog_is_one() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.M)[0] == "[Unreleased]"
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= KINDS
    dates = [date.fromisoformat(day) for _, day in releases()]
    assert dates == sorted(dates, reverse=True)
    assert releases()[0][0] == PYPROJECT["project"]["version"]


def test_the_citation_says_what_the_rest_of_the_repository_says() -> None:
    cited = read(ROOT / "CITATION.cff")
    assert (cited["version"], str(cited["date-released"])) == releases()[0]
    assert cited["repository-code"] == PYPROJECT["tool"]["coursekit"]["repository"]
    assert cited["url"] == PYPROJECT["tool"]["coursekit"]["site"]
    assert " AND ".join(cited["license"]).upper() == PYPROJECT["project"]["license"].upper()
    assert (ROOT / "README.md").read_text(encoding="utf-8").startswith(f"# {cited['title']}\n")
    [author] = cited["authors"]
    holder = re.search(r"Copyright \(c\) \d{4} (.+)", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    assert holder
    assert author["name"] == holder[1]
