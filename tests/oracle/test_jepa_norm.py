"""ReLU and batch normalisation in one operation against torch's two, frame by frame."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from weft.families.jepa.nets.lines import LINES
from weft.families.jepa.nets.norm import rectified_norm, run


def _one_by_one(x: Tensor, norm: nn.BatchNorm2d, frames: int) -> Tensor:
    return torch.cat([norm(frame.relu()) for frame in x.chunk(frames)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("frames", [1, 4])
def test_values_gradients_and_statistics_are_those_of_frames_normalised_one_by_one(
    frames: int, tracked: bool, memory: torch.memory_format, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    wide = torch.promote_types(dtype, torch.float32)
    found = []
    x, grad = (torch.randn(8, 3, 5, 4).to(dtype).contiguous(memory_format=memory) for _ in "xg")
    weight = torch.rand(3, dtype=wide)
    for normalise in (rectified_norm, _one_by_one):
        norm, given = nn.BatchNorm2d(3, dtype=wide), x.clone().requires_grad_()
        norm.track_running_stats = tracked
        with torch.no_grad():
            norm.weight.copy_(weight)
        out = normalise(given, norm, frames)
        out.backward(grad)
        buffers = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        found.append((out, given.grad, norm.weight.grad, norm.bias.grad, *buffers))
    for ours, torchs in zip(*found, strict=True):
        # Only the order differs in which the frames' gradients are added up.
        torch.testing.assert_close(ours, torchs, rtol=1e-5, atol=1e-5)
    assert found[0][0].is_contiguous(memory_format=memory)


@pytest.mark.parametrize("frames", [1, 2])
def test_frames_of_more_lines_than_are_added_up_together_are_those_of_float64(frames: int) -> None:
    """In parts of which the last is shorter, and far from zero."""
    torch.manual_seed(0)
    x, grad = (torch.randn(440, 3, 5, 4) for _ in "xg")
    assert 440 // frames * 5 > LINES and 440 // frames * 5 % LINES
    found = []
    for normalise, dtype in ((rectified_norm, torch.float32), (_one_by_one, torch.float64)):
        norm, given = nn.BatchNorm2d(3, dtype=dtype), (x + 9).to(dtype).requires_grad_()
        laid = given.clone(memory_format=torch.channels_last)
        normalise(laid, norm, frames).backward(grad.to(dtype))
        of = (given.grad, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var)
        found.append([each.double() for each in of if each is not None])
    for ours, exact in zip(*found, strict=True):
        assert float((ours - exact).norm()) <= 3e-6 * float(exact.norm())


def test_evaluation_uses_the_running_statistics_for_all_frames() -> None:
    norm, x = nn.BatchNorm2d(3), torch.randn(8, 3, 5, 4)
    rectified_norm(x, norm, 2)
    norm.eval()
    torch.testing.assert_close(rectified_norm(x, norm, 2), norm(x.relu()), rtol=0, atol=0)


def test_only_a_norm_that_follows_a_relu_is_joined_to_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.ReLU(), nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.ReLU()
    )
    x = torch.randn(4, 3, 6, 6)
    torch.testing.assert_close(run(net, x), net(x), rtol=0, atol=0)
