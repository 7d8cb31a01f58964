"""The gradient that passes a clip, and none that does not."""

from __future__ import annotations

import pytest
import torch

from weft.families.warp.forms.passing import next_above, within
from weft.families.warp.forms.sequential import Block, Motion
from weft.families.warp.transition.build import build_transition


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("limit", [0.1, 0.5, 3.0])
def test_what_is_at_its_limit_is_within_and_the_next_number_is_not(
    limit: float, dtype: torch.dtype
) -> None:
    at = torch.full((1, 1), 9.0, dtype=dtype).clamp(-limit, limit)
    step = 2.0 ** -(7 if dtype == torch.bfloat16 else 22)
    above = at * (1 + step) if dtype != torch.float64 else at.nextafter(at + 1)
    x = torch.cat([at, -at, above, -above, at / 2], 1)
    assert (x[:, 2:4].abs() > at).all()
    passed = torch.empty_like(x)
    within(x, next_above(limit, dtype), torch.full_like(x, 7.0), out=passed)
    assert passed.tolist() == [[7.0, 7.0, 0.0, 0.0, 7.0]]


def test_what_the_clip_holds_back_passes_no_gradient_be_it_infinite() -> None:
    motion = Motion(build_transition("full", 4), limit=0.5, second_order=False, begun=None)
    start = torch.tensor([[2.0, 0.5, -2.0, 0.1]])
    block = Block(motion, motion.rows(torch.zeros(4, 1)), 1, start, drives=1)
    block.start(start)
    with torch.no_grad():
        block.step(0, 0)
    assert block.theta[1].tolist() == [[0.5, 0.5, -0.5, pytest.approx(0.1)]]
    passed = torch.empty(1, 4)
    block.held(0, torch.tensor([[torch.inf, 1.0, torch.nan, 3.0]]), out=passed)
    assert passed.tolist() == [[0.0, 1.0, 0.0, 3.0]]
