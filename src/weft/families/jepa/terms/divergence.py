"""The KL divergence between prior and posterior states of an RSSM, and its loss."""

# T frames, B batch, D state

from __future__ import annotations

from torch import Tensor

from weft.families.jepa.options.sections import Rssm
from weft.families.jepa.terms.rollout import Gaussian


def kl(p: Gaussian, q: Gaussian) -> Tensor:
    """KL(p || q) of each entry in nats, (T, B, D)."""
    ratio = (p.std / q.std).square()
    return 0.5 * (ratio + ((p.mean - q.mean) / q.std).square() - 1 - ratio.log())


def kl_loss(prior: Gaussian, posterior: Gaussian, config: Rssm) -> Tensor:
    """Mean over frames 1 to T - 1 of max(KL, free_nats).

    `compat`: KL(prior || posterior), mean over entries. Otherwise the KL is summed over entries,
    and `kl_balance` of its gradient moves the prior, the rest the posterior (Hafner et al. 2021).
    """
    if config.compat:
        each = kl(prior, posterior)[1:].mean((1, 2))
        return each.clamp(min=config.free_nats).mean()
    moves_prior = kl(_detach(posterior), prior)[1:].sum(-1).mean(-1)
    moves_posterior = kl(posterior, _detach(prior))[1:].sum(-1).mean(-1)
    each = config.kl_balance * moves_prior + (1 - config.kl_balance) * moves_posterior
    return each.clamp(min=config.free_nats).mean()


def _detach(of: Gaussian) -> Gaussian:
    return Gaussian(of.mean.detach(), of.std.detach())
