"""The network computes what the formula says."""

from __future__ import annotations

import pytest
import torch

from weft.template.newcomer.model import Curve
from weft.template.newcomer.objective import squared_error
from weft.template.newcomer.reference import heights
from weft.template.newcomer.reference import squared_error as literal_error

X = [-1.0, -0.3, 0.0, 0.7]
Y = [0.5, -2.0, 0.0, 1.0]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_network_and_its_loss_are_those_of_the_formula(activation: str) -> None:
    torch.manual_seed(0)
    model = Curve(5, activation).double()
    x, y = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (X, Y))
    predicted = model(x)
    expected = heights(model, X, activation)
    torch.testing.assert_close(predicted.flatten().tolist(), expected, rtol=1e-10, atol=0)
    loss = squared_error(predicted, y)
    assert loss.item() == pytest.approx(literal_error(expected, Y), rel=1e-10)
