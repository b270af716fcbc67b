"""What cells show: as in a notebook, and the same with every launcher."""

from __future__ import annotations

import base64
import re

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from coursekit.execute import execute
from coursekit.isolate.handle import Child
from coursekit.isolate.launch import Launcher, launchers
from coursekit.isolate.setup import Setup
from coursekit.score import plain_text
from tests.coursekit.isolate.conftest import ISOLATING, QUICK, usable

BATTERY = [
    "import sys, warnings\nprint('out')\nprint('err', file=sys.stderr)\n1 + 1",
    "_ + 40, In[1][:6], Out[1]",
    "import numpy as np\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.title('t');",
    "fig, ax = plt.subplots(figsize=(2, 1))\nax.bar([1, 2], [3, 4])\nplt.show()\nprint('after')",
    "from IPython.display import HTML, Markdown, clear_output, display\ndisplay(HTML('<b>x</b>'), Markdown('*y*'))",
    "class Rich:\n    def _repr_html_(self):\n        return '<i>z</i>'\n    def __repr__(self):\n        return 'z'\nRich()",
    "handle = display('first', display_id='h')\nhandle.update('second')",
    "print('gone')\nclear_output()\nprint('kept')",
    "def f(x):\n    return 1 / x\nf(0)",
    "if True\n    pass",
    "class Check(Exception):\n    def _render_traceback_(self):\n        return ['own', 'lines']\nraise Check('message')",
    "raise NotImplementedError('write me')",
    "assert np.allclose(1, 2), 'not close'",
    "%matplotlib inline\nplt.plot([3, 1]);",
    "import asyncio\nawait asyncio.sleep(0.01)\n'awaited'",
    "!echo from a shell",
    "raise SystemExit(3)",
    "input('name? ')",
    "%%capture taken\nprint('hidden')",
    "taken.stdout",
    "no_such_name",
    "np.arange(3.0)",
    "__name__, __import__('os').environ['MPLBACKEND']",
]


@pytest.fixture(scope="module")
def shown() -> dict[str, list]:
    """What each launcher shows of the battery; pyplot is imported before the forked child's shell is there."""
    found = {}
    for name, launcher in launchers(Setup(("numpy", "matplotlib.pyplot"))).items():
        if launcher.available() is None:
            with launcher.start(QUICK) as child:
                found[name] = [child.run_cell(source, f"c{k}") for k, source in enumerate(BATTERY)]
        launcher.close()
    return found


@pytest.mark.parametrize("name", ISOLATING)
def test_isolated_outputs_are_the_bare_ones(shown: dict[str, list], known: dict[str, Launcher], name: str):
    usable(known, name)
    for source, bare, isolated in zip(BATTERY, shown["none"], shown[name], strict=True):
        assert isolated.outputs == bare.outputs, source
        assert isolated.execution_count == bare.execution_count


def _essence(outputs: list) -> list[tuple]:
    """Outputs without colors and pixels."""
    found = []
    for o in outputs:
        if o.output_type == "stream":
            found.append((o.name, plain_text(o.text)))
        elif o.output_type == "error":
            # A syntax error names the cell's file, which a kernel and a shell call differently.
            evalue = re.sub(r"\([^(]*, line", "(cell, line", o.evalue)
            found.append((o.ename, evalue, plain_text("\n".join(o.traceback))))
        else:
            data = {k: "" if k == "image/png" else v for k, v in o.data.items()}
            found.append((o.output_type, data, o.get("execution_count")))
    return found


def test_outputs_are_those_of_a_notebook(shown: dict[str, list]):
    nb = new_notebook(cells=[new_code_cell(source) for source in BATTERY])
    run = execute(nb)
    assert not run.problem
    for cell, ours in zip(nb.cells, shown["none"], strict=True):
        theirs = _essence(cell.outputs)
        if "input" in cell.source:  # the traceback ends in the kernel's own code
            theirs, mine = ([o[:2] for o in e] for e in (theirs, _essence(ours.outputs)))
        elif "SystemExit" in cell.source:  # the advice on how to leave differs
            theirs, mine = ([o for o in e if o[0] != "stderr"] for e in (theirs, _essence(ours.outputs)))
        else:
            mine = _essence(ours.outputs)
        assert mine == theirs, cell.source


def test_figures_are_pictures(shown: dict[str, list]):
    for k in (2, 3, 13):
        first = shown["none"][k].outputs[0]
        assert base64.b64decode(first.data["image/png"]).startswith(b"\x89PNG")


def test_warnings_go_to_stderr_and_are_no_errors(child: Child):
    outputs = child.run_cell("import warnings\nwarnings.warn('careful')\n'value'").outputs
    assert [o.get("name", o.output_type) for o in outputs] == ["stderr", "execute_result"]
    assert "UserWarning: careful" in outputs[0].text


def test_magics_do_not_break(child: Child):
    run = child.run_cell("%pip install something\n%time x = 1\nx")
    assert [o.output_type for o in run.outputs] == ["stream", "execute_result"]
    assert "packages cannot be installed" in run.outputs[0].text
    assert re.search(r"Wall time: [\d.]+ \w+", run.outputs[0].text)


def test_output_to_the_descriptors_does_not_disturb_the_protocol(child: Child):
    run = child.run_cell("import os\nfor fd in (0, 1, 2):\n    os.write(fd, b'garbage' * 9999)\n'fine'")
    assert [o.data["text/plain"] for o in run.outputs] == ["'fine'"]


def test_descriptors_of_the_protocol_are_not_inherited(child: Child):
    source = "import subprocess, sys\nprint(subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True).stdout)"
    numbers = [int(n) for n in child.run_cell(source).outputs[0].text.split()]
    assert max(numbers) < 10


def test_random_states_differ_between_children(launcher: Launcher):
    source = "import random\nimport numpy as np\nrandom.random(), np.random.rand()"
    drawn = []
    for _ in range(2):
        with launcher.start(QUICK) as child:
            drawn.append(child.run_cell(source).outputs[0].data["text/plain"])
    first, second = (re.findall(r"[\d.]{6,}", text) for text in drawn)
    assert len(first) == 2
    assert not set(first) & set(second)


def test_environment_is_the_children_s_own(launcher: Launcher, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INSTRUCTORS_TOKEN", "secret")
    with launcher.start(QUICK, env={"COURSE_CUT": "7"}) as child:
        run = child.run_cell("import os\n[os.environ.get(k) for k in ('COURSE_CUT', 'INSTRUCTORS_TOKEN')]")
    assert run.outputs[0].data["text/plain"] == "['7', None]"


def test_a_lone_surrogate_in_a_source_is_no_harm(child: Child):
    assert child.run_cell("len('\ud800')").outputs[0].data["text/plain"] == "1"
