"""An IPython shell without a kernel: source in, nbformat outputs out, as a notebook would show them."""

from __future__ import annotations

import builtins
import importlib
import random
import signal
import sys
from types import FrameType
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import StdinNotImplementedError
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from coursekit.isolate.outputs import Collector, Stream

__all__ = ["CellTimeout", "Session", "rehearse", "time_limit"]

_INLINE = "module://matplotlib_inline.backend_inline"
_INSTALLERS = ("pip", "conda", "mamba", "micromamba", "uv")


class CellTimeout(BaseException):
    """The cell or call has used up its seconds. Not an Exception: `except Exception` does not stop it."""


class time_limit:  # noqa: N801 - reads as a statement
    """Raise CellTimeout in the main thread after `seconds`, once. Code can refuse to stop: then its process is killed."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)

    def __exit__(self, *exc: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        raise CellTimeout(f"stopped after {self.seconds:g} s")


class _Publisher(DisplayPublisher):
    collector: Collector

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: object = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        put = self.collector.update if update else self.collector.display
        put(data, metadata or {}, (transient or {}).get("display_id"))

    def clear_output(self, wait: bool = False) -> None:
        self.collector.clear(wait)


class _DisplayHook(DisplayHook):
    collector: Collector

    def write_output_prompt(self) -> None:
        """A notebook's front end writes the prompt."""

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        self.collector.result(format_dict, md_dict or {}, self.prompt_count)

    def finish_displayhook(self) -> None:
        self._is_active = False


class _Shell(InteractiveShell):
    collector: Collector
    display_pub_class = Type(_Publisher)
    displayhook_class = Type(_DisplayHook)

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.collector.error(etype.__name__, str(evalue), list(stb))

    def enable_gui(self, gui: str | None = None) -> None:
        """`%matplotlib inline` asks for it; no window system is here."""


class Session:
    """A notebook's namespace and the shell that runs its cells, in this process.

    Make one per process: IPython, the streams and `builtins` are global.
    """

    def __init__(self, output_bytes: int) -> None:
        self.collector = Collector(output_bytes)
        config = Config()
        config.HistoryManager.enabled = False  # no database and no thread of its own
        config.InteractiveShell.colors = "neutral"
        _Shell.clear_instance()
        shell = self.shell = _Shell.instance(config=config)
        shell.collector = shell.display_pub.collector = shell.displayhook.collector = self.collector
        for name in _INSTALLERS:
            shell.register_magic_function(_no_installs(name), "line", name)
        sys.stdout, sys.stderr = (Stream(name, self.collector) for name in ("stdout", "stderr"))
        builtins.input = _no_input
        sys.path.insert(0, "")
        _inline_figures()

    @property
    def namespace(self) -> dict[str, Any]:
        """The notebook's names."""
        return self.shell.user_ns

    def run_cell(self, source: str, cell_id: str | None, seconds: float) -> tuple[list[dict[str, Any]], int]:
        """Run one cell: its outputs and its number. Whatever it raises is among the outputs."""
        self.collector.begin()
        count = self.shell.execution_count
        try:
            with time_limit(seconds):
                self.shell.run_cell(source, store_history=True, cell_id=cell_id)
        except CellTimeout as stop:  # it rang outside the cell's own code
            self.collector.error("CellTimeout", str(stop), [f"CellTimeout: {stop}"])
        return self.collector.finish(), count


def rehearse() -> None:
    """Make a session and undo it: whatever is imported and looked up for the first one, those of forked children have."""
    kept = sys.stdout, sys.stderr, builtins.input, list(sys.path), sys.modules["__main__"]
    shell = Session(0).shell
    shell.reset()
    _Shell.clear_instance()
    sys.stdout, sys.stderr, builtins.input, sys.path[:], sys.modules["__main__"] = kept


def reseed() -> None:
    """New random states in place of those that a fork has copied."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


def _inline_figures() -> None:
    """Figures become PNG outputs, whether pyplot was imported before the shell was there or is imported later."""
    if "matplotlib.pyplot" not in sys.modules:
        return  # MPLBACKEND names the inline backend, which finds the shell when it is imported
    # The backend looks for a shell once, when it is imported: it must not have been before.
    sys.modules.pop("matplotlib_inline.backend_inline", None)
    sys.modules["matplotlib"].rcParams["backend"] = _INLINE
    importlib.import_module("matplotlib_inline.backend_inline")
    sys.modules["matplotlib.pyplot"].switch_backend(_INLINE)


def _no_input(prompt: object = "") -> str:
    # A kernel's words where nobody can answer.
    raise StdinNotImplementedError("raw_input was called, but this frontend does not support input requests.")


def _no_installs(name: str) -> Any:
    def magic(line: str) -> None:
        print(f"%{name} does nothing here: packages cannot be installed")

    magic.__doc__ = f"Stand in for %{name}."
    return magic
