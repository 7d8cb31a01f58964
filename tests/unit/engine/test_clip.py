"""Clipping equals torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.config.sections import NoClip, NormClip, ValueClip
from weft.engine.clip import NoClipping, NormClipping, ValueClipping


def _gradients() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(n, 3)) for n in (1, 4)]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return parameters


@pytest.mark.parametrize("limit", [0.1, 100.0])
def test_norm_clipping_equals_torch(limit: float) -> None:
    ours, theirs = _gradients(), _gradients()
    norms = NormClipping(NormClip(max_norm=limit))([p.grad for p in ours if p.grad is not None])
    expected = nn.utils.clip_grad_norm_(theirs, limit)
    torch.testing.assert_close(norms.joint, expected)
    torch.testing.assert_close([p.grad for p in ours], [p.grad for p in theirs])


def test_value_clipping_equals_torch() -> None:
    ours, theirs = _gradients(), _gradients()
    ValueClipping(ValueClip(limit=0.3))([p.grad for p in ours if p.grad is not None])
    nn.utils.clip_grad_value_(theirs, 0.3)
    torch.testing.assert_close([p.grad for p in ours], [p.grad for p in theirs])


def test_no_clipping_only_measures() -> None:
    ours = _gradients()
    before = [p.grad.clone() for p in ours if p.grad is not None]
    norms = NoClipping(NoClip())([p.grad for p in ours if p.grad is not None])
    torch.testing.assert_close(norms.joint, torch.cat([g.flatten() for g in before]).norm())
    torch.testing.assert_close([p.grad for p in ours], before)
