"""The loss terms by name: pure functions of a rollout, which an objective weights and sums."""

# T frames, B batch

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.data.source import Batch
from weft.families.jepa.config import Config
from weft.families.jepa.terms.contrast import infonce, nt_xent, within_infonce
from weft.families.jepa.terms.divergence import kl_loss
from weft.families.jepa.terms.rollout import Rollout
from weft.families.jepa.terms.sigreg import random_directions, sigreg
from weft.families.jepa.terms.spread import centred, covariance, var_ratio, variance_hinge


@dataclass(frozen=True)
class Setting:
    """What a term may use besides the rollout.

    Attributes:
        batch: time first, from the rollout's first frame on.
        config: the run's config.
        generator: random stream of the step; None on the meta device.
    """

    batch: Batch
    config: Config
    generator: torch.Generator | None

    @property
    def first(self) -> int:
        """The first frame used by VICReg's std and cov."""
        return int(self.config.vicreg.skip_first_step_vc)


Term = Callable[[Rollout, Setting], Tensor]


def _sigreg(z: Tensor, at: Setting) -> Tensor:
    options = at.config.combo
    lines = random_directions(z, options.sigreg_slices, at.generator)
    return sigreg(z, lines, options.sigreg_knots)


def _nt_xent(r: Rollout, at: Setting) -> Tensor:
    options = at.config.simclr
    return nt_xent(r.z_h[1:], r.z_e[1:], options.loss_temp, normalise=options.normalize_z)


def _error(read: Tensor | None, name: str, at: Setting) -> Tensor:
    """Mean squared error of a head's output; `build_model` adds the heads that terms need."""
    assert read is not None
    return F.mse_loss(read, at.batch[name])


def _position_error(r: Rollout, at: Setting) -> Tensor:
    """Squared Euclidean distance in normalised units, mean over frames, dots and batch."""
    assert r.location is not None
    return (r.location - at.batch["location"]).square().sum(-1).mean()


def _reconstruction(r: Rollout, at: Setting) -> Tensor:
    """Error of all T frames over T - 1.

    With `compat` it is the mean squared error over pixels. Otherwise the KL is a sum over entries,
    and the likelihood must be a sum too: half the squared error, which is the negative
    log-likelihood of a unit Gaussian in nats, up to a constant.
    """
    frames = len(r.e)
    error = _error(r.pixels, "image", at) * frames / (frames - 1)
    return error if at.config.rssm.compat else error * at.batch["image"][0, 0].numel() / 2


def _kl(r: Rollout, at: Setting) -> Tensor:
    assert r.prior is not None and r.posterior is not None
    return kl_loss(r.prior, r.posterior, at.config.rssm)


TERMS: dict[str, Term] = {
    "forward": lambda r, at: F.mse_loss(r.h[1:], r.e[1:]),
    "forward_projected": lambda r, at: F.mse_loss(r.z_h[1:], r.z_e[1:]),
    "forward_detached": lambda r, at: F.mse_loss(r.h[1:], r.e[1:].detach()),
    "std": lambda r, at: variance_hinge(r.z_e[at.first :]),
    "cov": lambda r, at: covariance(r.z_e[at.first :]),
    "encoding_std": lambda r, at: variance_hinge(r.e[at.first :]),
    "encoding_cov": lambda r, at: covariance(r.e[at.first :]),
    "temporal_std": lambda r, at: variance_hinge(centred(r.z_e)),
    "temporal_cov": lambda r, at: covariance(centred(r.z_e)),
    "var_ratio": lambda r, at: (var_ratio(r.e) - at.config.combo.static_share).relu(),
    "time_sim": lambda r, at: F.mse_loss(r.e[1:], r.e[:-1]),
    "nt_xent": _nt_xent,
    "within_infonce": lambda r, at: within_infonce(r.h, r.e, at.config.combo.infonce_temp),
    "infonce": lambda r, at: infonce(r.h, r.e, at.config.combo.infonce_temp),
    "centred_infonce": lambda r, at: infonce(
        r.h - r.h.mean(0), r.e - r.e.mean(0), at.config.combo.infonce_temp
    ),
    "sigreg": lambda r, at: _sigreg(r.e.flatten(0, 1), at),
    "sigreg_centred": lambda r, at: _sigreg(centred(r.e)[0], at),
    "idm": lambda r, at: _error(r.action_rollout, "action", at),
    "idm_enc": lambda r, at: _error(r.action_codes, "action", at),
    "decoding": lambda r, at: _error(r.pixels, "image", at),
    "position": _position_error,
    "reconstruction": _reconstruction,
    "kl": _kl,
}
"""All terms by name."""


def weights_of(config: Config) -> Mapping[str, float]:
    """The terms of `config.objective` and their weights, without those of weight 0.

    VICReg (Bardes et al. 2022), SimCLR, IDM and RSSM are weighted sums of terms; `random` has no
    terms. `detached_forward` is the IDM of the paper's text: actions are read from true codes, and
    the forward model learns to predict codes without a gradient to the encoder.
    """
    vicreg, simclr, idm = config.vicreg, config.simclr, config.idm
    sums: dict[str, Mapping[str, float]] = {
        "vicreg": {
            "forward_projected" if vicreg.repr_loss_after_projector else "forward": (
                vicreg.sim_coeff
            ),
            "std": vicreg.std_coeff,
            "cov": vicreg.cov_coeff,
            "encoding_std": vicreg.encoding_std_coeff,
            "encoding_cov": vicreg.encoding_cov_coeff,
            "idm": vicreg.action_coeff,
            "decoding": vicreg.decoding_coeff,
        },
        "simclr": {
            "nt_xent": 1.0,
            "idm": simclr.action_coeff,
            "decoding": simclr.decoding_coeff,
        },
        "idm": (
            {"idm": idm.action_coeff}
            if idm.mode == "published"
            else {"idm_enc": idm.action_coeff, "forward_detached": 1.0}
        ),
        "rssm": {"reconstruction": 1.0, "kl": 1.0, "idm": config.rssm.action_coeff},
        "supervised": {"position": 1.0},
        "combo": config.terms.weights(),
        "random": {},
    }
    return {name: weight for name, weight in sums[config.objective].items() if weight > 0}
