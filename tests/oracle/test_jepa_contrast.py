"""Contrastive losses against torch's cross-entropy on explicit matrices."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from weft.families.jepa.reference import written_out
from weft.families.jepa.terms.contrast import infonce, nt_xent, within_infonce

FRAMES, BATCH, WIDTH = 4, 5, 7
Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def _pair(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, FRAMES, BATCH, WIDTH)
    h, e = torch.randn(shape, generator=generator, dtype=dtype)
    return h.requires_grad_(), e.requires_grad_()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 8.0])
def test_nt_xent_equals_cross_entropy_of_the_explicit_matrix_with_gradients(
    temperature: float, normalise: bool, dtype: torch.dtype, tolerance: float
) -> None:
    h, e = _pair(dtype)
    rows = []
    for t in range(FRAMES):
        z = torch.cat((h[t], e[t]))
        z = z / z.norm(dim=1, keepdim=True) if normalise else z
        for i in range(2 * BATCH):
            others = [j for j in range(2 * BATCH) if j != i]
            scores = torch.stack([z[i] @ z[j] for j in others]) / temperature
            partner = torch.tensor([others.index((i + BATCH) % (2 * BATCH))])
            rows.append(F.cross_entropy(scores[None], partner))
    explicit = torch.stack(rows).mean()
    fast = nt_xent(h, e, temperature, normalise=normalise)
    torch.testing.assert_close(fast, explicit, rtol=tolerance, atol=tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(fast, (h, e)), torch.autograd.grad(explicit, (h, e)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("normalise", [False, True])
def test_collapsed_codes_cost_the_log_of_the_number_of_others(normalise: bool) -> None:
    z = torch.ones(FRAMES, BATCH, WIDTH)
    assert nt_xent(z, z, 0.5, normalise=normalise).item() == pytest.approx(math.log(2 * BATCH - 1))


def test_partners_far_from_all_others_cost_nothing() -> None:
    z = torch.eye(BATCH).expand(FRAMES, -1, -1)
    assert nt_xent(z, z, 1e-2).item() < 1e-6


@pytest.mark.parametrize(
    ("form", "loop"),
    [(within_infonce, written_out.within_infonce), (infonce, written_out.infonce)],
)
def test_frames_are_told_apart_as_in_the_loop_with_gradients(form: Loss, loop: Loss) -> None:
    h, e = _pair()
    fast, slow = form(h, e, 0.1), loop(h, e, 0.1)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(
        torch.autograd.grad(fast, (h, e)), torch.autograd.grad(slow, (h, e)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("form", [within_infonce, infonce])
def test_codes_of_the_background_alone_cannot_tell_frames_of_a_sequence_apart(form: Loss) -> None:
    e = torch.eye(BATCH).expand(FRAMES, -1, -1)
    assert form(e, e, 0.02).item() == pytest.approx(math.log(FRAMES), rel=1e-5)
