"""The reconstruction baseline against its loop, and what its published form cannot learn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.jepa import objective
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec
from weft.families.jepa.model import build_model
from weft.families.jepa.nets.rssm import RssmModel
from weft.families.jepa.options.sections import Rssm
from weft.families.jepa.reference import frame_by_frame
from weft.families.jepa.terms.divergence import kl, kl_loss
from weft.families.jepa.terms.rollout import Gaussian

FRAMES, BATCH, DIM = 4, 3, 8
POSTERIOR = ("posterior_hidden", "posterior_mean", "posterior_std")


def _run(*, compat: bool, dtype: torch.dtype = torch.float32) -> tuple[RssmModel, Config, Batch]:
    config = Config(
        steps=1, batch_size=BATCH, n_steps=FRAMES, objective="rssm", rssm={"compat": compat},
        model={"backbone_width_factor": 1, "embedding_size": DIM},
    )  # fmt: skip
    spec = data_spec(config)
    torch.manual_seed(0)
    model = build_model(config, spec).to(dtype)
    assert isinstance(model, RssmModel)
    batch = {name: torch.randn(BATCH, *f.shape, dtype=dtype) for name, f in spec.fields.items()}
    return model, config, batch


def _gradients(model: RssmModel, names: tuple[str, ...]) -> list[Tensor]:
    return [
        p.grad if p.grad is not None else torch.zeros_like(p)
        for name in names
        for p in model.get_submodule(name).parameters()
    ]


@pytest.mark.parametrize("compat", [False, True])
def test_every_state_equals_that_of_the_loop(compat: bool) -> None:
    model, _, batch = _run(compat=compat, dtype=torch.float64)
    image, action = batch["image"], batch["action"]
    fast = model(image, action, torch.Generator().manual_seed(0))
    slow = frame_by_frame.forward_rssm(model, image, action, torch.Generator().manual_seed(0))
    assert fast.prior and slow.prior and fast.posterior and slow.posterior
    for ours, theirs in (
        (fast.h, slow.h),
        (fast.prior.mean, slow.prior.mean),
        (fast.prior.std, slow.prior.std),
        (fast.posterior.mean, slow.posterior.mean),
        (fast.posterior.std, slow.posterior.std),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fast.pixels, slow.pixels, rtol=1e-5, atol=1e-6)


def test_published_form_leaves_posterior_and_spread_without_any_gradient() -> None:
    model, config, batch = _run(compat=True)
    objective.loss(model, batch, config, torch.Generator().manual_seed(0))[0].backward()
    assert not any(g.any() for g in _gradients(model, (*POSTERIOR, "prior_std", "prior_mean")))
    assert all(g.any() for g in _gradients(model, ("enter", "cell", "decoder.expand")))


def test_right_form_trains_the_posterior() -> None:
    model, config, batch = _run(compat=False)
    objective.loss(model, batch, config, torch.Generator().manual_seed(0))[0].backward()
    assert all(g.any() for g in _gradients(model, (*POSTERIOR, "enter", "cell")))


def test_divergence_equals_torchs() -> None:
    torch.manual_seed(0)
    mean, std = torch.randn(2, FRAMES, BATCH, DIM), torch.rand(2, FRAMES, BATCH, DIM) + 0.1
    p, q = (torch.distributions.Normal(m, s) for m, s in zip(mean, std, strict=True))
    torch.testing.assert_close(
        kl(Gaussian(mean[0], std[0]), Gaussian(mean[1], std[1])),
        torch.distributions.kl_divergence(p, q),
        rtol=1e-5,
        atol=1e-5,
    )


def test_free_nats_hold_per_entry_as_published_and_for_the_sum_otherwise() -> None:
    shape = (FRAMES, BATCH, DIM)
    prior = Gaussian(torch.zeros(shape), torch.ones(shape))
    one_nat = Gaussian(torch.full(shape, 2**0.5), torch.ones(shape))
    assert kl_loss(prior, one_nat, Rssm(compat=True)).item() == 3.0
    assert kl_loss(prior, one_nat, Rssm()).item() == pytest.approx(DIM)
    assert kl_loss(prior, one_nat, Rssm(free_nats=20.0)).item() == 20.0


@pytest.mark.parametrize("balance", [0.0, 0.8, 1.0])
def test_balance_shares_the_gradient_between_prior_and_posterior(balance: float) -> None:
    torch.manual_seed(0)
    mean = torch.randn(2, FRAMES, BATCH, DIM, requires_grad=True)
    std = torch.ones(FRAMES, BATCH, DIM)
    states = Gaussian(mean[0], std), Gaussian(mean[1], std)
    kl_loss(*states, Rssm(free_nats=0.0, kl_balance=balance)).backward()
    assert mean.grad is not None
    prior, posterior = mean.grad
    torch.testing.assert_close(prior * (1 - balance), -posterior * balance)


def test_rollout_follows_the_priors_mean_and_the_published_one_adds_noise_without_min_var() -> None:
    model, _, batch = _run(compat=False)
    e_0, action = torch.randn(BATCH, DIM), batch["action"]
    once, again = model.rollout(e_0, action), model.rollout(e_0, action)
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    torch.testing.assert_close(once[0], e_0)
    noisy, _, _ = _run(compat=True)
    noisy.load_state_dict(model.state_dict())
    assert not torch.equal(noisy.rollout(e_0, action)[1:], once[1:])
    with torch.no_grad():
        noisy.prior_std.weight.zero_()
        noisy.prior_std.bias.zero_()
    torch.manual_seed(3)
    sampled = noisy.rollout(e_0, action)[1]
    torch.manual_seed(3)
    prior = noisy.prior(e_0)
    z = prior.mean + torch.log(torch.tensor(2.0)) * torch.randn_like(e_0)  # softplus(0), bare
    x = noisy.enter(torch.cat((z, action[:, 0]), dim=-1)).relu()
    torch.testing.assert_close(sampled, noisy.cell(x, e_0))
