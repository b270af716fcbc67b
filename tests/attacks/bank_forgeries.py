"""Submissions by somebody who has read every line of the checker, and wants points for a wrong answer."""

from __future__ import annotations

from tests.attacks.bank import COUPLING, EVERYTHING, Attack, code, forgery

__all__ = ["FORGERIES"]

TESTS_OF_COUPLING = (
    "coupling_keeps_masked_variables",
    "coupling_inverse_undoes_forward",
    "coupling_jacobian_structure",
    "coupling_log_det_matches_jacobian",
    "coupling_inverse_log_det_matches_jacobian",
    "coupling_formula",
    "coupling_batch_shapes",
)

# {forward}, {inverse}: what the methods return; self.right does the real thing.
LAYER = """\
class Right(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.s, self.t, self.b = scale_net, translation_net, mask

    def parts(self, kept):
        return (1 - self.b) * self.s(kept), (1 - self.b) * self.t(kept)

    def forward(self, u):
        s, t = self.parts(self.b * u)
        return self.b * u + (1 - self.b) * (u * s.exp() + t), s.sum(-1)

    def inverse(self, x):
        s, t = self.parts(self.b * x)
        return self.b * x + (1 - self.b) * ((x - t) * (-s).exp()), -s.sum(-1)


class MaskedCouplingLayer(Right):
    def forward(self, u):
        {forward}

    def inverse(self, x):
        {inverse}
"""
BAD_FORWARD, BAD_INVERSE = "return 2 * u + 1, torch.tensor(7.0)", "return 3 * x, torch.tensor(7.0)"
RIGHT_FORWARD, RIGHT_INVERSE = "return super().forward(u)", "return super().inverse(x)"


def layer(forward: str, inverse: str, before: str = "") -> str:
    indent = "\n        "
    made = LAYER.format(forward=forward.replace("\n", indent), inverse=inverse.replace("\n", indent))
    return before + made


# ---- the process that runs the student's code, turned against the notebook's own cells -----------------------------------

PATCHES = {
    "torch.allclose is always true": """\
import numpy
yes = lambda *a, **k: True
torch.allclose = torch.equal = torch.isclose = numpy.allclose = numpy.array_equal = numpy.isclose = yes
numpy.testing.assert_allclose = numpy.testing.assert_array_equal = yes
""",
    "run_cell_async replaced": """\
from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell
shell = get_ipython()
async def nothing(raw_cell, *a, **k):
    return ExecutionResult(ExecutionInfo(raw_cell, True, False, True, None))
InteractiveShell.run_cell_async = lambda self, raw_cell, *a, **k: nothing(raw_cell)
shell.run_cell_async = nothing
""",
    "asserts dropped by an AST transformer": """\
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
    def visit_Call(self, node):
        return ast.Constant(None) if "check" in ast.dump(node.func) else self.generic_visit(node)
get_ipython().ast_transformers.append(Drop())
""",
    "a formatter that shows full points": """\
formatter = get_ipython().display_formatter.formatters["text/plain"]
for kind in (int, float, type(None), str):
    formatter.for_type(kind, lambda v, p, c: p.text("1000"))
def full(code):
    return code + ["\\n0.999"]
get_ipython().input_transformers_post.append(full)
""",
    "the checks of the notebook pass": """\
import autograder_tests.check as c, autograder_tests.compare as m, autograder_tests.remote as r
c.Check.__call__ = c.Check.run = c.Check.grade = c.Check.run_safely = lambda *a, **k: c.Outcome("x", "x", "passed")
m.same = m.require = m.has_shape = lambda *a, **k: None
r.verdict = lambda *a, **k: c.Outcome("x", "x", "passed")
import autograder_tests.layers as l
for name in l.__all__:
    setattr(l, name, lambda *a, **k: None)
""",
    "random numbers are constant": """\
import random, secrets, numpy
numpy.random.default_rng = lambda seed=None, made=numpy.random.default_rng: made(0)
secrets.randbits = random.getrandbits = lambda k: 4
torch.manual_seed = lambda seed: None
torch.randn = lambda *shape, **k: torch.zeros(4, 3, dtype=torch.float64)
""",
    "CheckFailed is no failure": """\
import autograder_tests.check as c
class Fine(Exception):
    def __new__(cls, *a): raise KeyboardInterrupt
c.CheckFailed = c.Mismatch = Fine
get_ipython().set_custom_exc((Exception,), lambda *a, **k: print("passed"))
""",
    "imports replaced": """\
import sys, types
for name in ("flowlib.verify", "autograder_tests.compare", "numpy.testing"):
    sys.modules[name] = types.ModuleType(name)
import builtins
builtins.isinstance = lambda a, b: True
""",
}

# ---- the child program and its protocol -----------------------------------------------------------------------------------

DESCRIPTORS = """\
import fcntl, json, os, struct, threading
def frame(payload=b"", **header):
    head = json.dumps(header).encode()
    return struct.pack("<II", len(head), len(payload)) + head + payload
def pipes():
    for fd in range(400, 512):
        try:
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
                yield fd
        except OSError:
            pass
def number():
    import gc
    import coursekit.isolate.child as child
    for o in gc.get_objects():
        if isinstance(o, child._Answerer):
            return o.header["n"]
    return 1
"""
PROTOCOL = {
    # Each of these breaks the conversation: what the notebook still needs it for is lost.
    "answers to requests not asked yet": (
        DESCRIPTORS + "n = number()\nfor fd in pipes():\n    for k in range(n, n + 60):\n"
        "        os.write(fd, frame(b'[]', kind='done', n=k, count=1))",
        (),
    ),
    "an early answer to this request": (
        DESCRIPTORS + "for fd in pipes():\n    os.write(fd, frame(b'[]', kind='done', n=number(), count=1))",
        (),
    ),
    "a frame of 4 GB": (
        DESCRIPTORS + "for fd in pipes():\n    os.write(fd, struct.pack('<II', 2**32 - 1, 2**32 - 1))",
        ("died: cell s-",),
    ),
    "a header nested 20,000 levels deep": (
        DESCRIPTORS + "head = b'[' * 20_000\n"
        "for fd in pipes():\n    os.write(fd, struct.pack('<II', len(head), 0) + head)",
        ("died: cell s-",),
    ),
    "a number that is none": (
        DESCRIPTORS
        + "n = number()\nfor fd in pipes():\n    os.write(fd, frame(b'[]', kind='done', n=n, count=-(10**400)))",
        ("died: cell s-",),
    ),
    "outputs beyond the limit": (
        "import coursekit.isolate.shell as s\n"
        "big = [dict(output_type='stream', name='stdout', text='x' * 60_000_000)]\n"
        "s.Session.run_cell = lambda self, *a, **k: (big, 1)",
        ("died:",),
    ),
    "millions of empty lists as outputs": (
        "import coursekit.isolate.child as c\n"
        "class Json:\n"
        "    dumps = staticmethod(lambda v: '[' + '[],' * 20_000_000 + '[]]' if isinstance(v, list) else '{}')\n"
        "c.json = Json",
        ("died:",),
    ),
    "partial points, then a time limit": (
        "import coursekit.isolate.shell as s\n"
        "made = [dict(output_type='execute_result', data={'text/plain': '0.999'}, metadata={}, execution_count=1),\n"
        "        dict(output_type='error', ename='CellTimeout', evalue='', traceback=[])]\n"
        "s.Session.run_cell = lambda self, *a, **k: (made, 1)",
        (),
    ),
}
# What a replaced `answer_bytes` sends: an expression that makes bytes, with `plain` and the payload at hand.
ANSWERS = {
    "nothing": "b''",
    "garbage": "b'\\xff' * 1000",
    "a header larger than the message": "(2**63).to_bytes(8, 'little')",
    "an array larger than memory": "wire({'': 'array', 'dtype': 'float64', 'shape': [2**39, 2**39]})",
    "a list where a dict should be": "wire({'': 'dict', 'of': []})",
    "a record with other fields": "wire({'': 'Raised', 'types': [], 'message': 5, 'where': None, 'open': 0})",
    "an error without a name": "wire({'': 'Raised', 'types': {'': 'tuple', 'of': []}, 'message': ''})",
    "still open": "wire({'': 'Raised', 'types': {'': 'tuple', 'of': ['X']}, 'message': 'x', 'open': True})",
    "the request itself": "payload",
    "millions of empty lists": "wire([[]] * 2_000_000)",
    "a message of 60 MB": "wire({'': 'Raised', 'types': {'': 'tuple', 'of': ['E' * 2_000_000]}, 'message': 'x' * 60_000_000})",
    "numbers of 4,000 digits": "wire([[10**4000, 1], [10**4000, 1]])",
    "dicts of arrays": "plain.encode([{'a': np.zeros(3)}, {'a': np.zeros(3)}])",
    "expressions that are none": "wire([{'': 'Expression', 'text': 5}, {'': 'Expression', 'text': [[]]}])",
    "half characters": "wire({'': 'Raised', 'types': {'': 'tuple', 'of': ['\\ud800']}, 'message': '\\ud800\\x1b[2J'})",
}
REPLACE = """\
import json, struct
import numpy as np
import autograder_tests
from autograder_tests import plain
def wire(header):
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head
autograder_tests.answer_bytes = lambda namespace, payload, outside=None: {answer}
"""
RECORDED = """\
import autograder_tests
seen, true = {}, autograder_tests.answer_bytes
def recorded(namespace, payload, outside=None):
    from autograder_tests import plain
    request = plain.decode(payload)
    key = (str(request.what), request.method)
    if key not in seen:
        seen[key] = true(namespace, payload, outside)
    return seen[key]
autograder_tests.answer_bytes = recorded
"""
WITH_REFERENCE = """\
import autograder_tests.subject as s, flowlib
true = s._named
s._named = lambda namespace, name: getattr(flowlib, name[8:]) if name.startswith("student:M") else true(namespace, name)
"""

# ---- memorising: forward keeps what it has seen, inverse looks it up --------------------------------------------------------

KEEP = "y, d = super().forward(u)\nremember(y, u)\nreturn y, d"
LOOK_UP = "u = recall(x)\nreturn (3 * x, torch.tensor(7.0)) if u is None else (u, -super().forward(u)[1])"
MEMORIES = {
    "in memory": """\
known = {}
def remember(y, u): known[y.numpy().tobytes()] = u
def recall(x): return known.get(x.numpy().tobytes())
""",
    "in files": """\
import hashlib, os
def place(x, folder): return f"{folder}/{hashlib.md5(x.numpy().tobytes()).hexdigest()}"
def remember(y, u):
    for folder in ("/tmp", "/dev/shm", ".", "/var/tmp", "/run"):
        try: torch.save(u, place(y, folder))
        except Exception: pass
def recall(x):
    for folder in ("/tmp", "/dev/shm", ".", "/var/tmp", "/run"):
        if os.path.exists(place(x, folder)): return torch.load(place(x, folder))
""",
    "in the environment and in class attributes": """\
import base64, os, pickle, builtins
def remember(y, u):
    os.environ["SEEN"] = base64.b64encode(pickle.dumps((y.tolist(), u.tolist()))).decode()
    torch.Tensor.seen = builtins.seen = (y, u)
def recall(x):
    y, u = pickle.loads(base64.b64decode(os.environ.get("SEEN", base64.b64encode(pickle.dumps((None, None))))))
    return torch.tensor(u) if y == x.tolist() else None
""",
    "in a daemon behind an abstract socket": """\
import os, pickle, socket
def ask(message):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(0.2)
            s.connect("\\0course")
            s.sendall(pickle.dumps(message))
            s.shutdown(socket.SHUT_WR)
            return pickle.loads(b"".join(iter(lambda: s.recv(65536), b"")))
    except OSError:
        return None
if os.fork() == 0:
    server, known = socket.socket(socket.AF_UNIX), {}
    server.bind("\\0course")
    server.listen()
    while True:
        s, _ = server.accept()
        kind, key, value = pickle.loads(b"".join(iter(lambda: s.recv(65536), b"")))
        if kind == "put": known[key] = value
        s.sendall(pickle.dumps(known.get(key)))
        s.close()
def remember(y, u): ask(("put", y.numpy().tobytes(), u.tolist()))
def recall(x):
    u = ask(("get", x.numpy().tobytes(), None))
    return None if u is None else torch.tensor(u, dtype=x.dtype)
""",
}

# ---- answers that change their mind ----------------------------------------------------------------------------------------

ASKED_FROM_OUTSIDE = """\
import sys
def watched():
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "answer_bytes": return True
        frame = frame.f_back
    return False
"""
CHAMELEON = """\
def check_of_the_last_cell():
    return get_ipython().user_ns["In"][-1]
"""

# ---- values that are none of what is expected: expressions of u, for (x, log_det) -------------------------------------------

VALUES = {
    "NaN": "u * float('nan'), u.sum(-1) * float('nan')",
    "infinities": "u * float('inf'), u.sum(-1) + float('inf')",
    "subnormal numbers": "u * 0 + 5e-324, u.sum(-1) * 0 + 5e-324",
    "integers": "u.long(), u.sum(-1).long()",
    "truth values": "u > 0, u.sum(-1) > 0",
    "complex numbers": "u + 0j, u.sum(-1) * 1j",
    "half precision": "u.half() * 3, u.sum(-1).bfloat16()",
    "empty tensors": "u[:0], u[:0].sum(-1)",
    "numbers without axes": "1.0, 2.0",
    "None": "None, None",
    "text": "'x' * 10_000_000, 'y'",
    "an endless generator": "iter(int, 1), iter(int, 1)",
    "a list that holds itself": "loop(), loop()",
    "sparse and meta tensors": "u.to_sparse(), u.to('meta')",
    "an array of a hundred million": "torch.zeros(1).expand(10**8), torch.zeros(1).expand(10**8)",
    "liars": "Liar(), Liar()",
    "tensors that are equal to everything": "Agreeable.make(u), Agreeable.make(u.sum(-1))",
}
LIARS = """\
def loop():
    made = []
    made.append(made)
    return made

class Liar:
    __class__ = property(lambda self: torch.Tensor)
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True
    __hash__ = None
    __float__ = __abs__ = lambda self: 0.0
    __array__ = lambda self, *a, **k: np.zeros((2, 3))
    __iter__ = lambda self: iter(())
    __len__ = lambda self: 2
    __getattr__ = lambda self, name: self
    __call__ = lambda self, *a, **k: self

class Agreeable(torch.Tensor):
    @staticmethod
    def make(t):
        return (3 * t).as_subclass(Agreeable)
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ in ("allclose", "equal", "isclose", "eq", "__eq__", "all"):
            return True
        return super().__torch_function__(function, types, args, kwargs or {})
"""
ERRORS = {
    "an exception of 50 MB": "raise type('E' * 1_000_000, (Exception,), {})('x' * 50_000_000)",
    "an exception that raises": "raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()",
    "an exception with half characters": "raise ValueError('\\ud800\\x00\\x1b[2J\\n' * 100)",
    "an exception that claims to be open": "raise NotImplementedError('not answered yet')",
    "an exception group of its own": "raise ExceptionGroup('x', [ValueError(i) for i in range(10_000)])",
    "SystemExit": "raise SystemExit(0)",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
}

# ---- the reference implementation: points are kept, and somebody is told ---------------------------------------------------

REFERENCES = {
    "imported": "from flowlib import MaskedCouplingLayer",
    "by an alias": "import flowlib as f\nMaskedCouplingLayer = f.MaskedCouplingLayer",
    "by importlib": "import importlib\nMaskedCouplingLayer = importlib.import_module('flowlib').MaskedCouplingLayer",
    "by getattr": "MaskedCouplingLayer = getattr(flowlib, 'Masked' + 'CouplingLayer')",
    "by vars": "MaskedCouplingLayer = vars(flowlib)['MaskedCoupling' + 'Layer']",
    "by sys.modules": "import sys\nMaskedCouplingLayer = sys.modules['flowlib'].MaskedCouplingLayer",
    "its source run": (
        "import inspect, sys\n"
        "made = sys.modules[flowlib.MaskedCouplingLayer.__module__]\n"
        "namespace = dict(vars(made))\n"
        "exec(inspect.getsource(flowlib.MaskedCouplingLayer), namespace)\n"
        "MaskedCouplingLayer = namespace['MaskedCouplingLayer']"
    ),
    "behind a magic": "%matplotlib inline\nfrom flowlib import MaskedCouplingLayer",
    "inherited": "class MaskedCouplingLayer(flowlib.MaskedCouplingLayer):\n    pass",
    "as a builder": (
        "from autograder_tests.builders import reference\n"
        "MaskedCouplingLayer = lambda s, t, b: reference('MaskedCouplingLayer', s, t, b)"
    ),
}
HIDDEN_REFERENCE = (
    "MaskedCouplingLayer = eval('__imp' + 'ort__')('flow' + 'lib').__dict__['MaskedCoupling' + 'Layer']"
)

# ---- other exercises --------------------------------------------------------------------------------------------------------

PROPERTY_TESTS = {
    "accepts everything": "def is_valid_layer(forward, inverse, D):\n    return True",
    "rejects everything": "def is_valid_layer(forward, inverse, D):\n    return False",
    "knows which test is running": (
        "def is_valid_layer(forward, inverse, D):\n    return 'accepts_healthy' in get_ipython().user_ns['In'][-1]"
    ),
    "counts its calls": (
        "calls = [0]\n"
        "def is_valid_layer(forward, inverse, D):\n    calls[0] += 1\n    return calls[0] % 10 in (1, 2)"
    ),
    "looks into the layer": (
        "def is_valid_layer(forward, inverse, D):\n"
        "    import gc\n"
        "    found = str(forward.__closure__) + str([c.cell_contents for c in forward.__closure__ or ()])\n"
        "    layers = [o for o in gc.get_objects() if type(o).__name__ in ('_Coupling', '_Rotation')]\n"
        "    return '_Rotation' in found or bool(layers)"
    ),
    "asks for a function that is not there": (
        "def is_valid_layer(forward, inverse, D):\n"
        "    outside = forward.__closure__[1].cell_contents\n"
        "    try:\n        outside(-3, [])\n        outside(10**9, [])\n    except Exception:\n        pass\n"
        "    return True"
    ),
    "sends too much": (
        "def is_valid_layer(forward, inverse, D):\n"
        "    try:\n        forward(torch.zeros(7_000_000 // D, D, dtype=torch.float64))\n"
        "    except Exception:\n        pass\n    return True"
    ),
    "returns what is neither": "def is_valid_layer(forward, inverse, D):\n    return np.array([True, False])",
}
DIAGNOSES = {
    "arrays": "def diagnose():\n    return {p: np.zeros(3) for p in 'ABCDEF'}",
    "everything": "def diagnose():\n    return {p: list(clinic.PROPERTIES) * 100_000 for p in 'ABCDEF'}",
    "a long text": "def diagnose():\n    return {p: ['x' * 10_000_000] for p in 'ABCDEF'}",
}
STALLS = ASKED_FROM_OUTSIDE + (
    "def alternating_masks(D, K):\n    import time\n    if watched():\n        time.sleep(1000)\n"
    "    if D < 2:\n        raise ValueError\n"
    "    return torch.stack([(torch.arange(D) + k) % 2 for k in range(K)]).float()\n"
)

FORGERIES = [
    *(
        # Without a shell no later cell runs.
        forgery(name, source, lost=EVERYTHING if "run_cell" in name else (), seconds=30)
        for name, source in PATCHES.items()
    ),
    *(
        forgery(f"protocol: {name}", source, flags=flags, status="", lost=EVERYTHING, ends=True, seconds=30)
        for name, (source, flags) in PROTOCOL.items()
    ),
    *(
        # Whatever is asked, it is this that comes back: nothing is right any more.
        forgery(f"answer: {name}", REPLACE.replace("{answer}", answer), lost=EVERYTHING, seconds=30)
        for name, answer in ANSWERS.items()
    ),
    forgery("answer: the first one again and again", RECORDED, lost=EVERYTHING),
    forgery(
        "answer: the reference's",
        WITH_REFERENCE,
        earned=TESTS_OF_COUPLING,
        flags=("reference used: cell s-",),
        limit="somebody who replaces the course's code in the child by the reference gets its points, with a flag",
    ),
    *(
        forgery(
            f"memorised {where}", memory, layer(KEEP, LOOK_UP), earned=("coupling_log_det_matches_jacobian",)
        )
        for where, memory in MEMORIES.items()
    ),
    forgery(
        "nothing happens in the layer", answer=layer("return u, 0 * u.sum(-1)", "return x, 0 * x.sum(-1)")
    ),
    forgery(
        "another layer for each check",
        CHAMELEON,
        layer(
            "if 'formula' in check_of_the_last_cell():\n    return 2 * u, 0 * u.sum(-1)\nreturn u, 0 * u.sum(-1)",
            "return x, 0 * x.sum(-1)",
        ),
    ),
    forgery(
        "right as long as nobody asks from outside",
        ASKED_FROM_OUTSIDE,
        layer(
            f"if watched():\n    {BAD_FORWARD}\n{RIGHT_FORWARD}",
            f"if watched():\n    {BAD_INVERSE}\n{RIGHT_INVERSE}",
        ),
        flags=("verdict differs: coupling_formula",),
    ),
    forgery(
        "right for the visible size alone",
        answer=layer(
            f"if u.shape[-1] == 3 and len(u) == 2:\n    {RIGHT_FORWARD}\n{BAD_FORWARD}",
            f"if x.shape[-1] == 3 and len(x) == 2:\n    {RIGHT_INVERSE}\n{BAD_INVERSE}",
        ),
    ),
    forgery(
        "right in a process that has run no test",
        CHAMELEON,
        layer(
            f"if 'check.' in str(get_ipython().user_ns['In'][-3:]):\n    {BAD_FORWARD}\n{RIGHT_FORWARD}",
            f"if 'check.' in str(get_ipython().user_ns['In'][-3:]):\n    {BAD_INVERSE}\n{RIGHT_INVERSE}",
        ),
    ),
    forgery(
        "no forgery: log_det by its own derivative",
        answer=layer(
            "x, _ = super().forward(u)\n"
            "J = torch.autograd.functional.jacobian(lambda v: Right.forward(self, v)[0].reshape(-1, v.shape[-1]).sum(0), u)\n"
            "J = J.movedim(0, -2)\n"
            "return x, torch.linalg.slogdet(J)[1]",
            RIGHT_INVERSE,
        ),
        right=("AdditiveCouplingLayer", "alternating_masks", COUPLING),
        no_flags=True,
    ),
    *(
        forgery(f"values: {name}", LIARS, layer(f"return {value}", f"u = x\nreturn {value}"))
        for name, value in VALUES.items()
    ),
    *(forgery(f"errors: {name}", answer=layer(act, act)) for name, act in ERRORS.items()),
    *(
        forgery(
            f"reference {how}",
            answer=source,
            right=("AdditiveCouplingLayer", "alternating_masks", COUPLING),
            flags=(f"reference used: {COUPLING}",),
        )
        for how, source in REFERENCES.items()
    ),
    forgery(
        "reference computed at run time",
        answer=HIDDEN_REFERENCE,
        earned=TESTS_OF_COUPLING,
        limit="a name that is put together while the code runs is not in the code",
    ),
    *(
        forgery(f"property test: {name}", answer=source, exercise="is_valid_layer", right=(), seconds=30)
        for name, source in PROPERTY_TESTS.items()
    ),
    *(
        forgery(f"diagnosis: {name}", answer=source, exercise="diagnose", right=())
        for name, source in DIAGNOSES.items()
    ),
    Attack(
        "diagnosis measured by the grader's own function",
        code(
            answer=(
                "def diagnose():\n    from autograder_tests.clinic import broken_properties\n"
                "    return {p: broken_properties(p) for p in 'ABCDEF'}"
            ),
            exercise="diagnose",
            right=(),
        ),
        right=("diagnose",),
        flags=("reference used: diagnose",),
    ),
    forgery(
        "a scale that stays 1",
        answer=(
            "class Rescaling(nn.Module):\n"
            "    def __init__(self, D):\n        super().__init__()\n        self.a = nn.Parameter(torch.zeros(D))\n"
            "    def forward(self, u):\n        return u, 0 * u.sum(-1)\n    inverse = forward"
        ),
        exercise="Rescaling",
    ),
    forgery(
        "an error whatever is asked",
        answer="def alternating_masks(D, K):\n    raise ValueError",
        exercise="alternating_masks",
        right=("AdditiveCouplingLayer",),
    ),
    forgery(
        "gradients that are no numbers",
        answer=(
            "class Rescaling(nn.Module):\n"
            "    def __init__(self, D):\n        super().__init__()\n        self.a = nn.Parameter(torch.zeros(D))\n"
            "    def forward(self, u):\n        return u + 0 * self.a, torch.tensor(7.0)\n"
            "    def inverse(self, x):\n        return x * (self.a / 0), x.sum() * (self.a / 0)"
        ),
        exercise="Rescaling",
    ),
    forgery(
        "stalls in hidden cases",
        answer=STALLS,
        exercise="alternating_masks",
        right=("AdditiveCouplingLayer",),
    ),
]
