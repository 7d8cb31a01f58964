"""Fast loops and convolutions against torch's own: values, gradients, bf16."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.jepa.nets import conv
from weft.families.jepa.nets.conv import PatchedConv, patches
from weft.families.jepa.nets.loop import Stepped
from weft.families.jepa.nets.predictor import Gru
from weft.families.jepa.nets.upsampling import UpsampledConv, UpsampledResize
from weft.families.jepa.reference import frame_by_frame

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
Dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def _agree(
    fast: Callable[[], Tensor], slow: Callable[[], Tensor], inputs: list[Tensor], tolerance: float
) -> None:
    """Values and gradients agree, relative to the largest entry."""
    a, b = fast(), slow()
    weight = torch.linspace(-1, 1, a.numel(), dtype=a.dtype).view(a.shape)
    pairs = [(a, b)]
    pairs += zip(
        torch.autograd.grad((a * weight).sum(), inputs),
        torch.autograd.grad((b * weight).sum(), inputs),
        strict=True,
    )
    for ours, theirs in pairs:
        scale = max(1.0, theirs.abs().max().item())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=10 * tolerance * scale)


def _loop(layer: Callable[[Tensor], Tensor], x: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        x = x + layer(x).tanh()
    return x


@Dtypes
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("spare", [0, 2])
def test_one_product_gives_the_weight_gradient_of_a_loop(
    spare: int, bias: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x, weight = _random(3, 4, dtype=dtype), _random(4, 4, dtype=dtype)
    offset = _random(4, dtype=dtype) if bias else None
    inputs = [x, weight] + ([offset] if offset is not None else [])
    _agree(
        lambda: _loop(Stepped(weight, offset, steps=5 + spare, rows=3), x, 5),
        lambda: _loop(lambda y: F.linear(y, weight, offset), x, 5),
        inputs,
        TOLERANCE[dtype],
    )


def test_a_loop_without_gradients_keeps_nothing() -> None:
    layer = Stepped(_random(4, 4), None, steps=2, rows=3)
    frozen = Stepped(torch.randn(4, 4), None, steps=2, rows=3)
    with torch.no_grad():
        quiet = Stepped(_random(4, 4), None, steps=2, rows=3)
        quiet(torch.randn(3, 4, dtype=torch.float64))
    frozen(torch.randn(3, 4))
    layer(torch.randn(3, 4, dtype=torch.float64))
    assert (len(layer.inputs), len(frozen.inputs), len(quiet.inputs)) == (1, 0, 0)


@Dtypes
@pytest.mark.parametrize("layers", [1, 3])
def test_forward_model_equals_torchs_gru_and_its_cell(layers: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Gru(6, layers).to(dtype)
    start, action = _random(1, 3, 6, dtype=dtype), _random(4, 3, 2, dtype=dtype)
    inputs = [start, action, *model.parameters()]

    def by_torch() -> Tensor:
        return model.gru(action, start.expand(layers, -1, -1).contiguous())[0]

    def by_cell() -> Tensor:
        states, codes = [start[0]] * layers, []
        for a in action:
            x = a
            for layer, weights in enumerate(model.gru.all_weights):
                states[layer] = x = torch.gru_cell(x, states[layer], *weights)
            codes.append(x)
        return torch.stack(codes)

    _agree(lambda: model(start, action), by_torch, inputs, TOLERANCE[dtype])
    _agree(lambda: model(start, action), by_cell, inputs, TOLERANCE[dtype])


def test_forward_model_in_bf16_stays_near_float32() -> None:
    torch.manual_seed(0)
    model = Gru(32, 1)
    start, action = torch.randn(1, 8, 32), torch.randn(16, 8, 2)
    exact = model(start, action)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(start, action)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0, atol=2e-2)
    gradients = [
        torch.autograd.grad(out.square().sum(), model.gru.weight_hh_l0)[0] for out in (rough, exact)
    ]
    scale = gradients[1].abs().max().item()
    torch.testing.assert_close(*gradients, rtol=0, atol=3e-2 * scale)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(5, 2, 2), (4, 2, 0), (1, 2, 0)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("by_patches", [False, True])
def test_gradients_by_products_equal_the_convolutions(
    by_patches: bool, bias: bool, kernel: int, stride: int, padding: int
) -> None:
    torch.manual_seed(0)
    x, weight = _random(2, 3, 9, 8), _random(4, 3, kernel, kernel)
    offset = _random(4) if bias else None
    inputs = [x, weight] + ([offset] if offset is not None else [])
    geometry = (stride, stride), (padding, padding)
    _agree(
        lambda: conv._Convolution.apply(x, weight, offset, geometry, by_patches),
        lambda: F.conv2d(x, weight, offset, *geometry),
        inputs,
        1e-10,
    )
    seen = patches(x, (kernel, kernel), *geometry)
    product = seen @ weight.permute(0, 2, 3, 1).flatten(1).t()
    plain = F.conv2d(x, weight, None, *geometry).permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(product, plain)


def test_shrinking_convolution_in_bf16_has_the_gradients_of_float32() -> None:
    torch.manual_seed(0)
    layer = PatchedConv(4, 6, 5, stride=2, padding=2).to(memory_format=torch.channels_last)
    x = torch.randn(3, 4, 10, 10, requires_grad=True)
    gradients = []
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = layer(x)
        assert out.dtype == (torch.bfloat16 if bf16 else torch.float32)
        gradients.append(torch.autograd.grad(out.float().tanh().sum(), [x, *layer.parameters()]))
    for exact, rough in zip(*gradients, strict=True):
        scale = exact.abs().max().item()
        torch.testing.assert_close(rough, exact, rtol=0, atol=2e-2 * scale)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_boxes_after_the_convolution_equal_upsampling_before_it(scale: int) -> None:
    torch.manual_seed(0)
    layer = UpsampledConv(3, 2, scale).double()
    x = _random(2, 3, 4, 5)
    _agree(
        lambda: layer(x), lambda: frame_by_frame.plain(layer, x), [x, *layer.parameters()], 1e-10
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("before", "after"), [(6, 10), (18, 28), (4, 30)])
def test_a_matrix_along_each_axis_equals_convolving_and_resizing(
    before: int, after: int, channels: int
) -> None:
    torch.manual_seed(0)
    layer = UpsampledResize(3, channels, scale=3, before=before, after=after).double()
    x = _random(2, 3, before, before)
    # The matrix is kept in float32.
    _agree(lambda: layer(x), lambda: frame_by_frame.plain(layer, x), [x, *layer.parameters()], 1e-7)
