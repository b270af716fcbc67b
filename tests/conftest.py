"""What holds for all tests: nothing they run is recorded as the progress of whoever runs them."""

from __future__ import annotations

import pytest

from coursekit.records import FOLDER


@pytest.fixture(scope="session", autouse=True)
def progress_of_nobody(tmp_path_factory):
    """Kernels and commands that a test starts inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(tmp_path_factory.mktemp("progress")))
        yield
