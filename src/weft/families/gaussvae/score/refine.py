"""Refines latents for their pictures by a few steps of Adam through the decoder."""

# N pictures, L latents

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weft.families.gaussvae.terms.log_mse import log_mse

BETAS = (0.8, 0.95)
_TINY = 1e-8


def refine(
    decode: Callable[[Tensor], Tensor], images: Tensor, z: Tensor, *, steps: int, lr: float = 0.1
) -> Tensor:
    """Latents whose decoded pictures are nearer to `images`; only the encoder bears the cost.

    The loss is log(mse + 1e-4) of each picture, minimised by Adam with a rate that falls linearly
    to 0. Every latent has its own moments and losses are summed, so that pictures do not depend on
    each other. There are no random numbers.

    Args:
        decode: from latents (N, L) to pictures (N, C, H, W), differentiable.
        images: in [0, 1], (N, C, H, W).
        z: initial latents, (N, L); not changed.
        steps: number of steps; 0 returns `z` itself.
        lr: rate of the first step; latents have a variance of about 1.
    Returns: (N, L), without gradient.
    """
    first, second = BETAS
    z = z.detach().clone()
    moment, square = torch.zeros_like(z), torch.zeros_like(z)
    for step in range(steps):
        with torch.enable_grad():
            here = z.requires_grad_()
            loss = log_mse(decode(here), images).sum()
            # Not autograd.grad, which fails with the module hooks used for counting operations.
            torch.autograd.backward(loss, inputs=(here,))
        gradient = here.grad
        assert gradient is not None
        z = here.detach()
        moment = first * moment + (1 - first) * gradient
        square = second * square + (1 - second) * gradient.square()
        slope = moment / (1 - first ** (step + 1))
        scale = (square / (1 - second ** (step + 1))).sqrt() + _TINY
        z = z - lr * (1 - step / steps) * slope / scale
    return z
