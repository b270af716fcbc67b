"""All attacks."""

from __future__ import annotations

from tests.attacks.bank_expressions import EXPRESSIONS
from tests.attacks.bank_files import FILES
from tests.attacks.bank_forgeries import FORGERIES
from tests.attacks.bank_outputs import OUTPUTS
from tests.attacks.bank_processes import PROCESSES

__all__ = ["ATTACKS", "EVERYWHERE"]

ATTACKS = [*FILES, *PROCESSES, *FORGERIES, *EXPRESSIONS, *OUTPUTS]
# Tried with every launcher, `none` among them: these do no harm to the machine.
EVERYWHERE = (
    "skip-execution on every cell",
    "os._exit in a cell",
    "endless loop deaf to signals",
    "torch.allclose is always true",
    "protocol: a frame of 4 GB",
    "protocol: partial points, then a time limit",
    "memorised in memory",
    "displays that are code",
)
