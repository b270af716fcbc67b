"""Running a notebook: every cell, within limits, whatever the cells do."""

from __future__ import annotations

import sys

from coursekit.execute import Limits, execute

from .conftest import code_notebook


def texts(nb):
    return ["".join(o.get("text", o.get("evalue", "")) for o in c.outputs) for c in nb.cells]


def test_errors_loops_floods_and_tags_stop_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "of-the-user"))
    nb = code_notebook(
        "import os; print(os.environ['TINY'], os.environ['OMP_NUM_THREADS'], os.listdir('.'))",
        "1 / 0",
        "while True: pass",
        "for i in range(3000): print('x' * 100)",
        "print('end')",
    )
    for cell in nb.cells:
        cell.metadata["tags"] = ["skip-execution"]
    run = execute(nb, limits=Limits(cell_seconds=1, output_bytes=20_000), env={"TINY": "3"})
    said = texts(run.notebook)
    assert run.problem == ""
    assert said[0] == "3 1 []\n"
    assert said[1] == "division by zero"
    assert said[2] == "cell 3 was stopped after 1 s"
    assert [o.ename for o in nb.cells[2].outputs] == ["CellTimeout"]
    assert 10_000 < len(said[3]) < 20_100
    assert said[3].endswith("more output was cut off\n")
    assert said[4] == "end\n"
    assert list(run.cell_seconds) == [0, 1, 2, 3, 4]
    assert run.cell_seconds[2] >= 1 > run.cell_seconds[4]
    assert sum(run.cell_seconds.values()) < run.seconds < 30
    assert (run.peak_mb is None) == (not sys.platform.startswith("linux"))


def test_a_dead_kernel_keeps_what_ran_and_marks_the_rest():
    run = execute(code_notebook("print('before')", "import os; os._exit(1)", "print('after')", ""))
    said = texts(run.notebook)
    assert run.problem == "the kernel died in cell 2"
    assert said[0] == "before\n"
    assert run.notebook.cells[1].outputs[-1].ename == "KernelDied"
    assert run.notebook.cells[2].outputs[0].ename == "NotRun"
    assert run.notebook.cells[3].outputs == []
    assert list(run.cell_seconds) == [0, 1]  # what was not run took no time


def test_a_loop_that_ignores_the_interrupt_ends_the_run():
    loop = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    run = execute(code_notebook(loop, "1"), limits=Limits(cell_seconds=1, interrupt_seconds=1))
    assert "ignored the interrupt" in run.problem
    assert [o.ename for c in run.notebook.cells for o in c.outputs] == ["CellTimeout", "NotRun"]


def test_the_notebooks_own_limit_ends_the_run():
    run = execute(
        code_notebook("import time; time.sleep(2)", "print('late')"), limits=Limits(notebook_seconds=1.5)
    )
    assert run.problem == "the notebook took more than 1.5 s"
    assert run.notebook.cells[1].outputs[0].ename == "NotRun"


def test_figures_are_drawn_whatever_backend_scripts_use(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    code = "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()"
    run = execute(code_notebook(code))
    assert any("image/png" in o.get("data", {}) for o in run.notebook.cells[0].outputs)
