"""Decoders of many roots: outputs and gradients by hand equal autograd's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.families.warp.cell.activation import ACTIVATIONS
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.forms.decode import Decoder, GraphDecoder, MlpDecoder, decoder

TOLERANCE = {"rtol": 1e-12, "atol": 1e-13}


def compare(found: Decoder, root: MlpRoot, count: int = 3) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    theta, z = draw(count, root.size).requires_grad_(), draw(count, root.inputs).requires_grad_()
    error = draw(count, root.outputs)
    expected = root(theta, z)
    by_theta, by_z = torch.autograd.grad(expected, (theta, z), error)
    with torch.no_grad():
        tape = found.tape(theta, count)
        parts = found.parts(theta)
        raw = found.forward(parts, z, tape)
        torch.testing.assert_close(found.forward(parts, z, ()), raw, **TOLERANCE)
        out = torch.full_like(theta, torch.nan)
        back = found.backward(parts, z, tape, error, found.parts(out), wants_z=True)
        again = torch.full_like(theta, torch.nan)
        by_parts = found.parts(again)
        assert found.backward(parts, z, tape, error, by_parts, wants_z=False) is None
        onto = theta.clone()
        found.backward(parts, z, tape, error, found.parts(onto), wants_z=False, adds=True)
    assert back is not None
    torch.testing.assert_close(raw, expected.detach(), **TOLERANCE)
    torch.testing.assert_close(out, by_theta, **TOLERANCE)
    torch.testing.assert_close(again, by_theta, **TOLERANCE)
    torch.testing.assert_close(onto, theta.detach() + by_theta, **TOLERANCE)
    torch.testing.assert_close(back, by_z, **TOLERANCE)


@pytest.mark.parametrize("nonlinearity", sorted(ACTIVATIONS))
def test_the_gradient_by_hand_equals_autograd_for_each_activation(nonlinearity: str) -> None:
    root = MlpRoot(1, 2, width=5, depth=2, nonlinearity=nonlinearity)
    compare(MlpDecoder(root), root)


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("inputs", [1, 4])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_gradient_by_hand_equals_autograd_for_each_shape(
    depth: int, inputs: int, outputs: int
) -> None:
    root = MlpRoot(inputs, outputs, width=4, depth=depth, nonlinearity="tanh")
    compare(MlpDecoder(root), root)


def test_a_width_of_one_and_a_single_row_are_no_special_case() -> None:
    root = MlpRoot(2, 1, width=1, depth=2, nonlinearity="sin")
    compare(MlpDecoder(root), root, count=1)


def test_a_root_without_a_hand_written_gradient_goes_through_autograd() -> None:
    root = MlpRoot(2, 2, width=3, depth=1, nonlinearity="tanh")
    compare(GraphDecoder(root), root)


def test_gradients_by_what_a_root_ignores_are_zero() -> None:
    class Constant:
        size, inputs, outputs = 3, 1, 2

        def fresh(self, generator: torch.Generator | None = None) -> Tensor:
            return torch.zeros(3)

        def __call__(self, theta: Tensor, z: Tensor) -> Tensor:
            return z.expand(-1, 2) * 1.0

    found, z = decoder(Constant()), torch.ones(4, 1)
    theta, out = torch.ones(4, 3), torch.ones(4, 3)
    back = found.backward((theta,), z, (), torch.ones(4, 2), (out,), wants_z=True)
    assert back is not None
    assert torch.equal(out, torch.zeros(4, 3))
    assert torch.equal(back, torch.full((4, 1), 2.0))
