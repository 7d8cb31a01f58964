"""What is watched of a network: its size, its weights, the growth of its recurrence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.families.warp.rnn import WeightSpaceRNN
from weft.families.warp.score.stability import (
    largest_weight,
    parameter_counts,
    spectral_radius,
    trajectory,
)


def test_diagnostics_say_how_large_and_how_far_from_stable() -> None:
    rnn = WeightSpaceRNN(2, time_as_channel=True)
    size = rnn.layers[0].root.size
    assert (size, spectral_radius(rnn)) == (1298, 1.0)
    assert parameter_counts(rnn) == {
        "root": 1298,
        "hypernet": 0,
        "transition": 1298 * 1298 + 1298 * 3,
        "other": 0,
        "total": 1298 + 1298 * 1298 + 1298 * 3,
    }
    with_phi = WeightSpaceRNN(
        2, width=4, depth=1, initial_layers=0, embedding=(3, 2, True), final=[1.0, 0.0, 1.0, 0.0]
    )
    counts = parameter_counts(with_phi)
    assert counts["hypernet"] == 4 * counts["root"]
    assert counts["other"] == 3 * 2 * 2 + 4
    assert largest_weight(torch.tensor([[1.0, -3.0]])) == 3


@pytest.mark.parametrize("feedback", [False, True])
def test_a_trajectory_ends_in_the_last_weights(feedback: bool) -> None:
    torch.manual_seed(0)
    rnn = WeightSpaceRNN(2, width=4, depth=1, transition="diag", drive_std=0.3).double()
    nn.init.normal_(rnn.layers[0].transition.E, std=0.1)
    x = torch.randn(3, 11, 2, dtype=torch.float64)
    inputs = {"force": torch.rand(3, 11)} if feedback else {}
    (states,) = trajectory(rnn, x, **inputs)
    assert states.shape == (3, 11, rnn.layers[0].root.size)
    torch.testing.assert_close(states[:, -1], rnn(x, **inputs)[1].theta, rtol=1e-10, atol=1e-10)
