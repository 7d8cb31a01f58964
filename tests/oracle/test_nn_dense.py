"""Dense layers and products against torch's own: values, gradients, strides, fallback, FLOPs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from weft.nn import dense, onednn
from weft.nn.dense import Dense, linear, product, quiet

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
Dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE))


def _random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def _agree(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Values and gradients agree, relative to the largest entry."""
    pairs = [(ours, theirs)]
    pairs += zip(
        *(torch.autograd.grad(out.sin().sum(), inputs) for out in (ours, theirs)), strict=True
    )
    for a, b in pairs:
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a, b, rtol=0, atol=10 * TOLERANCE[b.dtype] * scale)


@Dtypes
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (4,)])
def test_dense_equals_linear(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = Dense(4, 5, bias=bias, dtype=dtype)
    x = _random(*shape, dtype=dtype)
    _agree(layer(x), F.linear(x, layer.weight, layer.bias), [x, *layer.parameters()])


@Dtypes
def test_the_gradient_of_few_inputs_is_made_on_its_side_and_lies_as_the_weight(
    dtype: torch.dtype,
) -> None:
    torch.manual_seed(0)
    x, weight = _random(6, 2, dtype=dtype), _random(dense._NARROW + 1, 2, dtype=dtype)
    _agree(linear(x, weight), F.linear(x, weight), [x, weight])
    linear(x, weight).sum().backward()
    assert weight.grad is not None and weight.grad.is_contiguous()


@Dtypes
@pytest.mark.parametrize(("rows", "width"), [(0, 4), (3, 0)])
def test_linear_takes_empty_inputs(rows: int, width: int, dtype: torch.dtype) -> None:
    x, weight = torch.randn(rows, width, dtype=dtype), _random(5, width, dtype=dtype)
    bias = _random(5, dtype=dtype)
    out = linear(x, weight, bias)
    torch.testing.assert_close(out, F.linear(x, weight, bias))
    torch.testing.assert_close(product(x, weight, bias), out)
    of_weight, of_bias = torch.autograd.grad(out.sum(), (weight, bias))
    torch.testing.assert_close(of_weight, torch.zeros_like(weight))
    torch.testing.assert_close(of_bias, torch.full_like(bias, rows))


@Dtypes
def test_linear_takes_slices_and_transposes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    whole, x = _random(6, 9, dtype=dtype), _random(4, 7, dtype=dtype)
    slices = [
        (x[:, 2:6], whole[:, 3:7]),
        (x.t()[2:], whole[:, ::3][:, :1].expand(-1, 4)),
        (x[::2, :6], whole.t()[:, :]),
        (x[:, :6].unflatten(1, (2, 3)), whole[::2, :3]),
    ]
    for a, b in slices:
        _agree(linear(a, b), F.linear(a, b), [x, whole])


@Dtypes
def test_without_onednn_all_stays_the_same(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    x, weight, bias = (_random(*shape, dtype=dtype) for shape in ((3, 4), (5, 4), (5,)))
    expected = F.linear(x, weight, bias)
    monkeypatch.setattr(onednn, "_PRESENT", False)
    _agree(linear(x, weight, bias), expected, [x, weight, bias])


def test_linear_passes_gradcheck() -> None:
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(linear, (_random(3, 4), _random(2, 4), _random(2)))
    assert torch.autograd.gradcheck(linear, (_random(2, 3, 4), _random(5, 4)))


def test_linear_computes_no_gradient_of_a_frozen_weight() -> None:
    x, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4)
    linear(x, weight).sum().backward()
    assert weight.grad is None and x.grad is not None


def test_an_output_that_is_known_is_passed_on_with_its_gradients() -> None:
    torch.manual_seed(0)
    x, weight, bias = _random(2, 3, 4), _random(5, 4), _random(5)
    with torch.no_grad():
        known = F.linear(x, weight, bias) + 1
    out = linear(x, weight, bias, known=known)
    assert torch.equal(out, known)
    shifted = F.linear(x, weight, bias) + 1
    _agree(out, shifted, [x, weight, bias])


def test_a_gradient_of_zeros_stops_and_leaves_zeros() -> None:
    x, weight, bias = _random(3, 4), _random(5, 4), _random(5)
    (quiet(linear(x, weight, bias)) * 0).sum().backward()
    assert x.grad is None
    assert torch.equal(weight.grad, torch.zeros(5, 4)) and torch.equal(bias.grad, torch.zeros(5))
    (quiet(linear(x, weight, bias)) * 2).sum().backward()
    assert x.grad is not None and torch.equal(bias.grad, torch.full((5,), 6.0).double())


def test_under_autocast_the_layer_is_torchs() -> None:
    torch.manual_seed(0)
    x, weight, bias = (_random(*s, dtype=torch.float32) for s in ((3, 4), (5, 4), (5,)))
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = linear(x, weight, bias), F.linear(x, weight, bias)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, theirs)


def test_flops_of_a_product_are_counted() -> None:
    x, weight = (_random(*shape, dtype=torch.float32) for shape in ((3, 4), (5, 4)))
    with FlopCounterMode(display=False) as counter:
        linear(x, weight).sum().backward()
    assert counter.get_total_flops() == 3 * (2 * 3 * 4 * 5)


@pytest.mark.parametrize("sizes", [(7, 5, 3), (40, 17, 33), (300, 326, 64)])
def test_products_of_transposes_keep_the_digits_of_float32(sizes: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    rows, inner, columns = sizes
    x, weight = torch.randn(inner, rows).t(), torch.randn(columns, inner)
    for other in (weight, weight.t().contiguous().t()):
        exact = x.double() @ other.double().t()
        most = 1e-6 * (x.double().abs() @ other.double().abs().t())
        assert ((product(x, other) - exact).abs() <= most).all()
