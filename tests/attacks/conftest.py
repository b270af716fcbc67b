"""The launchers that work on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.arena import Arena, open_arena


@pytest.fixture(scope="session")
def arena() -> Iterator[Arena]:
    """With the best launcher that isolates here."""
    reasons = []
    for name in ("forked", "bubblewrap"):
        try:
            with open_arena(name) as made:
                yield made
                return
        except LookupError as error:
            reasons.append(f"{name}: {error}")
    pytest.skip("; ".join(reasons))


@pytest.fixture(scope="module", params=["bubblewrap", "none"])
def other_arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """With each other launcher."""
    try:
        with open_arena(request.param) as made:
            yield made
    except LookupError as error:
        pytest.skip(str(error))
