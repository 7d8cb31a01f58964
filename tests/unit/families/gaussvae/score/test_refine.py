"""The search for a picture's latent through the decoder."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.gaussvae.score.refine import refine
from weft.families.gaussvae.terms.log_mse import log_mse

GENERATOR = torch.Generator().manual_seed(0)
MAP = torch.randn(5, 3 * 4 * 4, generator=GENERATOR) / 5
TRUE = torch.randn(6, 5, generator=GENERATOR)


def decode(z: Tensor) -> Tensor:
    return torch.tanh(z @ MAP).view(-1, 3, 4, 4)


IMAGES = decode(TRUE)
START = TRUE + 0.3 * torch.randn(6, 5, generator=GENERATOR)


def test_every_picture_comes_nearer_and_more_steps_are_nearer_still() -> None:
    def error(steps: int) -> Tensor:
        return log_mse(decode(refine(decode, IMAGES, START, steps=steps)), IMAGES)

    assert bool((error(10) < error(0)).all())
    assert float(error(40).mean()) < float(error(10).mean())


def test_a_picture_s_latent_does_not_depend_on_those_beside_it() -> None:
    together = refine(decode, IMAGES, START, steps=10)
    alone = [refine(decode, IMAGES[i : i + 1], START[i : i + 1], steps=10) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-6)


def test_it_is_adam_with_a_rate_that_falls_to_zero() -> None:
    z = START.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=0.1, betas=(0.8, 0.95))
    for step in range(7):
        adam.param_groups[0]["lr"] = 0.1 * (1 - step / 7)
        adam.zero_grad()
        torch.autograd.backward(log_mse(decode(z), IMAGES).sum())
        adam.step()
    torch.testing.assert_close(refine(decode, IMAGES, START, steps=7), z.detach())


def test_it_repeats_leaves_its_start_alone_and_works_without_gradients() -> None:
    before = START.clone()
    with torch.no_grad():
        first = refine(decode, IMAGES, START, steps=3)
    assert torch.equal(first, refine(decode, IMAGES, START, steps=3))
    assert torch.equal(START, before)
    assert torch.equal(refine(decode, IMAGES, START, steps=0), START)
    assert not first.requires_grad


def test_parameters_of_the_decoder_get_no_gradient_from_the_search() -> None:
    weight = MAP.clone().requires_grad_()
    refine(lambda z: (z @ weight).view(-1, 3, 4, 4), IMAGES, START, steps=2)
    assert weight.grad is None
