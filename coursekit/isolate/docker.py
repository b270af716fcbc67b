"""Children in docker containers, for machines without bubblewrap: macOS, Windows with WSL.

The image must hold this Python's packages: `docker build` the course's environment and name it with `--image`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping

from coursekit.isolate.confine import NOBODY
from coursekit.isolate.handle import Child
from coursekit.isolate.limits import Limits
from coursekit.isolate.popen import CHILD, clean_environment, start_program
from coursekit.isolate.setup import Setup

__all__ = ["Docker", "docker_command"]

IMAGE = "coursekit-child"


def docker_command(image: str, name: str, limits: Limits, env: Mapping[str, str]) -> list[str]:
    """`docker run` of a container called `name`, up to the program that is to run in it.

    >>> command = docker_command("course", "child-1", Limits(), {})
    >>> command[command.index("--network") + 1]
    'none'
    """
    tmpfs = f"rw,nosuid,nodev,mode=1777,size={limits.tmp_bytes}"
    command = ["docker", "run", "--rm", "--interactive", "--pull", "never", "--name", name]
    command += ["--network", "none", "--read-only", "--hostname", "grader"]
    command += ["--user", f"{NOBODY}:{NOBODY}", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    # The child's own filter is added to docker's, which stays.
    command += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
    command += ["--pids-limit", str(limits.processes), "--ipc", "private", "--log-driver", "none"]
    command += ["--tmpfs", f"/tmp:{tmpfs}", "--shm-size", str(limits.tmp_bytes), "--workdir", "/"]
    for name, value in env.items():
        command += ["--env", f"{name}={value}"]
    return [*command, image]


class Docker:
    """Start each child cold, in a container of its own.

    docker's daemon enforces memory and processes; the rest is the child's own rlimits and filter.
    """

    name = "docker"
    isolates = True

    def __init__(self, setup: Setup | None = None, image: str = IMAGE) -> None:
        self.setup, self.image = setup or Setup(), image

    def available(self) -> str | None:
        """Why it cannot be used here, or None."""
        if os.name != "posix":
            return "children need a POSIX system; on Windows use docker from WSL"
        if shutil.which("docker") is None:
            return "docker is not installed"
        for what, arguments in (
            ("its daemon does not answer", ["version", "--format", "{{.Server.Version}}"]),
            (f"there is no image {self.image!r}", ["image", "inspect", "--format", "{{.Id}}", self.image]),
        ):
            try:
                tried = subprocess.run(["docker", *arguments], capture_output=True, timeout=20, check=False)
            except (OSError, subprocess.TimeoutExpired):
                return f"docker: {what}"
            if tried.returncode:
                return f"docker: {what}"
        return None

    def describe(self) -> str:
        """Its name."""
        return self.name

    def start(self, limits: Limits | None = None, env: Mapping[str, str] | None = None) -> Child:
        """A child that is ready for its first cell.

        Raises:
            StartError: it does not get ready.
        """
        limits = limits or Limits()
        # PATH and the search path are the image's own.
        environment = {k: v for k, v in clean_environment().items() if k not in ("PATH", "PYTHONPATH")}
        start = {"confine": True, "uid": None, "folder": "/tmp", "env": dict(env or {})}
        start |= {"preload": self.setup.preload, "checks": self.setup.checks}
        name = f"coursekit-{uuid.uuid4().hex[:12]}"
        command = [*docker_command(self.image, name, limits, environment), "python", *CHILD]
        return start_program(command, limits, start, env=None, grouped=False, end=("docker", "kill", name))

    def close(self) -> None:
        """Nothing is kept."""
