"""Latents made better for their own pictures: a few steps of Adam through the decoder."""

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
    """Latents from which `decode` comes nearer to the pictures, at a price the encoder pays once.

    Adam on log(mse + 1e-4) of each picture, its rate falling linearly to 0. Every latent has
    moments of its own and losses are summed, so that no picture depends on the others beside it;
    nothing is drawn at random.

    Args:
        decode: latents (N, L) to pictures (N, C, H, W), differentiable.
        images: in [0, 1], (N, C, H, W).
        z: where the search begins, (N, L); not changed.
        steps: 0 gives `z` itself.
        lr: rate of the first step: latents have a variance of about 1.
    Returns: (N, L), without gradient.
    """
    first, second = BETAS
    z = z.detach().clone()
    moment, square = torch.zeros_like(z), torch.zeros_like(z)
    for step in range(steps):
        with torch.enable_grad():
            here = z.requires_grad_()
            loss = log_mse(decode(here), images).sum()
            # Not autograd.grad: who counts operations hooks every module, and it refuses hooks.
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
