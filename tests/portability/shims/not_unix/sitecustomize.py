"""Lets the course's own modules meet what Windows has not; libraries, which have their own ways there, see no difference.

Imports of Unix's modules fail, /proc is not there, functions of Unix alone are missing from what these modules get as
`os` and `signal`, and text files that are opened without naming an encoding are an error.
"""

import builtins
import sys
import types
import warnings

OURS = ("flowlib", "autograder_tests", "coursekit")
MISSING = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
ABSENT = {
    "os": "fork forkpty getuid geteuid getgid getegid getpgid killpg setsid setuid uname wait3 wait4 WNOHANG",
    "signal": "SIGKILL SIGALRM SIGHUP SIGUSR1 SIGUSR2 alarm setitimer pthread_sigmask sigwait",
}
BETWEEN = {"_io", "codecs", "genericpath", "io", "os", "pathlib", "pathlib._local", "posixpath", __name__}

_import = builtins.__import__


def _root(name):
    return (name or "").partition(".")[0]


def _reduced(name, module):
    """The module without what Windows has not."""
    absent = set(ABSENT[name].split())
    copy = types.ModuleType(name, module.__doc__)
    vars(copy).update({k: v for k, v in vars(module).items() if k not in absent})
    return copy


_copies = {}


def _restricted(name, globals=None, locals=None, fromlist=(), level=0):
    caller = (globals or {}).get("__name__")
    if level or _root(caller) not in OURS:
        return _import(name, globals, locals, fromlist, level)
    if _root(name) in MISSING:
        raise ModuleNotFoundError(f"No module named {name!r} on Windows ({caller} imports it)", name=name)
    module = _import(name, globals, locals, fromlist, level)
    if name in ABSENT:
        return _copies.setdefault(name, _reduced(name, module))
    return module


def _no_proc(event, arguments):
    if event != "open" or not str(arguments[0]).startswith("/proc"):
        return
    frame = sys._getframe(1)
    while frame and frame.f_globals.get("__name__") in BETWEEN:
        frame = frame.f_back
    if frame and _root(frame.f_globals.get("__name__")) in OURS:
        raise FileNotFoundError(2, "there is no /proc on Windows", str(arguments[0]))


builtins.__import__ = _restricted
sys.addaudithook(_no_proc)
warnings.filterwarnings("error", category=EncodingWarning, module=rf"({'|'.join(OURS)})(\.|$)")
