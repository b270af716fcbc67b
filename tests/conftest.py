"""What all tests share: nothing they run is recorded as the progress of whoever runs them; double precision on request."""

from __future__ import annotations

import pytest

from coursekit.records import FOLDER


@pytest.fixture(scope="session", autouse=True)
def progress_of_nobody(tmp_path_factory):
    """Kernels and commands that a test starts inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(tmp_path_factory.mktemp("progress")))
        yield


@pytest.fixture
def float64():
    """Double precision by default, and one seed."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)
