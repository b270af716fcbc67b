"""A real JupyterLab with nbgrader, in folders of its own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["ALLOWED", "Lab", "environment", "start_lab"]

START_SECONDS = 90
# What JupyterLab itself complains about when all is well.
ALLOWED = (
    # A kernel that is restarted does not answer what the debugger's panel had asked it.
    r"console: Could not restore the debugger state: Canceled future for debug_request",
)
# The user's settings: no question about news, and every cell in the page, in sight or not.
SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
}


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, its token, the folder it shows, and where its user's own files are."""

    address: str
    token: str
    folder: Path
    private: Path

    def url(self, path: str = "lab") -> str:
        """The address of a page, with the token."""
        return f"{self.address}/{path}?token={self.token}"

    def notebook_url(self, path: str) -> str:
        """The address that opens the notebook at `path`, alone in a workspace of its own."""
        return self.url(f"lab/workspaces/{secrets.token_hex(4)}/tree/{quote(path)}")

    def put(self, path: str, notebook: dict) -> None:
        """Write a notebook through the Contents API, as an upload does."""
        self._ask(
            "PUT", f"contents/{quote(path)}", {"type": "notebook", "format": "json", "content": notebook}
        )

    def shut_kernels_down(self) -> None:
        """End every session with its kernel."""
        for session in self._ask("GET", "sessions"):
            self._ask("DELETE", f"sessions/{session['id']}")

    def _ask(self, method: str, path: str, content: dict | None = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/api/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
        return json.loads(body) if body else None


def environment(folder: Path) -> dict[str, str]:
    """An environment in which Jupyter neither reads nor writes anything of the user's; this Python's commands first."""
    private = ("CONFIG", "DATA", "RUNTIME")
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "MPLBACKEND"))
    }
    return {
        **inherited,
        **{f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in private},
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "config" / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "config" / "lab" / "workspaces"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "OMP_NUM_THREADS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # Training is cut as it is at grading, in the notebook's kernel and in Validate's.
        "COURSE_MAX_STEPS": "20",
        "COURSE_PROGRESS_DIR": str(folder / "progress"),
    }


@contextmanager
def start_lab(folder: Path, private: Path) -> Iterator[Lab]:
    """JupyterLab on `folder`, with its settings and its log in `private`; ended with its kernels on leaving.

    Raises:
        RuntimeError: when it does not answer in time; with the end of its log.
    """
    settings = private / "config" / "lab" / "user-settings"
    for name, content in SETTINGS.items():
        path = settings / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    token, port = secrets.token_hex(16), _free_port()
    lab = Lab(f"http://127.0.0.1:{port}", token, folder, private)
    command = [
        *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"),
        *(f"--ServerApp.root_dir={folder}", "--LabApp.expose_app_in_browser=True"),
        "--LabApp.extension_manager=readonly",
    ]
    log = private / "lab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=environment(private), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait(lab, server, log)
            yield lab
        finally:
            server.terminate()  # it shuts its kernels down
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(lab.url("api/status"), timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    end = "".join(log.read_text(errors="replace").splitlines(keepends=True)[-20:])
    raise RuntimeError(f"JupyterLab did not answer within {START_SECONDS} s:\n{end}")
