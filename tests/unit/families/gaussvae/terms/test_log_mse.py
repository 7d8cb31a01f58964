"""The loss that counts decibels."""

from __future__ import annotations

import math

import torch

from weft.families.gaussvae.splats.quality import psnr
from weft.families.gaussvae.terms.log_mse import log_mse


def test_ten_decibels_are_the_logarithm_of_ten_up_to_forty_decibels() -> None:
    wanted = torch.zeros(3, 3, 4, 4)
    found = wanted + torch.tensor([0.3, 0.1, 0.03]).view(-1, 1, 1, 1)
    loss, score = log_mse(found, wanted), psnr(found, wanted)
    torch.testing.assert_close(loss, -score * math.log(10) / 10, rtol=0, atol=0.12)
    torch.testing.assert_close(log_mse(wanted, wanted), torch.full((3,), math.log(1e-4)))


def test_a_picture_half_as_wrong_counts_as_much_wherever_it_stands() -> None:
    wanted = torch.zeros(4, 3, 4, 4)
    found = torch.tensor([0.8, 0.4, 0.2, 0.1]).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    steps = -log_mse(found, wanted).diff()
    assert float(steps.max() - steps.min()) < 0.01
