"""`python -m tests.attacks`: run all attacks and print what each of them gained."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from tests.attacks.all import ATTACKS
from tests.attacks.arena import Fought, open_arena

COLUMNS = ("attack", "points forged", "escaped", "others affected", "tracebacks", "seconds", "as expected")


def row(fought: Fought) -> tuple[str, ...]:
    """One line of the table; `stolen` are points that others' code in the same notebook has lost."""
    affected = (*fought.others, *fought.stolen)
    return (
        fought.attack.name,
        f"{fought.forged:g}",
        "; ".join(fought.escaped) or "no",
        "; ".join(affected) or "no",
        str(fought.tracebacks),
        f"{fought.seconds:.1f}",
        "; ".join(fought.problems) or ("known limit" if fought.attack.limit else "yes"),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("--isolation", default="forked", choices=("forked", "bubblewrap", "none"))
    parser.add_argument("words", nargs="*", help="only attacks whose names have one of these in them")
    options = parser.parse_args()
    chosen = [a for a in ATTACKS if not options.words or any(w in a.name for w in options.words)]
    console, table, wrong = Console(), Table(*COLUMNS), 0
    with open_arena(options.isolation) as arena:
        for attack in chosen:
            fought = arena.fight(attack)
            wrong += bool(fought.trouble)
            table.add_row(*row(fought))
            print(".", end="", flush=True)
    console.print()
    console.print(table)
    console.print(f"{len(chosen)} attacks, {wrong} that did something")
    for attack in chosen:
        if attack.limit:
            console.print(f"known limit: {attack.name}: {attack.limit}", markup=False)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
