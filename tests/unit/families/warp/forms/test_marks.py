"""One bit a number and step, and the gradient that passes where there is none."""

from __future__ import annotations

import pytest
import torch

from weft.families.warp.forms.marks import Marks
from weft.families.warp.forms.sequential import Block, Motion
from weft.families.warp.transition.build import build_transition


def test_what_is_marked_at_more_steps_than_a_byte_has_bits_is_read_again() -> None:
    like = torch.empty(3, 5)
    marks = Marks(11, like)
    for _ in range(2):  # the second time over what the first one left
        written = torch.rand(11, 3, 5) < 0.5
        for i, where in enumerate(written):
            marks.write(i, where)
        assert all(
            torch.equal(marks.read(i, torch.float64), where.double())
            for i, where in enumerate(written)
        )
    assert marks.bytes.nbytes == 2 * like.numel()


def test_what_the_clip_holds_back_passes_no_gradient_be_it_infinite() -> None:
    motion = Motion(build_transition("full", 4), limit=0.5, second_order=False, begun=None)
    start = torch.tensor([[2.0, 0.5, -2.0, 0.1]])
    block = Block(motion, motion.rows(torch.zeros(4, 1)), 1, start, keeps=True)
    block.theta[0] = start
    with torch.no_grad():
        block.step(0, 0)
    assert block.theta[1].tolist() == [[0.5, 0.5, -0.5, pytest.approx(0.1)]]
    passed = torch.empty(1, 4)
    block.held(0, torch.tensor([[torch.inf, 1.0, torch.nan, 3.0]]), out=passed)
    assert passed.tolist() == [[0.0, 1.0, 0.0, 3.0]]
