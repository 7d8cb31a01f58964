"""The drive of a free run: differences of data and clock."""

from __future__ import annotations

import torch

from weft.families.warp.cell.drive import free_drive, held_front


def test_the_drive_is_zero_up_to_and_with_the_first_step() -> None:
    x = held_front(torch.randn(2, 5, 1), torch.tensor([5, 2]))
    dclock = torch.tensor([0, 0.25, 0.25, 0.25, 0.25]).unsqueeze(1)
    drive = free_drive(x, dclock, torch.tensor([5, 2]))
    assert not drive[0, 0].any() and not drive[1, :4].any()
    torch.testing.assert_close(drive[0, 1:, 0], torch.diff(x[0, :, 0]), rtol=1e-6, atol=1e-6)
    assert (drive[0, 1:, 1] == 0.25).all() and drive[1, 4, 1] == 0.25
