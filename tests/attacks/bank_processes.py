"""Submissions that end processes, take what there is of memory, time, disk and output, or look around."""

from __future__ import annotations

from tests.attacks.bank import (
    COUPLING,
    EVERYTHING,
    LIGHT,
    Attack,
    Paper,
    answered,
    cell_of,
    code,
    forgery,
    hand_in,
)
from tests.coursekit.isolate.attacks import ENDLESS

__all__ = ["PROCESSES"]

# A layer that ends or keeps its process as soon as it is used; the definition itself does no harm.
WHEN_USED = """\
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()

    def forward(self, u):
        {act}

    inverse = forward
"""
FORKS = """\
import os

while True:
    try:
        os.fork()
    except OSError:
        pass
"""
MEMORY = """\
import mmap

held = []
while True:
    held.append(mmap.mmap(-1, 64 << 20))
    held[-1].write(b"x" * (64 << 20))
"""
PRIVATE_MEMORY = "held = []\nwhile True:\n    held.append(bytearray(32 << 20))"
DISK = """\
for folder in ("/tmp", "/dev/shm", "."):
    for k in range(9):
        try:
            with open(f"{folder}/{k}", "wb") as file:
                file.write(bytes(8 << 20))
        except OSError as error:
            print(error)
"""
LEFT_RUNNING = """\
import subprocess, sys, threading, time

def work():
    while True:
        print("still here")
        time.sleep(0.01)

for _ in range(8):
    threading.Thread(target=work, daemon=False).start()
for _ in range(4):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
files = [open("/tmp/left-open", "w") for _ in range(200)]
"""
DAEMON = """\
import os, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            time.sleep(1)
    os._exit(0)
"""
SIGNALS = """\
import os, signal

for pid in (-1, 1, os.getppid(), *map(int, (p for p in os.listdir("/proc") if p.isdigit()))):
    if pid != os.getpid():
        for number in (signal.SIGSTOP, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except OSError:
                pass
"""
SOCKETS = """\
import socket

got = []
for address in (("192.0.2.1", 80), ("127.0.0.1", 22), ("127.0.0.1", 8888)):
    try:
        socket.create_connection(address, timeout=1)
        got.append(address)
    except OSError:
        pass
assert not got, got
"""
SEARCH = """\
import glob, os, subprocess

found = [str(dict(os.environ))]
places = ["/", "/root", "/home", "/srv", "/proc/1/environ", "/proc/self/mountinfo"]
places += [os.environ.get("INSTRUCTOR_FOLDER", ""), os.path.expanduser("~"), "..", "../..", "../../.."]
for pid in filter(str.isdigit, os.listdir("/proc")):
    places += [f"/proc/{pid}/{name}" for name in ("environ", "cmdline", "maps")]
    places += glob.glob(f"/proc/{pid}/fd/*") + [f"/proc/{pid}/root/home", f"/proc/{pid}/cwd"]
for place in places:
    try:
        if os.path.isdir(place):
            for folder, _, names in os.walk(place):
                if folder.count("/") > 7 or "/lib/" in folder or folder.startswith(("/proc/", "/sys", "/usr")):
                    continue
                for name in names:
                    if name.endswith((".db", ".ipynb", ".netrc")):
                        found.append(open(os.path.join(folder, name)).read())
        else:
            found.append(open(place, errors="replace").read(100_000))
    except OSError:
        pass
print("\\n".join(found)[-150_000:])
"""
GRADEBOOK = """\
import os, sqlite3

for place in ("gradebook.db", "../gradebook.db", "../../gradebook.db", "{folder}/gradebook.db"):
    try:
        sqlite3.connect(place).execute("update grade set manual_score = 100")
    except Exception:
        pass
    try:
        open(place, "w").write("mine")
        os.symlink(place, "link")
    except OSError:
        pass
"""
WARNS = """\
import sys, warnings, logging

warnings.warn("this may be slow")
print("careful", file=sys.stderr)
logging.getLogger().error("not an error")
"""
CHATTY = """\
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.s, self.t, self.b = scale_net, translation_net, mask

    def _nets(self, kept):
        import sys, warnings
        warnings.warn("still under construction")
        print("forward", kept.shape, file=sys.stderr)
        return (1 - self.b) * self.s(kept), (1 - self.b) * self.t(kept)

    def forward(self, u):
        s, t = self._nets(self.b * u)
        return self.b * u + (1 - self.b) * (u * s.exp() + t), s.sum(-1)

    def inverse(self, x):
        s, t = self._nets(self.b * x)
        return self.b * x + (1 - self.b) * ((x - t) * (-s).exp()), -s.sum(-1)
"""

# Takes all that one honest student's grading may, thrice over.
SLOW = {"seconds": 40.0}


def _shadow(paper: Paper) -> bytes:
    """A cell writes modules beside the notebook, in the hope that a later import takes them."""
    nb = answered(paper, {COUPLING: None})
    source = (
        "for name in ('sympy', 'torch', 'numpy', 'flowlib', 'autograder_tests', 'sitecustomize', 'json'):\n"
        "    open(f'{name}.py', 'w').write('raise SystemExit')\n"
    )
    cell_of(nb, "AdditiveCouplingLayer").source = source + cell_of(nb, "AdditiveCouplingLayer").source
    return hand_in(nb)


def used(act: str) -> dict:
    """A layer that does this when it is called."""
    return {"make": code(answer=WHEN_USED.format(act=act), right=LIGHT), "right": LIGHT, "ends": True}


def own_cell(source: str, *, ends: bool = True) -> dict:
    """A cell of the student's own, before a blank answer."""
    return {"make": code(source, None, right=LIGHT), "right": LIGHT, "ends": ends}


PROCESSES = [
    Attack("os._exit in a cell", **own_cell("import os\nos._exit(0)"), flags=("died: cell s-",)),
    Attack("kill -9 of oneself", **own_cell("import os\nos.kill(os.getpid(), 9)"), flags=("died: cell s-",)),
    Attack("segmentation fault", **own_cell("import ctypes\nctypes.string_at(0)"), flags=("died: cell s-",)),
    Attack(
        "all descriptors closed", **own_cell("import os\nos.closerange(0, 4096)"), flags=("died: cell s-",)
    ),
    Attack("exit()", **own_cell("exit()\nraise SystemExit(3)")),
    Attack(
        "os._exit when called", **used("import os; os._exit(0)"), flags=("died: coupling_formula (exit 0)",)
    ),
    forgery(
        "endless loop when called",
        answer="def alternating_masks(D, K):\n    while True:\n        pass",
        exercise="alternating_masks",
        right=("AdditiveCouplingLayer",),
        flags=("time limit: masks_alternate",),
        ends=True,
    ),
    Attack("endless loop", **own_cell("while True:\n    pass"), flags=("time limit: cell s-",)),
    Attack("endless loop deaf to signals", **own_cell(ENDLESS), flags=("died: cell s-", "time limit: 3 s")),
    Attack(
        "sleep that swallows everything", **own_cell("import time\ntime.sleep(1e6)"), flags=("time limit",)
    ),
    Attack("fork bomb", **own_cell(FORKS), flags=("died: cell s-",)),
    Attack("memory bomb", **own_cell(MEMORY), flags=("memory limit",)),
    # What it holds on to stays taken: the cells after it may lack memory.
    Attack("memory bomb of its own", **own_cell(PRIVATE_MEMORY), lost=EVERYTHING),
    Attack("disk filled", **own_cell(DISK)),
    Attack("40 MB of prints", **own_cell("for _ in range(400):\n    print('x' * 100_000)")),
    Attack("a million lines", **own_cell("print('\\n' * 1_000_000)")),
    Attack("prints when called", **used("print('x' * 10_000_000); return 2 * u + 1, u.sum()")),
    Attack("deep recursion", **own_cell("def f():\n    return f()\nf()")),
    Attack(
        "recursion without a limit",
        **own_cell("import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    return [f()]\nf()"),
    ),
    Attack("threads, programs and files left behind", **own_cell(LEFT_RUNNING)),
    Attack("a daemon left behind", **own_cell(DAEMON)),
    Attack("signals to everybody", **own_cell(SIGNALS)),
    Attack("sockets, outside and loopback", **own_cell(SOCKETS)),
    Attack("search for secrets", **own_cell(SEARCH)),
    Attack("gradebook overwritten", **own_cell(GRADEBOOK)),
    Attack("own sympy.py and torch.py", _shadow, attacked=(COUPLING,)),
    Attack("input()", **own_cell("input('name?')")),
    Attack(
        "installs",
        **own_cell("%pip install autograder_tests\n!pip install flowlib\n!rm -rf /tmp /work 2>/dev/null"),
    ),
    Attack("right answer, warns on stderr", code(WARNS, CHATTY), no_flags=True, ends=True),
    Attack(
        "a cell of 900,000 characters",
        code("x = [\n" + "1,\n" * 300_000 + "]", None, right=LIGHT),
        right=LIGHT,
        seconds=25,
    ),
    Attack(
        "code beyond all measure",
        code("x = 1\n" * 300_000, None, right=LIGHT),
        right=LIGHT,
        status="not graded",
        message="of code",
        seconds=5,
    ),
    Attack("2,000 magics in a cell", code("!true\n" * 2000, None, right=LIGHT), right=LIGHT, seconds=25),
    Attack(
        "500 magics of which none is Python",
        code("%%time\n" + "%who\n" * 499, None, right=LIGHT),
        right=LIGHT,
        **SLOW,
    ),
    Attack("brackets 100,000 levels deep", code("(" * 100_000, None, right=LIGHT), right=LIGHT),
    Attack("minus signs 100,000 levels deep", code("-" * 100_000 + "1", None, right=LIGHT), right=LIGHT),
    Attack("attributes 50,000 levels deep", code("x" + ".a" * 50_000, None, right=LIGHT), right=LIGHT),
    Attack("not Python", code("This is my answer: \x00 \ufeff it's fine", None, right=LIGHT), right=LIGHT),
]
