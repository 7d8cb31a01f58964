"""What tests against a reference share: arithmetic on one thread."""

from __future__ import annotations

import pytest


@pytest.fixture
def one_thread() -> None:
    """Sums have one order; the number of threads is put back after every test."""
    import torch

    torch.set_num_threads(1)
