"""Blocks of convolution, ReLU and batch normalisation as one function, against their layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weft.families.jepa.nets.conv import Convolution, PatchedConv
from weft.families.jepa.nets.trunk import trunk
from weft.nn.layout import channels_last


def _net(*after: nn.Module, momentum: float = 0.1, tracked: bool = True) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for conv in (
        PatchedConv(2, 3, 5, stride=2, padding=2),
        Convolution(3, 4, 3, padding=1),
        Convolution(4, 3, 3, stride=(2, 1), padding=(1, 2)),
    ):
        norm = nn.BatchNorm2d(conv.out_channels, momentum=momentum, track_running_stats=tracked)
        nn.init.uniform_(norm.weight, -1, 1)
        nn.init.normal_(norm.bias)
        layers += [conv, nn.ReLU(), norm]
    return channels_last(nn.Sequential(*layers, *after).double())


def _image(size: int = 12, count: int = 3) -> Tensor:
    torch.manual_seed(1)
    image = torch.randn(count, 2, size, size, dtype=torch.float64)
    return image.contiguous(memory_format=torch.channels_last)


def _found(net: nn.Sequential, image: Tensor, joined: bool) -> list[Tensor | None]:
    x = image.clone().requires_grad_()
    out, rest = trunk(net, x) if joined else (x, net)
    assert joined != any(isinstance(layer, nn.BatchNorm2d) for layer in rest)
    out = rest(out)
    slope = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    # In the order of memory, as the gradient of what flattens pixels last is.
    out.backward(slope.contiguous(memory_format=torch.channels_last))
    return [out, x.grad, *(p.grad for p in net.parameters()), *net.buffers()]


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(
    "after", [(), (nn.AvgPool2d(2),), (nn.AvgPool2d(2), nn.Tanh())], ids=["map", "pool", "more"]
)
@pytest.mark.parametrize("count", [3, 200])
def test_values_gradients_and_statistics_are_those_of_the_layers(
    count: int, after: tuple[nn.Module, ...], tracked: bool
) -> None:
    pairs = zip(
        *(
            _found(_net(*after, tracked=tracked), _image(count=count), joined)
            for joined in (True, False)
        ),
        strict=True,
    )
    for ours, layers in pairs:
        torch.testing.assert_close(ours, layers, rtol=1e-10, atol=1e-10)


def test_gradients_can_be_asked_for_again() -> None:
    net, x = _net(nn.AvgPool2d(2)), _image()
    out = trunk(net, x)[0].square().sum()
    first, again = (
        torch.autograd.grad(out, list(net.parameters()), retain_graph=True) for _ in "12"
    )
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_gradient_of_the_output_is_left_as_it_is() -> None:
    net = _net()
    out, _ = trunk(net, _image())
    slope = torch.randn_like(out)
    before = slope.clone()
    out.backward(slope)
    torch.testing.assert_close(slope, before, rtol=0, atol=0)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(3, stride=2), nn.AvgPool2d(2, padding=1)])
def test_pools_that_overlap_or_are_padded_are_left_to_their_layer(pool: nn.Module) -> None:
    net, x = _net(pool), _image()
    out, rest = trunk(net, x)
    assert list(rest) == [pool]
    torch.testing.assert_close(rest(out), _net(pool)(x))


def test_nothing_is_joined_in_evaluation_autocast_or_other_memory() -> None:
    x = _image()
    plain = _net().to(memory_format=torch.contiguous_format)
    for net in (_net().eval(), plain, _net()[:3], nn.Sequential()):
        assert trunk(net, x) == (x, net)
    net = _net().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert trunk(net, x.float())[1] is net


def test_a_norm_in_evaluation_ends_the_blocks() -> None:
    net, x = _net(), _image()
    net[8].eval()
    out, rest = trunk(net, x)
    assert list(rest) == list(net[6:])
    again = _net()
    again[8].eval()
    torch.testing.assert_close(rest(out), again(x))
