"""One bit a number and step."""

from __future__ import annotations

import torch

from weft.families.warp.forms.marks import Marks


def test_what_is_marked_at_more_steps_than_a_byte_has_bits_is_read_again() -> None:
    like = torch.empty(3, 5)
    marks = Marks(11, like)
    for _ in range(2):  # the second time over what the first one left
        written = torch.rand(11, 3, 5) < 0.5
        for i, where in enumerate(written):
            marks.write(i, where)
        assert all(torch.equal(marks.read(i), where) for i, where in enumerate(written))
    assert marks.bytes.nbytes == 2 * like.numel()
