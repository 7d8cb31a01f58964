"""A batch's own statistics normalise it, and nothing of the model moves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.nn.norm import batch_statistics


def test_batch_statistics_are_used_and_leave_the_running_ones_alone() -> None:
    norm = nn.BatchNorm1d(3).eval()
    x = torch.randn(64, 3) * 5 + 7
    with batch_statistics(norm):
        inside = norm(x)
    torch.testing.assert_close(inside.mean(0), torch.zeros(3), rtol=0, atol=1e-5)
    assert not norm.training and norm.track_running_stats
    assert torch.equal(norm.running_mean, torch.zeros(3)) and norm.num_batches_tracked == 0
    assert norm(x).mean() > 6


def test_norms_get_their_mode_back_when_the_work_inside_fails() -> None:
    model = nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(1, track_running_stats=False).eval())
    with pytest.raises(ZeroDivisionError), batch_statistics(model):
        assert all(norm.training and not norm.track_running_stats for norm in model)
        _ = 1 / 0
    assert [(norm.training, norm.track_running_stats) for norm in model] == [
        (True, True), (False, False),
    ]  # fmt: skip
