"""Every loss term frame by frame, with every matrix written out."""

# T frames, B batch, D code, N codes

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.data.source import Batch
from weft.families.jepa.config import Config
from weft.families.jepa.terms.registry import Setting
from weft.families.jepa.terms.rollout import Rollout
from weft.families.jepa.terms.sigreg import HIGHEST, random_directions
from weft.families.jepa.terms.spread import VARIANCE_FLOOR


def variance_hinge(z: Tensor) -> Tensor:
    """V of VICReg for codes (N, D)."""
    return F.relu(1 - torch.sqrt(z.var(dim=0) + VARIANCE_FLOOR)).mean()


def covariance(z: Tensor) -> Tensor:
    """Cv of VICReg for codes (N, D), from the D x D covariance with its diagonal taken out."""
    x = z - z.mean(dim=0)
    matrix = x.T @ x / (len(z) - 1)
    return (matrix - torch.diag(torch.diag(matrix))).pow(2).sum() / z.shape[1]


def nt_xent(h: Tensor, e: Tensor, temperature: float, *, normalise: bool = False) -> Tensor:
    """NT-Xent for partners h, e (B, D), from the 2B x 2B matrix less its diagonal."""
    z = torch.cat((h, e))
    if normalise:
        z = z / z.norm(dim=1, keepdim=True)
    matrix, count = z @ z.T / temperature, len(z)
    others = matrix[~torch.eye(count, dtype=torch.bool)].view(count, count - 1)
    # Without the diagonal, partners to the right of it are one place further left.
    partner = torch.cat((torch.arange(len(h)) + len(h) - 1, torch.arange(len(h))))
    return F.cross_entropy(others, partner)


def within_infonce(h: Tensor, e: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of frame t among all frames of a sequence, for codes (T, B, D), one by one."""
    losses = []
    for b in range(h.shape[1]):
        for t in range(1, len(h)):
            scores = F.cosine_similarity(h[t, b][None], e[:, b]) / temperature
            losses.append(-scores.log_softmax(0)[t])
    return torch.stack(losses).mean()


def infonce(h: Tensor, e: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of frame t among the frames of all sequences, for codes (T, B, D)."""
    losses = []
    for t in range(1, len(h)):
        for b in range(h.shape[1]):
            scores = F.cosine_similarity(h[t, b], e.flatten(0, 1)) / temperature
            losses.append(-scores.log_softmax(0)[t * h.shape[1] + b])
    return torch.stack(losses).mean()


def sigreg(z: Tensor, directions: Tensor, knots: int) -> Tensor:
    """The Epps-Pulley statistic of codes (N, D), line by line, frequency by frequency."""
    step = HIGHEST / (knots - 1)
    lines = []
    for direction in directions.T:
        projected = z @ direction
        integral = z.new_zeros(())
        for k in range(knots):
            w = k * step
            gauss = math.exp(-(w**2) / 2)
            phi = torch.exp(1j * w * projected).mean()
            # Both signs of w are counted; the ends of the trapezoidal rule have half the weight.
            share = step if k in (0, knots - 1) else 2 * step
            integral = integral + share * gauss * (phi - gauss).abs().square()
        lines.append(len(z) * integral)
    return torch.stack(lines).mean()


def each(term: Callable[..., Tensor], *codes: Tensor) -> Tensor:
    """Mean over frames of a term of codes (N, D)."""
    return torch.stack([term(*frame) for frame in zip(*codes, strict=True)]).mean()


def centred(z: Tensor) -> Tensor:
    """Codes (T, B, D) minus each sequence's mean over time, (T B, D)."""
    return torch.stack([frame - z.mean(dim=0) for frame in z]).flatten(0, 1)


def var_ratio(z: Tensor) -> Tensor:
    """Variance of sequences' means over that of all codes (T, B, D), each summed over entries."""
    means, everything = z.mean(dim=0), z.flatten(0, 1)
    static = (means - means.mean(dim=0)).pow(2).mean(dim=0).sum()
    return static / (everything - everything.mean(dim=0)).pow(2).mean(dim=0).sum()


def terms(r: Rollout, at: Setting) -> Mapping[str, Callable[[], Tensor]]:
    """A function for every term of `weft.families.jepa.terms.registry.TERMS`."""
    batch, config, first = at.batch, at.config, at.first
    simclr, combo = config.simclr, config.combo

    def lines() -> Tensor:
        return random_directions(r.e, combo.sigreg_slices, at.generator)

    def contrast(h: Tensor, e: Tensor) -> Tensor:
        return nt_xent(h, e, simclr.loss_temp, normalise=simclr.normalize_z)

    def error(read: Tensor | None, true: Tensor) -> Tensor:
        assert read is not None
        return each(F.mse_loss, read, true)

    def alone(z: Tensor) -> Tensor:
        return centred(z).unflatten(0, z.shape[:2])

    return {
        "forward": lambda: each(F.mse_loss, r.h[1:], r.e[1:]),
        "forward_projected": lambda: each(F.mse_loss, r.z_h[1:], r.z_e[1:]),
        "forward_detached": lambda: each(F.mse_loss, r.h[1:], r.e[1:].detach()),
        "std": lambda: each(variance_hinge, r.z_e[first:]),
        "cov": lambda: each(covariance, r.z_e[first:]),
        "encoding_std": lambda: each(variance_hinge, r.e[first:]),
        "encoding_cov": lambda: each(covariance, r.e[first:]),
        "temporal_std": lambda: variance_hinge(centred(r.z_e)),
        "temporal_cov": lambda: covariance(centred(r.z_e)),
        "var_ratio": lambda: (var_ratio(r.e) - combo.static_share).clamp(min=0),
        "time_sim": lambda: each(F.mse_loss, r.e[1:], r.e[:-1]),
        "nt_xent": lambda: each(contrast, r.z_h[1:], r.z_e[1:]),
        "within_infonce": lambda: within_infonce(r.h, r.e, combo.infonce_temp),
        "infonce": lambda: infonce(r.h, r.e, combo.infonce_temp),
        "centred_infonce": lambda: infonce(alone(r.h), alone(r.e), combo.infonce_temp),
        "sigreg": lambda: sigreg(r.e.flatten(0, 1), lines(), combo.sigreg_knots),
        "sigreg_centred": lambda: sigreg(centred(r.e), lines(), combo.sigreg_knots),
        "idm": lambda: error(r.action_rollout, batch["action"]),
        "idm_enc": lambda: error(r.action_codes, batch["action"]),
        "decoding": lambda: error(r.pixels, batch["image"]),
        "position": lambda: _position(r, batch),
        "reconstruction": lambda: _reconstruction(r, at),
        "kl": lambda: _kl(r, config),
    }


def _position(r: Rollout, batch: Batch) -> Tensor:
    """Mean squared Euclidean distance of the positions read from the rollout."""
    assert r.location is not None
    return (r.location - batch["location"]).norm(dim=-1).pow(2).mean()


def _reconstruction(r: Rollout, at: Setting) -> Tensor:
    """Error of all T frames over T - 1, a mean over pixels, or half a sum without `compat`."""
    assert r.pixels is not None
    image = at.batch["image"]
    scale = 1.0 if at.config.rssm.compat else image[0, 0].numel() / 2
    frames = [F.mse_loss(a, b) for a, b in zip(r.pixels, image, strict=True)]
    return scale * torch.stack(frames).sum() / (len(r.e) - 1)


def _kl(r: Rollout, config: Config) -> Tensor:
    """Mean over t >= 1 of the KL, bounded below by the free nats."""
    assert r.prior is not None and r.posterior is not None
    rssm, losses = config.rssm, []
    for t in range(1, len(r.e)):
        prior, posterior = (
            torch.distributions.Normal(state.mean[t], state.std[t])
            for state in (r.prior, r.posterior)
        )
        if rssm.compat:
            nats = torch.distributions.kl_divergence(prior, posterior).mean()
        else:
            fixed_prior, fixed_posterior = (
                torch.distributions.Normal(d.loc.detach(), d.scale.detach())
                for d in (prior, posterior)
            )
            to_prior = torch.distributions.kl_divergence(fixed_posterior, prior)
            to_posterior = torch.distributions.kl_divergence(posterior, fixed_prior)
            mixed = rssm.kl_balance * to_prior + (1 - rssm.kl_balance) * to_posterior
            nats = mixed.sum(dim=1).mean()
        losses.append(torch.clamp(nats, min=rssm.free_nats))
    return torch.stack(losses).mean()
