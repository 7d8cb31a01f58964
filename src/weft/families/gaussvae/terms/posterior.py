"""The posterior of the latents: samples, divergence from the prior, and bounds on both."""

# B batch, L latents

from __future__ import annotations

import math

import torch
from torch import Tensor

from weft.families.gaussvae.options.sections import BetaConfig, KlConfig


def sampled(mean: Tensor, log_var: Tensor, epsilon: Tensor) -> Tensor:
    """z = mean + exp(log_var / 2) epsilon, all (B, L)."""
    return mean + torch.exp(log_var / 2) * epsilon


def bounded(log_var: Tensor, config: KlConfig) -> Tensor:
    """Log variances within the limit, and low enough for the least KL of each latent.

    A latent whose variance is at most s^2 < 1 costs at least (s^2 - 1 - log s^2) / 2 nats
    (Razavi et al. 2019); s^2 is chosen so that this is the floor.
    """
    limit = math.inf if config.log_var_limit is None else config.log_var_limit
    top = min(limit, highest(config.floor)) if config.floor > 0 else limit
    return log_var.clamp(-limit, top) if math.isfinite(top) else log_var


def highest(floor: float) -> float:
    """The log variance v <= 0 with (e^v - 1 - v) / 2 = floor, by bisection to 1e-12."""
    low, high = -2 * floor - 2.0, 0.0
    for _ in range(60):
        middle = (low + high) / 2
        if (math.exp(middle) - 1 - middle) / 2 > floor:
            low = middle
        else:
            high = middle
    return low


def divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL from the posterior to the standard normal, nats of each latent of each item.

    -(1 + v - m^2 - e^v) / 2, v the log variance; (B, L) in and out.
    """
    return -0.5 * (1 + log_var - mean.square() - log_var.exp())


def active(means: Tensor) -> float:
    """How many latents are in use: those whose means, (M, L), vary over items by over 0.01."""
    return float((means.var(0, unbiased=False) > 0.01).sum())


def kl_term(nats: Tensor, config: KlConfig, progress: float) -> Tensor:
    """The KL term of the loss, before beta.

    Args:
        nats: of each latent of each item, (B, L).
        config: reduction, free bits, capacity.
        progress: share of training that is done, for the capacity.
    Returns: a scalar: the mean over batch and latents, or the sum over latents of the batch's mean.
    """
    latents = nats.mean(0)
    if config.free_bits > 0:
        latents = latents.clamp(min=config.free_bits)
    term = latents.mean() if config.reduction == "mean" else latents.sum()
    if config.capacity is None:
        return term
    target = config.capacity * min(1.0, progress / config.capacity_share)
    if config.reduction == "mean":
        target /= nats.shape[1]
    return (term - target).abs()


def beta_at(config: BetaConfig, epoch: int) -> float:
    """max min(1, (e + 1) / warmup), e counted from 0 and from the start of each cycle."""
    epoch = epoch % config.cycle if config.cycle else epoch
    return config.max * min(1.0, (epoch + 1) / config.warmup) if config.warmup else config.max
