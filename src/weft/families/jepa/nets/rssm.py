"""The reconstruction baseline: a recurrent state-space model (Hafner et al. 2019)."""

# T frames, B batch, D code, belief and state, A action

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.jepa.nets.backbone import Encoder
from weft.families.jepa.nets.decoder import decode
from weft.families.jepa.nets.gru import Recurrence, gru_cell
from weft.families.jepa.nets.loop import Stepped
from weft.families.jepa.nets.predictor import ACTION_DIM
from weft.families.jepa.options.sections import Rssm
from weft.families.jepa.terms.rollout import Gaussian, Rollout, read_actions
from weft.nn.dense import Dense, linear, quiet
from weft.nn.precision import widened


class RssmModel(nn.Module):
    """A belief b_t computed from the past, and a state z_t sampled before or after seeing frame t.

    b_0 = e_0, b_t = GRU(relu(W [z_(t-1), a_(t-1)]), b_(t-1));
    the prior of z_t is N(relu(W b_t), softplus(relu(W b_t)) + min_var);
    the posterior is the same function of a hidden layer of [e_t, b_t], and gives the z of the GRU.

    `compat` follows the original: samples have no gradient, the first state and the decoded states
    are samples of the prior, each frame is decoded with its own batch statistics, and neither the
    first state nor a rollout adds `min_var`. Otherwise samples are differentiable, the posterior is
    decoded, and a rollout follows the prior's mean.

    Args:
        encoder: from images to codes.
        decoder: from [z, b] (2 D) to pixels.
        config: section `rssm`.
        action_head: from [b_t, e_(t+1)] (2 D) to actions, or None.
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
        """The prior of the state, given beliefs (…, D)."""
        return self.gaussian(self.prior_mean(belief), self.prior_std(belief))

    def rollout(self, e_0: Tensor, action: Tensor) -> Tensor:
        """Beliefs predicted from the first frame and the actions; the probe reads these.

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
        """Beliefs given all frames (as `h`), priors and posteriors of states, and decoded frames.

        Args:
            image: (B, T, C, S, S).
            action: (B, T - 1, 2).
            generator: samples the states; torch's default if None.
        """
        e = self.encode(image)
        noise = torch.randn((2, *e.shape), generator=generator, device=e.device, dtype=e.dtype)
        # Compiled code of the fast form's loop may be wrong (torch 2.13).
        fast = self.compat and not torch.compiler.is_compiling()
        run = self._filter_published if fast else self._filter
        beliefs, states, posterior = run(e, action.transpose(0, 1), noise[0])
        prior = self.prior(beliefs)
        if self.compat:
            # What the first state is decoded from is what is fed on.
            states = torch.cat((states[:1], self._sample(prior, noise[1])[1:]))
            # What is left of their gradient is the divergence's: zero below the free nats, and a
            # mean over entries stays there.
            prior, posterior = (
                Gaussian(*map(quiet, (of.mean, of.std))) for of in (prior, posterior)
            )
        frames = len(e) if self.compat else 1
        return Rollout(
            e,
            beliefs,
            e,
            beliefs,
            action_rollout=read_actions(self.action_head, beliefs, e),
            pixels=decode(self.decoder, torch.cat((states, beliefs), dim=-1), frames=frames),
            prior=prior,
            posterior=posterior,
        )

    def _filter(self, e: Tensor, action: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Gaussian]:
        """Beliefs (T, B, D), the states that enter the GRU (T, B, D), and the posteriors."""
        enter, gates_x, from_action = self._inputs(action)
        gates_h = Stepped(self.cell.weight_hh, self.cell.bias_hh, len(action), e.shape[1])
        see = _Seeing(self, e)
        beliefs, seen = [e[0]], [see(e[0])]
        fed_on = [self._sample(self._first(e[0]) if self.compat else seen[0], noise[0])]
        for a, noise_t in zip(from_action, noise[1:], strict=True):
            x = (enter(fed_on[-1]) + a).relu()
            beliefs.append(gru_cell(gates_x(x), gates_h(beliefs[-1]), beliefs[-1]))
            seen.append(see(beliefs[-1]))
            fed_on.append(self._sample(seen[-1], noise_t))
        mean, std = (torch.stack(of) for of in zip(*((s.mean, s.std) for s in seen), strict=True))
        return torch.stack(beliefs), torch.stack(fed_on), Gaussian(mean, std)

    def _filter_published(
        self, e: Tensor, action: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Gaussian]:
        """As `_filter`, for states without a gradient, which are constants once sampled.

        The loop records no graph; afterwards each layer gets all its inputs and outputs at once.
        """
        cell, codes = self.cell, e.detach()
        with torch.no_grad():
            enter, gates_x, from_action = self._inputs(action)
            made = Recurrence(codes[0], cell.weight_hh, cell.bias_hh, len(action))
            see = _Seeing(self, codes)
            see(codes[0])
            states, entered, gates = [self._sample(self._first(codes[0]), noise[0])], [], []
            for a, noise_t in zip(from_action, noise[1:], strict=True):
                entered.append(enter(states[-1]) + a)
                gates.append(gates_x(entered[-1].relu()))
                states.append(self._sample(see(made.step(gates[-1])), noise_t))
        fed_on = torch.stack(states)
        x = self.enter(torch.cat((fed_on[:-1], action), dim=-1), known=torch.stack(entered)).relu()
        gates_of_x = widened(linear(x, cell.weight_ih, cell.bias_ih, known=torch.stack(gates)))
        states_of_gru = made.join(gates_of_x, e[0], cell.weight_hh, cell.bias_hh)
        beliefs = torch.cat((e[:1], states_of_gru))
        hidden, mean, std = (torch.stack(each) for each in zip(*see.made, strict=True))
        both = torch.cat((e, beliefs), dim=-1)
        to_mean, to_std = self.posterior_hidden(both, known=hidden).relu().chunk(2, dim=-1)
        posterior = self.gaussian(
            self.posterior_mean(to_mean, known=mean), self.posterior_std(to_std, known=std)
        )
        return beliefs, fed_on, posterior

    def _first(self, belief: Tensor) -> Gaussian:
        """The original's first state, the only one in training without `min_var`."""
        prior = self.prior(belief)
        return Gaussian(prior.mean, prior.std - self.min_var)

    def _sample(self, state: Gaussian, noise: Tensor) -> Tensor:
        sample = torch.addcmul(state.mean, state.std, noise)
        return sample.detach() if self.compat else sample

    def _inputs(self, action: Tensor) -> tuple[Stepped, Stepped, tuple[Tensor, ...]]:
        """Layers from a state to W z and from there to the gates, and W a + bias of each action."""
        steps, rows, _ = action.shape
        of_state, of_action = self.enter.weight.split((self.dim, ACTION_DIM), dim=1)
        from_action = widened(linear(action, of_action, self.enter.bias)).unbind()
        enter = Stepped(of_state, None, steps, rows)
        return enter, Stepped(self.cell.weight_ih, self.cell.bias_ih, steps, rows), from_action

    def gaussian(self, mean: Tensor, std: Tensor) -> Gaussian:
        """The distribution given by the outputs (…, D) of the layers for mean and deviation."""
        return Gaussian(widened(mean).relu(), F.softplus(widened(std).relu()) + self.min_var)


class _Seeing:
    """The posterior of the state; it is called with the belief of each frame in order.

    Attributes:
        made: outputs of the layers for each frame: hidden (B, 2 D), mean and deviation (B, D).
    """

    def __init__(self, model: RssmModel, e: Tensor) -> None:
        frames, rows, _ = e.shape
        from_e, from_b = model.posterior_hidden.weight.chunk(2, dim=1)
        self.from_e = widened(linear(e, from_e, model.posterior_hidden.bias)).unbind()
        self.from_b = Stepped(from_b, None, frames, rows)
        self.mean, self.std = (
            Stepped(layer.weight, layer.bias, frames, rows)
            for layer in (model.posterior_mean, model.posterior_std)
        )
        self.gaussian = model.gaussian
        self.made: list[tuple[Tensor, Tensor, Tensor]] = []

    def __call__(self, belief: Tensor) -> Gaussian:
        hidden = self.from_b(belief) + self.from_e[len(self.made)]
        # Halves of what relu makes of the whole would be copied to be multiplied.
        to_mean, to_std = hidden.chunk(2, dim=-1)
        mean, std = self.mean(to_mean.relu()), self.std(to_std.relu())
        self.made.append((hidden, mean, std))
        return self.gaussian(mean, std)
