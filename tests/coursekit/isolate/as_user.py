"""Run the attacks as the user who runs this: cells on stdin as JSON, what each printed by launcher on stdout."""

from __future__ import annotations

import json
import sys

from coursekit.isolate.launch import launchers
from tests.coursekit.isolate.conftest import ISOLATING, QUICK, SETUP, stdout


def main() -> None:
    attempts, found = json.load(sys.stdin), {}
    for name, launcher in launchers(SETUP).items():
        if name not in ISOLATING:
            continue
        found[name] = launcher.available()
        if found[name] is None:
            with launcher.start(QUICK) as child:
                found[name] = {title: stdout(child, source) for title, source in attempts.items()}
        launcher.close()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
