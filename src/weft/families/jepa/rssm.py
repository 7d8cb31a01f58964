"""The reconstruction baseline: a recurrent state-space model (Hafner et al. 2019)."""

# T frames, B batch, D code, belief and state, A action

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.jepa.backbone import Encoder
from weft.families.jepa.config import Rssm
from weft.families.jepa.decoder import decode
from weft.families.jepa.dense import Dense, Stepped, linear, widened
from weft.families.jepa.predictor import ACTION_DIM, gru_cell
from weft.families.jepa.rollout import Gaussian, Rollout, read_actions


class RssmModel(nn.Module):
    """Belief b_t from the past, state z_t sampled before or after seeing frame t.

    b_0 = e_0, b_t = GRU(relu(W [z_(t-1), a_(t-1)]), b_(t-1));
    prior z_t ~ N(relu(W b_t), softplus(relu(W b_t)) + min_var);
    posterior the same of a hidden layer of [e_t, b_t], and it is what is fed on.

    `compat` follows the original: samples carry no gradient, the first state and what is decoded
    are samples of the prior, each frame is decoded with batch statistics of its own, and a
    rollout adds no `min_var`. Otherwise samples are differentiable, the posterior is decoded,
    and a rollout follows the prior's mean.

    Args:
        encoder: images to codes.
        decoder: [z, b] (2 D) to pixels.
        config: section `rssm`.
        action_head: [b_t, e_(t+1)] (2 D) to actions, or None.
    Attributes:
        burnin: 1; a rollout begins at frame 0.
        dim: D.
    """

    burnin = 1

    def __init__(
        self, encoder: Encoder, decoder: nn.Module, config: Rssm, action_head: nn.Module | None
    ) -> None:
        super().__init__()
        dim = encoder.dim
        self.encoder, self.decoder, self.action_head = encoder, decoder, action_head
        self.dim, self.compat, self.min_var = dim, config.compat, config.min_var
        self.enter = Dense(dim + ACTION_DIM, dim)
        self.cell = nn.GRUCell(dim, dim)
        self.prior_mean, self.prior_std = Dense(dim, dim), Dense(dim, dim)
        # One layer for the hidden units of both the mean's and the deviation's MLP.
        self.posterior_hidden = Dense(2 * dim, 2 * dim)
        self.posterior_mean, self.posterior_std = Dense(dim, dim), Dense(dim, dim)

    def encode(self, image: Tensor) -> Tensor:
        """Codes (T, B, D) of images (B, T, C, S, S)."""
        codes: Tensor = self.encoder(image)
        return codes

    def prior(self, belief: Tensor) -> Gaussian:
        """The state expected at beliefs (…, D)."""
        return self._gaussian(self.prior_mean(belief), self.prior_std(belief))

    def rollout(self, e_0: Tensor, action: Tensor) -> Tensor:
        """Beliefs without seeing any frame but the first: the probe reads this.

        Args:
            e_0: first code, (B, D) or (1, B, D).
            action: (B, n, 2).
        Returns: [b_0, …, b_n], (n + 1, B, D).
        """
        belief = e_0.reshape(-1, self.dim)
        beliefs = [belief]
        for a in action.unbind(1):
            expected = self.prior(belief)
            z = expected.mean
            if self.compat:
                z = z + (expected.std - self.min_var) * torch.randn_like(z)
            x = self.enter(torch.cat((z, a), dim=-1)).relu()
            belief = widened(self.cell(x, belief))
            beliefs.append(belief)
        return torch.stack(beliefs)

    def forward(
        self, image: Tensor, action: Tensor, generator: torch.Generator | None = None
    ) -> Rollout:
        """Beliefs that see all frames (as `h`), states before and after, decoded frames.

        Args:
            image: (B, T, C, S, S).
            action: (B, T - 1, 2).
            generator: of the states; torch's own if None.
        """
        e = self.encode(image)
        noise = torch.randn((2, *e.shape), generator=generator, device=e.device, dtype=e.dtype)
        beliefs, states = self._filter(e, action.transpose(0, 1), noise[0])
        prior = self.prior(beliefs)
        if self.compat:
            states = (prior.mean + prior.std * noise[1]).detach()
        frames = len(e) if self.compat else 1
        return Rollout(
            e,
            beliefs,
            e,
            beliefs,
            action_rollout=read_actions(self.action_head, beliefs, e),
            pixels=decode(self.decoder, torch.cat((states, beliefs), dim=-1), frames=frames),
            prior=prior,
            posterior=self.posterior(e, beliefs),
        )

    def posterior(self, code: Tensor, belief: Tensor) -> Gaussian:
        """The state after seeing frames of code (…, D) at beliefs (…, D)."""
        hidden = self.posterior_hidden(torch.cat((code, belief), dim=-1)).relu()
        to_mean, to_std = hidden.chunk(2, dim=-1)
        return self._gaussian(self.posterior_mean(to_mean), self.posterior_std(to_std))

    def _filter(self, e: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Beliefs and the states fed on, (T, B, D)."""
        enter_z, enter_a = self.enter.weight.split((self.dim, ACTION_DIM), dim=1)
        from_action = widened(linear(action, enter_a, self.enter.bias)).unbind()
        enter, gates_x, gates_h = (
            Stepped(weight, bias, steps=len(action), rows=e.shape[1])
            for weight, bias in (
                (enter_z, None),
                (self.cell.weight_ih, self.cell.bias_ih),
                (self.cell.weight_hh, self.cell.bias_hh),
            )
        )
        # Samples without a gradient need no record of how they were made.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.compat):
            sample = self._sampler(e, noise)
        belief = e[0]
        beliefs, states = [belief], [sample(0, belief)]
        for t, a in enumerate(from_action, start=1):
            x = (enter(states[-1]) + a).relu()
            belief = gru_cell(gates_x(x), gates_h(belief), belief)
            beliefs.append(belief)
            states.append(sample(t, belief))
        return torch.stack(beliefs), torch.stack(states)

    def _sampler(self, e: Tensor, noise: Tensor) -> Callable[[int, Tensor], Tensor]:
        """The state (B, D) to feed on at frame t and a belief (B, D)."""
        frames, rows, _ = e.shape
        from_e, from_b = self.posterior_hidden.weight.chunk(2, dim=1)
        seen = widened(linear(e, from_e, self.posterior_hidden.bias)).unbind()
        hidden, mean, std = (
            Stepped(weight, bias, steps=frames, rows=rows)
            for weight, bias in (
                (from_b, None),
                (self.posterior_mean.weight, self.posterior_mean.bias),
                (self.posterior_std.weight, self.posterior_std.bias),
            )
        )

        def sample(t: int, belief: Tensor) -> Tensor:
            if self.compat and t == 0:
                state = self.prior(belief)
            else:
                to_mean, to_std = (hidden(belief) + seen[t]).relu().chunk(2, dim=-1)
                state = self._gaussian(mean(to_mean), std(to_std))
            return state.mean + state.std * noise[t]

        def detached(t: int, belief: Tensor) -> Tensor:
            with torch.no_grad():
                return sample(t, belief)

        return detached if self.compat else sample

    def _gaussian(self, mean: Tensor, std: Tensor) -> Gaussian:
        return Gaussian(widened(mean).relu(), F.softplus(widened(std).relu()) + self.min_var)


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
