"""`coursekit address`: one place, everything else made of it; a release is the same wherever its course is published."""

from __future__ import annotations

import socket
import tomllib

import pytest
from typer.testing import CliRunner

from coursekit.address import Address, read_repository
from coursekit.build import build, readme, write
from coursekit.cli import app
from coursekit.course import Course

from .conftest import NAME, PYPROJECT

OLD, NEW = "https://github.com/nobody/squares", "https://github.com/Some-One/my.squares"
OLD_SITE, NEW_SITE = "https://nobody.github.io/squares", "https://some-one.github.io/my.squares"
SETTINGS = f'''\
# A comment at the top stays.
[project]
name = "squares-course"
urls = {{ Source = "{OLD}", Site = "{OLD_SITE}/start.html" }}

{PYPROJECT}
guide = "tiny/guide"
# The address.
repository = "{OLD}"  # here
branch='main'
site = "{OLD_SITE}"
address-in = ["README.md", "docs/**/*.md", "CITATION.cff"]
bootstrap = """
# {{repository}} {{branch}}
%pip install "{{install}}"
begin("{{assignment}}", "{{release}}")
"""

[tool.other]
repository = "https://github.com/nobody/squares-of-others"
branch = "main"
'''
README = f"""\
# Squares, of nobody/squares

```bash
git clone {OLD}
cd squares && make lab
```

[Site]({OLD_SITE}/index.html), {OLD}. {OLD}.git; not ours: {OLD}-of-others, {OLD}.js, {OLD_SITE}2.
In the clone: `cd squares`.

<!-- course map: written by coursekit build -->
<!-- end -->
"""


@pytest.fixture
def published(course, monkeypatch) -> Course:
    """The tiny course at an address, with texts that name it, and no network."""
    (course.root / "pyproject.toml").write_text(SETTINGS, encoding="utf-8")
    (course.root / "README.md").write_text(README.replace("of nobody/squares", "of mine"), encoding="utf-8")
    (course.root / "docs" / "deep").mkdir(parents=True)
    (course.root / "docs" / "deep" / "start.md").write_bytes(
        f"git clone {OLD}.git\r\n  cd squares\r\n".encode()
    )
    (course.root / "notes.md").write_text(OLD, encoding="utf-8")  # not named in address-in
    made = Course.find(course.root)
    for built in (build(made, NAME), readme(made)):
        write(built)

    def refused(*_args, **_kwargs):
        raise OSError("no test may ask the address anything")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    return made


def run(*arguments: str):
    return CliRunner().invoke(app, ["address", *arguments])


def files(course: Course) -> dict[str, bytes]:
    kept = (p for p in sorted(course.root.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
    return {path.relative_to(course.root).as_posix(): path.read_bytes() for path in kept}


def release(course: Course) -> str:
    return Course.find(course.root).source(NAME).metadata.coursekit.release


def test_without_an_address_it_says_the_present_one_and_writes_nothing(published):
    before = files(published)
    said = run()
    assert said.exit_code == 0
    assert said.output.split() == ["repository", OLD, "branch", "main", "site", OLD_SITE]
    assert files(published) == before


def test_a_new_address_stands_everywhere_and_no_release_changes(published):
    before, old_release = files(published), release(published)
    done = run("git@github.com:Some-One/my.squares.git", "--branch", "term/2027")
    assert done.exit_code == 0, done.output
    settings = Course.find(published.root).settings
    assert [settings[key] for key in ("repository", "branch", "site")] == [NEW, "term/2027", NEW_SITE]
    assert release(published) == old_release
    after = files(published)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        "README.md",
        "docs/deep/start.md",
        "pyproject.toml",
        f"course/{NAME}/{NAME}.ipynb",
        f"solutions/{NAME}/{NAME}.ipynb",
        f"tiny/guide/{NAME}.json",
    }
    assert CliRunner().invoke(app, ["build", "--check"]).exit_code == 0
    for name in changed:
        text = after[name].decode().replace(f"{OLD}-of-others", "").replace(f"{OLD}.js", "")
        assert "nobody/squares" not in text, name
        assert "nobody.github.io/squares" not in text.replace(f"{OLD_SITE}2", ""), name
        assert NEW in text, name


def test_the_rest_of_a_text_stays_to_the_byte(published):
    before = files(published)
    run(NEW)
    after = files(published)
    assert after["docs/deep/start.md"].decode() == f"git clone {NEW}.git\r\n  cd my.squares\r\n"
    top, _ = after["README.md"].decode().split("<!-- course map")
    assert top == (
        "# Squares, of mine\n\n```bash\n"
        f"git clone {NEW}\ncd my.squares && make lab\n```\n\n"
        f"[Site]({NEW_SITE}/index.html), {NEW}. {NEW}.git; not ours: {OLD}-of-others, {OLD}.js, {OLD_SITE}2.\n"
        "In the clone: `cd squares`.\n\n"
    )
    project = before["pyproject.toml"].decode()
    for old, new in (
        (f'Source = "{OLD}"', f'Source = "{NEW}"'),
        (f'repository = "{OLD}"  # here', f'repository = "{NEW}"  # here'),
        ("branch='main'", 'branch = "main"'),
        (OLD_SITE, NEW_SITE),
    ):
        project = project.replace(old, new)
    assert after["pyproject.toml"].decode() == project


def test_doing_it_again_changes_nothing_and_going_back_changes_everything_back(published):
    run(OLD)  # its own way to write pyproject.toml
    before = files(published)
    run(NEW)
    after = files(published)
    again = run(f"{NEW}/")
    assert "0 files written" in again.output
    assert files(published) == after
    run(OLD)
    assert files(published) == before


def test_a_site_of_one_s_own_stays_while_the_repository_does(published):
    run(NEW, "--site", "https://flows.example.org/")
    assert Address.of(Course.find(published.root)).site == "https://flows.example.org"
    run(NEW, "--branch", "next")
    assert vars(Address.of(Course.find(published.root))) == {
        "repository": NEW,
        "branch": "next",
        "site": "https://flows.example.org",
    }
    run("--site", NEW_SITE)
    assert Address.of(Course.find(published.root)) == Address(NEW, "next", NEW_SITE)
    run(OLD)
    assert Address.of(Course.find(published.root)).site == OLD_SITE


def test_a_run_that_was_cut_short_is_finished_by_the_next(published, monkeypatch):
    import coursekit.address_command as command

    def dies(path, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "atomic_write", lambda path, data: path.write_bytes(data) > 0)
        patch.setattr("coursekit.build.atomic_write", dies)
        assert run(NEW).exit_code == 2
    assert Address.of(Course.find(published.root)).repository == OLD
    assert run(NEW).exit_code == 0
    assert CliRunner().invoke(app, ["build", "--check"]).exit_code == 0
    assert OLD not in files(published)["docs/deep/start.md"].decode()


def test_a_course_without_an_address_gets_one(course):
    done = run(NEW)
    assert done.exit_code == 0, done.output
    text = (course.root / "pyproject.toml").read_text(encoding="utf-8")
    found = tomllib.loads(text)["tool"]["coursekit"]
    assert (found["repository"], found["branch"], found["site"]) == (NEW, "main", NEW_SITE)
    assert [line for line in PYPROJECT.splitlines() if line not in text.splitlines()] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["https://gitlab.com/a/b"], "expected https://github.com/OWNER/REPOSITORY"),
        (["https://github.com/a"], "expected https://github.com/OWNER/REPOSITORY"),
        (["https://github.com/a/b/tree/main"], "got 'https://github.com/a/b/tree/main'"),
        (["https://github.com/a/.."], "got 'https://github.com/a/..'"),
        (['https://github.com/a/b"\nx = 1'], "expected https://github.com/OWNER/REPOSITORY"),
        ([""], "got ''"),
        ([NEW, "--site", "flows.example.org"], "site: expected an address such as"),
        ([NEW, "--site", 'https://a.org/"'], "site: expected an address such as"),
        ([NEW, "--site", "https:///a"], "site: expected an address such as"),
        ([NEW, "--branch", "a b"], "branch: expected a name such as main, got 'a b'"),
        ([NEW, "--branch", ""], "branch: expected a name such as main, got ''"),
    ],
)
def test_what_is_no_address_gets_one_line_and_changes_nothing(published, arguments, words):
    before = files(published)
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert files(published) == before


@pytest.mark.parametrize(
    "text",
    [
        NEW,
        f"{NEW}/",
        f"{NEW}.git",
        f" {NEW}.git/\n",
        NEW.removeprefix("https://"),
        NEW.replace("https", "http"),
        "git@github.com:Some-One/my.squares.git",
        "ssh://git@github.com/Some-One/my.squares.git",
    ],
)
def test_all_ways_in_which_github_shows_an_address(text):
    assert read_repository(text) == NEW


def test_settings_in_another_way_of_toml_are_left_alone(published):
    text = SETTINGS.replace(f'repository = "{OLD}"  # here', f'repository = """{OLD}"""')
    (published.root / "pyproject.toml").write_text(text, encoding="utf-8")
    before = files(published)
    done = run(NEW)
    assert done.exit_code == 2
    assert "set repository, branch, site there by hand" in done.stderr
    assert files(published) == before


def test_what_cannot_be_built_leaves_everything_as_it_was(published):
    source = published.text_source(NAME)
    source.write_text(source.read_text(encoding="utf-8") + '\n# %% test="nobody_knows" points=1\n1\n')
    before = files(published)
    assert run(NEW).exit_code == 2
    assert files(published) == before
