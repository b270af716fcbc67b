"""`python -m benchmarks.accuracy`: see `benchmarks.accuracy.command`.

The command stands in a module of its own: processes that are spawned import it by its name, and not this one.
"""

import sys

from benchmarks.accuracy.command import main

if __name__ == "__main__":
    sys.exit(main())
